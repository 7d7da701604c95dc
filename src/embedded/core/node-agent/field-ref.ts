import type { Pod, ResourceFieldRef } from "./pod.ts";

/** What a pod may ask about itself. */
export interface PodFacts {
  readonly pod: Pod;
  readonly nodeName: string;
  readonly podIp: string;
  readonly hostIp: string;
}

/** The value of a downward API field, or undefined for a field that has none. */
export function fieldValue(path: string, { pod, ...facts }: PodFacts): string | undefined {
  const keyed = /^metadata\.(labels|annotations)\['([^']*)'\]$/.exec(path);
  if (keyed !== null) {
    const map = keyed[1] === "labels" ? pod.labels : pod.annotations;
    return map[keyed[2] ?? ""] ?? "";
  }
  const values: Readonly<Record<string, string>> = {
    "metadata.name": pod.name,
    "metadata.namespace": pod.namespace,
    "metadata.uid": pod.uid,
    "metadata.labels": formatMap(pod.labels),
    "metadata.annotations": formatMap(pod.annotations),
    "spec.nodeName": facts.nodeName,
    "spec.serviceAccountName": pod.spec.serviceAccountName,
    "status.podIP": facts.podIp,
    "status.podIPs": facts.podIp,
    "status.hostIP": facts.hostIp,
    "status.hostIPs": facts.hostIp,
  };
  return values[path];
}

/** `key="value"` lines sorted by key, as downward API files hold labels and annotations. */
function formatMap(map: Readonly<Record<string, string>>): string {
  return Object.entries(map)
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([key, value]) => `${key}=${JSON.stringify(value)}`)
    .join("\n");
}

const SUFFIXES: Readonly<Record<string, number>> = {
  n: 1e-9,
  u: 1e-6,
  m: 1e-3,
  "": 1,
  k: 1e3,
  M: 1e6,
  G: 1e9,
  T: 1e12,
  P: 1e15,
  E: 1e18,
  Ki: 2 ** 10,
  Mi: 2 ** 20,
  Gi: 2 ** 30,
  Ti: 2 ** 40,
  Pi: 2 ** 50,
  Ei: 2 ** 60,
};

/** A quantity (`250m`, `1Gi`) as a number; NaN when it is not one. */
export function parseQuantity(quantity: string | number): number {
  const match = /^([+-]?[\d.]+(?:[eE][+-]?\d+)?)([a-zA-Z]*)$/.exec(String(quantity).trim());
  return Number(match?.[1]) * (SUFFIXES[match?.[2] ?? ""] ?? Number.NaN);
}

/**
 * The value of `resourceFieldRef`: a limit or request, in units of the divisor, rounded up. A limit
 * that is not set is the node's capacity (`node`), an unset request is 0.
 */
export function resourceValue(
  reference: ResourceFieldRef,
  resources: {
    readonly limits: Readonly<Record<string, string | number>>;
    readonly requests: Readonly<Record<string, string | number>>;
  },
  node: Readonly<Record<string, number>>,
): string | undefined {
  const match = /^(limits|requests)\.(.+)$/.exec(reference.resource);
  if (match === null) return undefined;
  const [, list, name = ""] = match;
  const set = list === "limits" ? resources.limits[name] : resources.requests[name];
  const amount = set === undefined ? (list === "limits" ? node[name] : 0) : parseQuantity(set);
  const divisor = parseQuantity(reference.divisor ?? "1") || 1;
  return amount === undefined ? undefined : String(Math.ceil(amount / divisor));
}
