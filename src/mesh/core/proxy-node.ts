import type { StringMap } from "../../api/index.ts";

/** A connected proxy as its Node message describes it (Istio's node id and metadata). */
export interface ProxyNode {
  /** As sent: `sidecar~<ip>~<pod>.<namespace>~<namespace>.svc.cluster.local`. */
  readonly id: string;
  readonly role: "sidecar" | "router";
  readonly ipAddress: string;
  /** Pod name. */
  readonly name: string;
  readonly namespace: string;
  readonly labels: StringMap;
  /** NONE: the application is told of the proxy (HTTP_PROXY); else its traffic is redirected. */
  readonly interceptionMode: "NONE" | "REDIRECT" | "TPROXY";
  /** Port of the outbound HTTP proxy listener, with interception mode NONE. */
  readonly httpProxyPort?: number;
  /** Where the application listens, when not on the pod IP (loopback network). */
  readonly applicationAddress?: string;
}
