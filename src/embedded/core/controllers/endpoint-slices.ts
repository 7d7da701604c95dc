import { type KubeObject, matchesSelector, type StringMap } from "../../../api/index.ts";
import { type JsonObject, numberAt, objectAt, objectsAt, stringAt, valueAt } from "../api/json.ts";
import { isReady, isTerminating } from "./pod-state.ts";

const MANAGED_BY = "endpointslice-controller.k8s.io";
const MAX_ENDPOINTS = 100;

/** One slice as it should be; `name` is undefined for one that is to be created. */
export interface DesiredSlice {
  readonly ports: readonly JsonObject[];
  readonly endpoints: readonly JsonObject[];
}

/**
 * The endpoints of a Service by its pods, grouped into slices of equal ports and at most 100
 * endpoints. Undefined when the Service has no selector: its slices are somebody else's.
 */
export function desiredSlices(
  service: KubeObject,
  pods: readonly KubeObject[],
): readonly DesiredSlice[] | undefined {
  const selector = objectAt(service, "spec", "selector") as StringMap | undefined;
  if (selector === undefined || Object.keys(selector).length === 0) return undefined;
  if (stringAt(service, "spec", "type") === "ExternalName") return undefined;
  const groups = new Map<string, { ports: readonly JsonObject[]; endpoints: JsonObject[] }>();
  const members = pods
    .filter((pod) => matchesSelector({ matchLabels: selector }, pod.metadata.labels))
    .toSorted((a, b) => (a.metadata.name < b.metadata.name ? -1 : 1));
  for (const pod of members) {
    const endpoint = endpointOf(service, pod);
    if (endpoint === undefined) continue;
    const ports = portsOf(service, pod);
    const key = JSON.stringify(ports);
    const group = groups.get(key) ?? { ports, endpoints: [] };
    groups.set(key, group);
    group.endpoints.push(endpoint);
  }
  // A Service without pods has one empty slice: it says that somebody looked.
  if (groups.size === 0) return [{ ports: [], endpoints: [] }];
  return [...groups.values()].flatMap(({ ports, endpoints }) => {
    const slices: DesiredSlice[] = [];
    for (let at = 0; at < endpoints.length; at += MAX_ENDPOINTS) {
      slices.push({ ports, endpoints: endpoints.slice(at, at + MAX_ENDPOINTS) });
    }
    return slices;
  });
}

function endpointOf(service: KubeObject, pod: KubeObject): JsonObject | undefined {
  const address = stringAt(pod, "status", "podIP");
  const phase = stringAt(pod, "status", "phase");
  if (address === undefined || phase === "Succeeded" || phase === "Failed") return undefined;
  const serving = isReady(pod);
  const terminating = isTerminating(pod);
  const publishes = valueAt(service, "spec", "publishNotReadyAddresses") === true;
  const nodeName = stringAt(pod, "spec", "nodeName");
  const hostname = stringAt(pod, "spec", "hostname");
  const isNamed =
    hostname !== undefined && stringAt(pod, "spec", "subdomain") === service.metadata.name;
  return {
    addresses: [address],
    conditions: { ready: publishes || (serving && !terminating), serving, terminating },
    ...(isNamed ? { hostname } : {}),
    ...(nodeName === undefined ? {} : { nodeName }),
    targetRef: {
      kind: "Pod",
      namespace: pod.metadata.namespace,
      name: pod.metadata.name,
      uid: pod.metadata.uid,
    },
  };
}

function portsOf(service: KubeObject, pod: KubeObject): readonly JsonObject[] {
  return objectsAt(service, "spec", "ports").flatMap((port) => {
    const number = targetPort(port, pod);
    if (number === undefined) return [];
    const appProtocol = stringAt(port, "appProtocol");
    return [
      {
        name: stringAt(port, "name") ?? "",
        port: number,
        protocol: stringAt(port, "protocol") ?? "TCP",
        ...(appProtocol === undefined ? {} : { appProtocol }),
      },
    ];
  });
}

/** A named target port is what the pod's containers call so; undefined when none does. */
function targetPort(port: JsonObject, pod: KubeObject): number | undefined {
  const target = port["targetPort"] ?? port["port"];
  if (typeof target === "number") return target;
  const protocol = stringAt(port, "protocol") ?? "TCP";
  for (const container of [
    ...objectsAt(pod, "spec", "containers"),
    ...objectsAt(pod, "spec", "initContainers"),
  ]) {
    for (const candidate of objectsAt(container, "ports")) {
      const isSame =
        candidate["name"] === target && (stringAt(candidate, "protocol") ?? "TCP") === protocol;
      if (isSame) return numberAt(candidate, "containerPort");
    }
  }
  return undefined;
}

/** Labels of a Service's slices. */
export function sliceLabels(service: KubeObject): StringMap {
  const isHeadless = stringAt(service, "spec", "clusterIP") === "None";
  return {
    ...service.metadata.labels,
    "kubernetes.io/service-name": service.metadata.name,
    "endpointslice.kubernetes.io/managed-by": MANAGED_BY,
    ...(isHeadless ? { "service.kubernetes.io/headless": "" } : {}),
  };
}

/** Whether a slice is one of ours. */
export function isManaged(slice: KubeObject): boolean {
  return slice.metadata.labels?.["endpointslice.kubernetes.io/managed-by"] === MANAGED_BY;
}

/** The v1 Endpoints of the same: ready addresses and others, by ports. */
export function endpointSubsets(slices: readonly DesiredSlice[]): readonly JsonObject[] {
  return slices.flatMap(({ ports, endpoints }) => {
    const addresses = (ready: boolean) =>
      endpoints
        .filter((endpoint) => (objectAt(endpoint, "conditions")?.["ready"] === true) === ready)
        .filter((endpoint) => ready || objectAt(endpoint, "conditions")?.["terminating"] !== true)
        .map((endpoint) => ({
          ip: (endpoint["addresses"] as readonly string[])[0],
          ...(endpoint["nodeName"] === undefined ? {} : { nodeName: endpoint["nodeName"] }),
          targetRef: endpoint["targetRef"],
        }));
    const [ready, notReady] = [addresses(true), addresses(false)];
    if (ready.length === 0 && notReady.length === 0) return [];
    return [
      {
        ...(ready.length === 0 ? {} : { addresses: ready }),
        ...(notReady.length === 0 ? {} : { notReadyAddresses: notReady }),
        ports,
      },
    ];
  });
}
