import type { KubeObject, StringMap } from "../../api/index.ts";
import type { MutualTlsMode, PeerAuthenticationSpec } from "./model-istio.ts";

/** A PeerAuthentication; the model holds them oldest first. */
export interface MeshPeerAuthentication {
  readonly name: string;
  readonly namespace: string;
  /** undefined = the whole namespace (or the mesh, in the root namespace). */
  readonly matchLabels: StringMap | undefined;
  readonly mode: MutualTlsMode;
  /** By container port. */
  readonly portModes: ReadonlyMap<number, MutualTlsMode>;
}

/** What a workload's port takes. */
export type EffectiveTlsMode = "DISABLE" | "PERMISSIVE" | "STRICT";

export function peerAuthenticationFrom(
  object: KubeObject,
  spec: PeerAuthenticationSpec,
): MeshPeerAuthentication {
  const labels = spec.selector?.matchLabels ?? {};
  const portModes = Object.entries(spec.portLevelMtls ?? {}).map(
    ([port, mtls]) => [Number(port), mtls.mode ?? "UNSET"] as const,
  );
  return {
    name: object.metadata.name,
    namespace: object.metadata.namespace ?? "default",
    matchLabels: Object.keys(labels).length > 0 ? labels : undefined,
    mode: spec.mtls?.mode ?? "UNSET",
    portModes: new Map(portModes),
  };
}

/** What a port takes, and which policy says so. */
export interface EffectiveMutualTls {
  readonly mode: EffectiveTlsMode;
  /** `default`: no policy says anything. */
  readonly level: "port" | "workload" | "namespace" | "mesh" | "default";
  readonly policy: MeshPeerAuthentication | undefined;
}

/**
 * The mode of one container port: the port's own, else the workload's, the namespace's, the mesh's
 * policy, else PERMISSIVE. UNSET inherits; the oldest of a level wins; a selector in the root
 * namespace reaches only that namespace's pods. Source: istio pilot/pkg/security/authn.
 */
export function mutualTlsModeOf(
  policies: readonly MeshPeerAuthentication[],
  workload: { readonly namespace: string; readonly labels: StringMap },
  port: number,
  rootNamespace: string,
): EffectiveTlsMode {
  return effectiveMutualTls(policies, workload, port, rootNamespace).mode;
}

/** As `mutualTlsModeOf`, with the policy that decides. */
export function effectiveMutualTls(
  policies: readonly MeshPeerAuthentication[],
  workload: { readonly namespace: string; readonly labels: StringMap },
  /** undefined: of ports that no policy names. */
  port: number | undefined,
  rootNamespace: string,
): EffectiveMutualTls {
  const own = policies.find(
    (policy) => policy.namespace === workload.namespace && selects(policy, workload.labels),
  );
  const whole = (namespace: string): MeshPeerAuthentication | undefined =>
    policies.find((policy) => policy.namespace === namespace && policy.matchLabels === undefined);
  const [namespace, mesh] = [whole(workload.namespace), whole(rootNamespace)];
  const ofPort = port === undefined ? undefined : own?.portModes.get(port);
  const levels = [
    { level: "port", policy: own, mode: ofPort },
    { level: "workload", policy: own, mode: own?.mode },
    { level: "namespace", policy: namespace, mode: namespace?.mode },
    { level: "mesh", policy: mesh, mode: mesh?.mode },
  ] as const;
  for (const { level, policy, mode } of levels) {
    if (mode !== undefined && mode !== "UNSET") return { mode, level, policy };
  }
  return { mode: "PERMISSIVE", level: "default", policy: undefined };
}

function selects(policy: MeshPeerAuthentication, labels: StringMap): boolean {
  if (policy.matchLabels === undefined) return false;
  return Object.entries(policy.matchLabels).every(([key, value]) => labels[key] === value);
}
