import type { KubeObject, StringMap } from "../../api/index.ts";
import { endpointOf, type MeshEndpoint } from "./model-endpoint.ts";
import { NOWHERE } from "./model-locality.ts";
import { areSame } from "./model-memory.ts";
import { byAge, compare, labelsOf, listOf, objectOf, portOf, textOf } from "./model-object.ts";
import { type PortProtocol, protocolOf } from "./model-protocol.ts";
import type { MeshWorkloadEntry } from "./model-workload-entries.ts";
import type { Workload } from "./model-workloads.ts";

/** A port of a service. */
export interface ServicePort {
  readonly number: number;
  readonly name: string | undefined;
  readonly protocol: PortProtocol;
  /** Where it leads; empty when nothing is ready. Sorted by address. */
  readonly endpoints: readonly MeshEndpoint[];
}

/** How a service's endpoints are found. */
export type Resolution =
  /** They are told to the proxies. */
  | "endpoints"
  /** Proxies resolve their names and use every address. */
  | "dns"
  /** Proxies resolve one name and use one address at a time. */
  | "dnsRoundRobin"
  /** There are none: traffic goes where the client wanted to. */
  | "original"
  /** There are none: proxies resolve the name that the request asks for. */
  | "requested";

/** A Kubernetes Service, or one host of a ServiceEntry. */
export interface MeshService {
  /** `reviews.default.svc.cluster.local`. */
  readonly host: string;
  readonly name: string;
  readonly namespace: string;
  readonly clusterIps: readonly string[];
  readonly isHeadless: boolean;
  readonly resolution: Resolution;
  /** Whether it is outside of the mesh: no mutual TLS of the mesh by itself. */
  readonly isExternal: boolean;
  /** Whether a ServiceEntry made it. */
  readonly isEntry: boolean;
  /** Who may see it. */
  readonly exportTo: readonly string[];
  /** Names that its servers' certificates may carry besides those of its accounts. */
  readonly subjectAltNames: readonly string[];
  /** The DNS name an ExternalName service stands for, when that is no service of the mesh. */
  readonly externalName: string | undefined;
  /** Whether it only stands for another service of the mesh. */
  readonly isAlias: boolean;
  /** RFC 3339; "" when unknown. */
  readonly createdAt: string;
  /** TCP ports, by number. */
  readonly ports: readonly ServicePort[];
  /** Accounts of every pod behind it, ready or not, sorted. */
  readonly serviceAccounts: readonly { readonly namespace: string; readonly name: string }[];
}

/** A service port that leads to a pod. */
export interface ServedPort {
  readonly service: MeshService;
  readonly port: ServicePort;
  /** The pod's own port. */
  readonly targetPort: number;
}

/** The DNS suffix of services. */
export const SERVICE_DOMAIN = "svc.cluster.local";

/**
 * All Kubernetes services with their endpoints, sorted by host. `workloads` is keyed by
 * `namespace/pod`; WorkloadEntries join the services whose selector fits them. `remembered`, of the
 * build before: a service that nothing changed for keeps its object.
 */
export function buildServices(
  services: readonly KubeObject[],
  endpointSlices: readonly KubeObject[],
  workloads: ReadonlyMap<string, Workload>,
  entries: readonly MeshWorkloadEntry[] = [],
  remembered: RememberedServices = new WeakMap(),
): readonly MeshService[] {
  const slices = slicesByService(endpointSlices);
  const all = services
    .map((service) => {
      const { namespace = "default", name } = service.metadata;
      const own = slices.get(`${namespace}/${name}`) ?? [];
      return rememberedService(service, own, workloads, entries, remembered);
    })
    .sort((a, b) => compare(a.host, b.host));
  const byHost = new Map(all.map((service) => [service.host, service]));
  return all.map((service) => aliased(service, byHost));
}

type Workloads = Pick<ReadonlyMap<string, Workload>, "get">;

interface Remembered {
  readonly slices: readonly KubeObject[];
  readonly entries: readonly MeshWorkloadEntry[];
  /** Every pod that was looked up, and what was found. */
  readonly asked: readonly (readonly [key: string, found: Workload | undefined])[];
  readonly service: MeshService;
}

/** By the Service's object: what it was made of the last time, and what came out. */
export type RememberedServices = WeakMap<KubeObject, Remembered>;

function rememberedService(
  object: KubeObject,
  slices: readonly KubeObject[],
  workloads: Workloads,
  entries: readonly MeshWorkloadEntry[],
  remembered: RememberedServices,
): MeshService {
  const before = remembered.get(object);
  if (
    before !== undefined &&
    before.entries === entries &&
    areSame(before.slices, slices) &&
    before.asked.every(([key, found]) => workloads.get(key) === found)
  ) {
    return before.service;
  }
  const asked: [string, Workload | undefined][] = [];
  const asking: Workloads = {
    get(key) {
      const found = workloads.get(key);
      asked.push([key, found]);
      return found;
    },
  };
  const service = serviceFrom(object, slices, asking, entries);
  remembered.set(object, { slices, entries, asked, service });
  return service;
}

/** An ExternalName that is another service of the mesh leads to that one's endpoints, as in Istio. */
function aliased(service: MeshService, byHost: ReadonlyMap<string, MeshService>): MeshService {
  const target = byHost.get(service.externalName?.replace(/\.$/, "").toLowerCase() ?? "");
  if (target === undefined || target.externalName !== undefined) return service;
  return {
    ...service,
    externalName: undefined,
    isAlias: true,
    resolution: "endpoints",
    isExternal: false,
    serviceAccounts: target.serviceAccounts,
    ports: service.ports.map((port) => {
      const same = target.ports.find((each) => each.number === port.number);
      return { ...port, endpoints: same?.endpoints ?? [] };
    }),
  };
}

/** Which service ports lead to each pod, ready or not; the oldest service first (Istio). */
export function servedPortsOf(
  services: readonly MeshService[],
): ReadonlyMap<Workload, readonly ServedPort[]> {
  const served = new Map<Workload, ServedPort[]>();
  const oldestFirst = services
    .filter((service) => !service.isAlias)
    .toSorted((a, b) => compare(a.createdAt, b.createdAt));
  for (const service of oldestFirst) {
    for (const port of service.ports) {
      for (const { workload, port: targetPort } of port.endpoints) {
        if (workload === undefined) continue;
        const list = served.get(workload);
        if (list === undefined) served.set(workload, [{ service, port, targetPort }]);
        else list.push({ service, port, targetPort });
      }
    }
  }
  return served;
}

/** The annotation `networking.istio.io/exportTo`: names, comma-separated; everybody by default. */
function exportToOf(annotation: string | undefined): readonly string[] {
  const names = (annotation ?? "").split(",").map((name) => name.trim());
  const given = names.filter((name) => name !== "");
  return given.length > 0 ? given : ["*"];
}

/** The WorkloadEntries of a namespace that a selector fits; an empty selector fits none. */
export function selectedEntries(
  entries: readonly MeshWorkloadEntry[],
  namespace: string,
  selector: StringMap,
): readonly MeshWorkloadEntry[] {
  const wanted = Object.entries(selector);
  if (wanted.length === 0) return [];
  return entries.filter(
    ({ workload }) =>
      workload.namespace === namespace &&
      wanted.every(([key, value]) => workload.labels[key] === value),
  );
}

/** Where WorkloadEntries take the traffic of a service port. */
export function entryEndpoints(
  entries: readonly MeshWorkloadEntry[],
  portName: string | undefined,
  targetPort: number,
): readonly MeshEndpoint[] {
  return entries
    .filter(({ address }) => address !== "" && !address.startsWith("unix://"))
    .map(({ address, ports, workload }) => {
      const port = (portName === undefined ? undefined : ports[portName]) ?? targetPort;
      return endpointOf(workload, { address, port, isReady: true });
    });
}

/** An endpoint of which only the address is known. */
export function stranger(at: {
  readonly address: string;
  readonly port: number;
  readonly isReady: boolean;
}): MeshEndpoint {
  return {
    ...at,
    workload: undefined,
    labels: {},
    locality: NOWHERE,
    weight: 1,
    takesMutualTls: false,
  };
}

function named(address: string, port: number): MeshEndpoint {
  return stranger({ address, port, isReady: true });
}

function slicesByService(slices: readonly KubeObject[]): Map<string, KubeObject[]> {
  const out = new Map<string, KubeObject[]>();
  for (const slice of byAge(slices)) {
    const service = slice.metadata.labels?.["kubernetes.io/service-name"];
    if (service === undefined) continue;
    const key = `${slice.metadata.namespace ?? "default"}/${service}`;
    const list = out.get(key);
    if (list === undefined) out.set(key, [slice]);
    else list.push(slice);
  }
  return out;
}

function serviceFrom(
  service: KubeObject,
  slices: readonly KubeObject[],
  workloads: Workloads,
  entries: readonly MeshWorkloadEntry[],
): MeshService {
  const { namespace = "default", name, annotations = {} } = service.metadata;
  const spec = objectOf(service["spec"]);
  const externalName = spec["type"] === "ExternalName" ? textOf(spec["externalName"]) : undefined;
  const selected = selectedEntries(entries, namespace, labelsOf(spec["selector"]));
  const addresses = listOf(spec["clusterIPs"]);
  const clusterIps = (addresses.length > 0 ? addresses : [spec["clusterIP"]]).flatMap((ip) => {
    const text = textOf(ip);
    return text === undefined || text === "None" ? [] : [text];
  });
  const ports = listOf(spec["ports"]).flatMap((value): ServicePort[] => {
    const port = objectOf(value);
    const number = portOf(port["port"]);
    const transport = textOf(port["protocol"]) ?? "TCP";
    if (number === undefined || transport !== "TCP") return [];
    const portName = textOf(port["name"]);
    const protocol = protocolOf({
      number,
      transport,
      appProtocol: textOf(port["appProtocol"]),
      name: portName,
    });
    const endpoints =
      externalName === undefined
        ? [
            ...endpointsOf(slices, portName ?? "", workloads),
            ...entryEndpoints(selected, portName, portOf(port["targetPort"]) ?? number),
          ]
        : [named(externalName, number)];
    return [{ number, name: portName, protocol, endpoints }];
  });
  return {
    host: `${name}.${namespace}.${SERVICE_DOMAIN}`,
    name,
    namespace,
    clusterIps,
    isHeadless: spec["clusterIP"] === "None",
    externalName,
    resolution: externalName === undefined ? "endpoints" : "dns",
    isExternal: externalName !== undefined,
    isEntry: false,
    exportTo: exportToOf(annotations["networking.istio.io/exportTo"]),
    subjectAltNames: [],
    isAlias: false,
    createdAt: service.metadata.creationTimestamp ?? "",
    ports: ports.sort((a, b) => a.number - b.number),
    serviceAccounts: serviceAccountsOf(ports),
  };
}

/** The endpoints of the slices' port of that name; each address once, sorted. */
function endpointsOf(
  slices: readonly KubeObject[],
  portName: string,
  workloads: Workloads,
): readonly MeshEndpoint[] {
  const found = new Map<string, MeshEndpoint>();
  for (const slice of slices) {
    const port = listOf(slice["ports"])
      .map(objectOf)
      .find((each) => (textOf(each["name"]) ?? "") === portName);
    const number = portOf(port?.["port"]);
    if (number === undefined || slice["addressType"] === "FQDN") continue;
    for (const endpoint of listOf(slice["endpoints"]).map(objectOf)) {
      const isReady = objectOf(endpoint["conditions"])["ready"] !== false;
      const workload = workloadOf(endpoint, slice.metadata.namespace ?? "default", workloads);
      // Further addresses are fungible with the first (discovery.k8s.io/v1), which is the one used.
      const address = textOf(listOf(endpoint["addresses"])[0]);
      if (address === undefined) continue;
      const key = `${address} ${number}`;
      if (found.get(key)?.isReady !== true) {
        const at = { address, port: number, isReady };
        found.set(key, workload === undefined ? stranger(at) : endpointOf(workload, at));
      }
    }
  }
  return [...found.entries()].sort(([a], [b]) => compare(a, b)).map(([, endpoint]) => endpoint);
}

function workloadOf(
  endpoint: Readonly<Record<string, unknown>>,
  namespace: string,
  workloads: Workloads,
): Workload | undefined {
  const target = objectOf(endpoint["targetRef"]);
  if (target["kind"] !== "Pod") return undefined;
  return workloads.get(
    `${textOf(target["namespace"]) ?? namespace}/${textOf(target["name"]) ?? ""}`,
  );
}

/** The accounts of the workloads behind ports, sorted. */
export function serviceAccountsOf(ports: readonly ServicePort[]): MeshService["serviceAccounts"] {
  const accounts = new Map<string, { readonly namespace: string; readonly name: string }>();
  for (const { workload } of ports.flatMap((port) => port.endpoints)) {
    if (workload === undefined || workload.serviceAccount === "") continue;
    const { namespace, serviceAccount } = workload;
    accounts.set(`${namespace}/${serviceAccount}`, { namespace, name: serviceAccount });
  }
  return [...accounts.entries()].sort(([a], [b]) => compare(a, b)).map(([, account]) => account);
}
