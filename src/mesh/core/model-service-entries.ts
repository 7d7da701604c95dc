import type { KubeObject, ServiceEntrySpec } from "../../api/index.ts";
import { endpointOf, type MeshEndpoint } from "./model-endpoint.ts";
import { parseLocality } from "./model-locality.ts";
import { compare, type ProblemLog } from "./model-object.ts";
import { protocolOf } from "./model-protocol.ts";
import {
  entryEndpoints,
  type MeshService,
  type Resolution,
  type ServicePort,
  selectedEntries,
  serviceAccountsOf,
  stranger,
} from "./model-services.ts";
import { type MeshWorkloadEntry, takesMutualTls } from "./model-workload-entries.ts";
import type { Workload } from "./model-workloads.ts";

const RESOLUTIONS: Readonly<Record<NonNullable<ServiceEntrySpec["resolution"]>, Resolution>> = {
  NONE: "original",
  STATIC: "endpoints",
  DNS: "dns",
  DNS_ROUND_ROBIN: "dnsRoundRobin",
  DYNAMIC_DNS: "requested",
};
type Port = NonNullable<ServiceEntrySpec["ports"]>[number];
type Inline = NonNullable<ServiceEntrySpec["endpoints"]>[number];

/** What a ServiceEntry may select from. */
export interface SelectableWorkloads {
  readonly pods: Iterable<Workload>;
  readonly entries: readonly MeshWorkloadEntry[];
}

/** The services of a ServiceEntry: one per host. What cannot be reached is left out and reported. */
export function serviceEntryServices(
  object: KubeObject,
  spec: ServiceEntrySpec,
  workloads: SelectableWorkloads,
  log: ProblemLog,
): readonly MeshService[] {
  const { name, namespace = "default", creationTimestamp = "" } = object.metadata;
  const resolution = RESOLUTIONS[spec.resolution ?? "NONE"];
  const addresses = spec.addresses ?? [];
  reportIgnored(object, spec, log);
  return spec.hosts.map((each): MeshService => {
    const host = each.toLowerCase();
    const ports = (spec.ports ?? [])
      .filter((port) => port.protocol?.toUpperCase() !== "UDP")
      .map((port): ServicePort => {
        const declared = port.protocol === "" ? undefined : port.protocol?.toLowerCase();
        return {
          number: port.number,
          name: port.name,
          protocol: protocolOf({
            number: port.number,
            transport: "TCP",
            appProtocol: declared,
            name: port.name,
          }),
          endpoints: endpointsOf(port, host, resolution, spec, namespace, workloads),
        };
      })
      .sort((a, b) => a.number - b.number);
    return {
      host,
      name,
      namespace,
      clusterIps: addresses.filter((address) => !address.includes("/")),
      isHeadless: false,
      resolution,
      isExternal: (spec.location ?? "MESH_EXTERNAL") === "MESH_EXTERNAL",
      isEntry: true,
      exportTo: (spec.exportTo ?? []).length > 0 ? (spec.exportTo ?? []) : ["*"],
      subjectAltNames: spec.subjectAltNames ?? [],
      externalName: undefined,
      isAlias: false,
      createdAt: creationTimestamp,
      ports,
      serviceAccounts: serviceAccountsOf(ports),
    };
  });
}

function endpointsOf(
  port: Port,
  host: string,
  resolution: Resolution,
  spec: ServiceEntrySpec,
  namespace: string,
  workloads: SelectableWorkloads,
): readonly MeshEndpoint[] {
  const targetPort = port.targetPort ?? port.number;
  if (resolution === "original" || resolution === "requested") return [];
  const selector = spec.workloadSelector?.labels;
  if (selector !== undefined) {
    const wanted = Object.entries(selector);
    const pods = [...workloads.pods].filter(
      ({ namespace: own, labels, address }) =>
        own === namespace &&
        address !== "" &&
        wanted.every(([key, value]) => labels[key] === value),
    );
    const selected = selectedEntries(workloads.entries, namespace, selector);
    return [
      ...pods.map((pod) =>
        endpointOf(pod, { address: pod.address, port: targetPort, isReady: pod.isReady }),
      ),
      ...entryEndpoints(selected, port.name, targetPort).filter(
        ({ address }) => resolution !== "endpoints" || isNumeric(address),
      ),
    ].sort((a, b) => compare(a.address, b.address) || a.port - b.port);
  }
  const inline = spec.endpoints ?? [];
  if (inline.length === 0) return [stranger({ address: host, port: targetPort, isReady: true })];
  return inline
    .filter(({ address = "" }) => !address.startsWith("unix://"))
    .map((endpoint) => inlineEndpoint(endpoint, port.name, targetPort));
}

function inlineEndpoint(endpoint: Inline, portName: string, targetPort: number): MeshEndpoint {
  const labels = endpoint.labels ?? {};
  return {
    address: endpoint.address ?? "",
    port: endpoint.ports?.[portName] ?? targetPort,
    isReady: true,
    workload: undefined,
    labels,
    locality: parseLocality(endpoint.locality ?? ""),
    weight: Math.max(1, endpoint.weight ?? 1),
    takesMutualTls: takesMutualTls(labels, endpoint.serviceAccount),
  };
}

const isNumeric = (address: string): boolean =>
  address.includes(":") || /^\d+(?:\.\d+){3}$/.test(address);

function reportIgnored(object: KubeObject, spec: ServiceEntrySpec, log: ProblemLog): void {
  for (const [i, { address = "" }] of (spec.endpoints ?? []).entries()) {
    if (address.startsWith("unix://")) {
      log.report(object, `spec.endpoints[${i}]: unix sockets are not supported, it is left out`);
    }
  }
  for (const [i, { protocol }] of (spec.ports ?? []).entries()) {
    if (protocol?.toUpperCase() === "UDP") {
      log.report(object, `spec.ports[${i}]: UDP has no effect`);
    }
  }
}
