import type { XdsResource } from "./core/xds-resource.ts";

/** Who a workload is, as its service account token proves (never as it claims). */
export interface WorkloadIdentity {
  readonly trustDomain: string;
  readonly namespace: string;
  readonly serviceAccount: string;
  /** The pod the token is bound to, when it is. */
  readonly podName?: string;
}

export interface Authenticator {
  /**
   * The identity behind a bearer token (TokenReview, audience checked), or undefined when it proves
   * none. Throws SERIN_UNAVAILABLE when the API server cannot be asked.
   */
  authenticate(bearerToken: string): Promise<WorkloadIdentity | undefined>;
}

/** Secrets by SDS: `default` (certificate chain and key of the workload) and `ROOTCA` (trust bundle). */
export interface SecretSource {
  /** undefined when there is no secret of that name. */
  secretFor(identity: WorkloadIdentity, name: string): Promise<XdsResource | undefined>;
  /** Called when secrets must be asked for again (a rotation is due, or the root changed). */
  onChange(listener: (identity: WorkloadIdentity) => void): () => void;
}
