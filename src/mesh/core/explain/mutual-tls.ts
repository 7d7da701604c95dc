import type { MeshModel } from "../model.ts";
import type { MeshDestinationRule } from "../model-destination-rules.ts";
import type { MeshEndpoint } from "../model-endpoint.ts";
import type { ClientTlsSettings, Subset } from "../model-istio.ts";
import { type EffectiveMutualTls, effectiveMutualTls } from "../model-peer-authentication.ts";
import type { MeshService, ServicePort } from "../model-services.ts";
import { policyFor } from "../translate/traffic-policy.ts";
import { referenceTo } from "./reference.ts";

/** What a client speaks: ISTIO is mutual TLS with the mesh's certificates; DISABLE is plain text. */
export type ClientTls = "ISTIO" | "MUTUAL" | "SIMPLE" | "DISABLE";
/** What an endpoint takes; NONE: it has no sidecar, so its application gets the bytes as they come. */
export type ServerTls = EffectiveMutualTls["mode"] | "NONE";

/** Whether client and server of a connection speak the same, and who decides what they speak. */
export interface TlsDecision {
  readonly client: ClientTls;
  readonly clientReason: string;
  readonly server: ServerTls;
  readonly serverReason: string;
  /** `namespace/name` of the PeerAuthentication that decides. */
  readonly policy: string | undefined;
  /** Why they do not fit; undefined = they do. */
  readonly conflict: string | undefined;
}

/** The service port that a connection is for, with the client's rule for it. */
export interface TlsTarget {
  readonly service: MeshService;
  readonly port: ServicePort;
  readonly rule: MeshDestinationRule | undefined;
  readonly subset: Subset | undefined;
}

/**
 * How a client speaks to an endpoint and what that takes: the DestinationRule's `tls`, else auto mTLS,
 * against the PeerAuthentication of the endpoint's own port.
 */
export function decideTls(
  model: MeshModel,
  client: { readonly hasSidecar: boolean },
  target: TlsTarget,
  endpoint: MeshEndpoint,
): TlsDecision {
  const spoken = clientTls(client, target, endpoint);
  const taken = serverTls(model, endpoint);
  return {
    ...spoken,
    ...taken,
    conflict: conflictOf(spoken.client, taken.server, target, endpoint),
  };
}

type ClientSide = Pick<TlsDecision, "client" | "clientReason">;
type ServerSide = Pick<TlsDecision, "server" | "serverReason" | "policy">;

function clientTls(
  { hasSidecar }: { readonly hasSidecar: boolean },
  { service, port, rule, subset }: TlsTarget,
  endpoint: MeshEndpoint,
): ClientSide {
  if (!hasSidecar) return { client: "DISABLE", clientReason: "the client has no sidecar" };
  const tls: ClientTlsSettings | undefined = policyFor(rule, subset, port.number).tls;
  if (tls !== undefined) {
    const mode = tls.mode ?? "DISABLE";
    const clientReason = `DestinationRule ${rule === undefined ? "" : referenceTo(rule)} says tls.mode ${mode}`;
    return { client: mode === "ISTIO_MUTUAL" ? "ISTIO" : mode, clientReason };
  }
  if (service.isExternal) {
    const clientReason = "outside of the mesh, and no DestinationRule asks for TLS";
    return { client: "DISABLE", clientReason };
  }
  return endpoint.takesMutualTls
    ? { client: "ISTIO", clientReason: "auto mTLS: the endpoint has a sidecar" }
    : { client: "DISABLE", clientReason: "auto mTLS: the endpoint has no sidecar" };
}

function serverTls(model: MeshModel, { workload, takesMutualTls, port }: MeshEndpoint): ServerSide {
  if (workload === undefined || !takesMutualTls) {
    return { server: "NONE", serverReason: "no sidecar", policy: undefined };
  }
  const { peerAuthentications, rootNamespace } = model;
  const found = effectiveMutualTls(peerAuthentications, workload, port, rootNamespace);
  const policy = found.policy === undefined ? undefined : referenceTo(found.policy);
  return { server: found.mode, serverReason: serverReasonOf(found, port), policy };
}

function serverReasonOf({ level, policy, mode }: EffectiveMutualTls, port: number): string {
  if (policy === undefined) return `no PeerAuthentication applies: ${mode} is the default`;
  const where = {
    port: `for port ${port}`,
    workload: "for the workload",
    namespace: "for the namespace",
    mesh: "for the whole mesh",
    default: "",
  }[level];
  return `PeerAuthentication ${referenceTo(policy)} says ${mode} ${where}`;
}

function conflictOf(
  client: ClientTls,
  server: ServerTls,
  { port }: TlsTarget,
  endpoint: MeshEndpoint,
): string | undefined {
  const isOwnTls = port.protocol === "tls" || port.protocol === "tcp";
  switch (client) {
    case "DISABLE":
      return server === "STRICT"
        ? "the client sends plain text, and the server takes only mutual TLS: it closes the connection"
        : undefined;
    case "ISTIO":
      if (server === "STRICT" || server === "PERMISSIVE") return undefined;
      return server === "DISABLE"
        ? "the client sends mutual TLS, and the server takes only plain text: its application gets bytes it cannot read"
        : "the client sends mutual TLS, and nobody there terminates it: the endpoint has no sidecar";
    case "SIMPLE":
    case "MUTUAL":
      if (server === "STRICT") {
        return `the client sends TLS of its own (${client}), and the server takes only the mesh's mutual TLS`;
      }
      // The application's own TLS passes through.
      return isOwnTls || endpoint.workload === undefined
        ? undefined
        : `the client sends TLS of its own (${client}) to a port that speaks ${port.protocol}`;
  }
}
