import type { KubeObject, SidecarSpec, StringMap } from "../../api/index.ts";

/** A Sidecar; the model holds them oldest first. */
export interface MeshSidecar {
  readonly name: string;
  readonly namespace: string;
  /** undefined = the whole namespace (or the mesh, in the root namespace). */
  readonly matchLabels: StringMap | undefined;
  /** Which hosts are imported; undefined = all. */
  readonly imports: readonly HostImport[] | undefined;
  /** undefined = as the mesh. */
  readonly outboundMode: "ALLOW_ANY" | "REGISTRY_ONLY" | undefined;
  /** Where requests go that nobody knows, instead of to where they ask for. */
  readonly egressProxy: NonNullable<SidecarSpec["outboundTrafficPolicy"]>["egressProxy"];
  readonly ingress: readonly SidecarIngress[];
}

/** `namespace/dnsName` of an egress listener. */
export interface HostImport {
  /** `*` = any, `~` = none, `.` = the client's (a root namespace's Sidecar is for all of them). */
  readonly namespace: string;
  readonly dnsName: string;
}

/** A port that the sidecar takes traffic on in the application's stead. */
export interface SidecarIngress {
  readonly port: number;
  readonly protocol: string | undefined;
  readonly name: string | undefined;
  /** The application's port; undefined = the same. */
  readonly targetPort: number | undefined;
}

/** Reads a Sidecar. */
export function sidecarFrom(object: KubeObject, spec: SidecarSpec): MeshSidecar {
  const { name, namespace = "default" } = object.metadata;
  const labels = spec.workloadSelector?.labels ?? {};
  const policy = spec.outboundTrafficPolicy;
  return {
    name,
    namespace,
    matchLabels: Object.keys(labels).length > 0 ? labels : undefined,
    imports: spec.egress?.flatMap(({ hosts }) => hosts.map(importOf)),
    // Istio: the mode of a policy that names none is the first of the list.
    outboundMode: policy === undefined ? undefined : (policy.mode ?? "REGISTRY_ONLY"),
    egressProxy: policy?.egressProxy,
    ingress: (spec.ingress ?? []).map(({ port, defaultEndpoint }) => ({
      port: port.number,
      protocol: port.protocol,
      name: port.name,
      targetPort: portOfEndpoint(defaultEndpoint),
    })),
  };
}

function importOf(host: string): HostImport {
  const slash = host.indexOf("/");
  return { namespace: host.slice(0, slash), dnsName: host.slice(slash + 1).toLowerCase() };
}

function portOfEndpoint(endpoint: string | undefined): number | undefined {
  const port = /:(\d+)$/.exec(endpoint ?? "")?.[1];
  return port === undefined ? undefined : Number(port);
}

/**
 * The Sidecar that counts for a workload: one that selects it, else its namespace's, else the root
 * namespace's; the oldest of each (Istio).
 */
export function sidecarOf(
  sidecars: readonly MeshSidecar[],
  workload: { readonly namespace: string; readonly labels: StringMap },
  rootNamespace: string,
): MeshSidecar | undefined {
  const own = sidecars.filter(({ namespace }) => namespace === workload.namespace);
  return (
    own.find(
      ({ matchLabels }) => matchLabels !== undefined && fits(matchLabels, workload.labels),
    ) ??
    own.find(({ matchLabels }) => matchLabels === undefined) ??
    sidecars.find(
      ({ namespace, matchLabels }) => namespace === rootNamespace && matchLabels === undefined,
    )
  );
}

const fits = (wanted: StringMap, labels: StringMap): boolean =>
  Object.entries(wanted).every(([key, value]) => labels[key] === value);

/** Fields of a Sidecar that are valid and do nothing (here), one sentence each. */
export function ignoredSidecarFields(spec: SidecarSpec): readonly string[] {
  const egress = (spec.egress ?? []).flatMap((listener, i) =>
    (["port", "bind"] as const)
      .filter((field) => listener[field] !== undefined)
      .map(
        (field) =>
          `spec.egress[${i}].${field} has no effect: its hosts are reached on every port of the service`,
      ),
  );
  const ingress = (spec.ingress ?? []).flatMap((listener, i) => [
    ...(listener.defaultEndpoint?.startsWith("unix://") === true
      ? [`spec.ingress[${i}].defaultEndpoint: unix sockets are not supported, the port is used`]
      : []),
    ...(["bind", "tls", "connectionPool"] as const)
      .filter((field) => listener[field] !== undefined)
      .map((field) => `spec.ingress[${i}].${field} has no effect`),
  ]);
  const pool =
    spec.inboundConnectionPool === undefined ? [] : ["spec.inboundConnectionPool has no effect"];
  return [...egress, ...ingress, ...pool];
}
