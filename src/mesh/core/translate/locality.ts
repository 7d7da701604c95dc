import type { StringMap } from "../../../api/index.ts";
import type { MeshEndpoint } from "../model-endpoint.ts";
import type { LocalityLbSetting, PolicyBlocks } from "../model-istio.ts";
import { type Locality, localityText } from "../model-locality.ts";
import { compare } from "../model-object.ts";

/** Where a client is, and the labels that failover may go by. */
export interface ClientPlace {
  readonly locality: Locality;
  readonly labels: StringMap;
  /** Whether endpoints must say what metrics are labelled with. */
  readonly isEnvoy?: boolean;
}

/** Endpoints of one locality and priority; they share a weight. */
export interface LocalityGroup {
  readonly locality: Locality;
  /** 0 = first. */
  readonly priority: number;
  readonly weight: number;
  readonly endpoints: readonly MeshEndpoint[];
}

/** Whether and how a policy goes by localities. */
export type LocalityPolicy =
  | { readonly kind: "none" }
  | { readonly kind: "distribute"; readonly shares: Readonly<Record<string, number>> }
  | { readonly kind: "failover"; readonly setting: LocalityLbSetting };

/**
 * How a client spreads over localities. A rule's own setting counts before the mesh's; failing over
 * needs outlier detection, else nobody would notice that hosts are ill (Istio).
 */
export function localityPolicy(
  policy: PolicyBlocks,
  mesh: LocalityLbSetting,
  client: ClientPlace,
): LocalityPolicy {
  const setting = policy.loadBalancer?.localityLbSetting ?? mesh;
  if (setting.enabled === false) return { kind: "none" };
  const distribute = setting.distribute ?? [];
  if (distribute.length > 0) {
    const here = distribute.find(({ from = "" }) => isWithin(client.locality, from));
    return here === undefined ? { kind: "none" } : { kind: "distribute", shares: here.to ?? {} };
  }
  if (policy.outlierDetection === undefined) return { kind: "none" };
  const isPlaced = client.locality.region !== "" || (setting.failoverPriority ?? []).length > 0;
  return isPlaced ? { kind: "failover", setting } : { kind: "none" };
}

/** The endpoints by locality, with the priorities and weights that the policy gives them. */
export function localityGroups(
  endpoints: readonly MeshEndpoint[],
  policy: LocalityPolicy,
  client: ClientPlace,
): readonly LocalityGroup[] {
  switch (policy.kind) {
    case "none":
      return grouped(endpoints, () => 0);
    case "distribute":
      return distributed(
        grouped(endpoints, () => 0),
        policy.shares,
      );
    case "failover":
      return consecutive(grouped(endpoints, priorityIn(policy.setting, client)));
  }
}

function grouped(
  endpoints: readonly MeshEndpoint[],
  priorityOf: (endpoint: MeshEndpoint) => number,
): readonly LocalityGroup[] {
  const groups = Map.groupBy(endpoints, (endpoint) =>
    JSON.stringify([priorityOf(endpoint), localityText(endpoint.locality)]),
  );
  return [...groups.values()]
    .flatMap((list) => {
      const [first] = list;
      if (first === undefined) return [];
      const weight = list.reduce((sum, endpoint) => sum + endpoint.weight, 0);
      const { locality } = first;
      return [{ locality, priority: priorityOf(first), weight, endpoints: list }];
    })
    .sort(
      (a, b) =>
        a.priority - b.priority || compare(localityText(a.locality), localityText(b.locality)),
    );
}

/** The shares of the list's localities, in proportion to what each has; others get nothing. */
function distributed(
  groups: readonly LocalityGroup[],
  shares: Readonly<Record<string, number>>,
): readonly LocalityGroup[] {
  // The more exact pattern first, as its localities are no longer there for the others.
  const patterns = Object.entries(shares).sort(([a], [b]) => exactness(b) - exactness(a));
  const left = new Set(groups);
  return patterns.flatMap(([pattern, share]) => {
    const chosen = [...left].filter(({ locality }) => isWithin(locality, pattern));
    for (const group of chosen) left.delete(group);
    const total = chosen.reduce((sum, { weight }) => sum + weight, 0);
    return chosen.map((group) => ({
      ...group,
      weight: Math.max(1, Math.ceil((share * group.weight) / total)),
    }));
  });
}

const exactness = (pattern: string): number =>
  pattern.split("/").filter((part) => part !== "*" && part !== "").length;

/** Priorities without gaps, as Envoy asks for. */
function consecutive(groups: readonly LocalityGroup[]): readonly LocalityGroup[] {
  const used = [...new Set(groups.map(({ priority }) => priority))].sort((a, b) => a - b);
  return groups.map((group) => ({ ...group, priority: used.indexOf(group.priority) }));
}

function priorityIn(
  { failover = [], failoverPriority = [] }: LocalityLbSetting,
  client: ClientPlace,
): (endpoint: MeshEndpoint) => number {
  if (failoverPriority.length > 0)
    return (endpoint) => byLabels(failoverPriority, endpoint, client);
  const { region, zone, subZone } = client.locality;
  const next = failover.find(({ from }) => from === region)?.to;
  return ({ locality }) => {
    if (locality.region !== region) return next === undefined || locality.region === next ? 3 : 4;
    if (locality.zone !== zone) return 2;
    return locality.subZone === subZone ? 0 : 1;
  };
}

/** How many of the labels differ, from the first that does: what comes earlier counts more. */
function byLabels(labels: readonly string[], endpoint: MeshEndpoint, client: ClientPlace): number {
  const theirs = withTopology(endpoint.labels, endpoint.locality);
  const own = withTopology(client.labels, client.locality);
  const firstOther = labels.findIndex((label) => {
    const equals = label.indexOf("=");
    const key = equals < 0 ? label : label.slice(0, equals);
    const wanted = equals < 0 ? own[key] : label.slice(equals + 1);
    return theirs[key] !== wanted;
  });
  return firstOther < 0 ? 0 : labels.length - firstOther;
}

function withTopology(labels: StringMap, { region, zone, subZone }: Locality): StringMap {
  return {
    ...labels,
    "topology.kubernetes.io/region": region,
    "topology.kubernetes.io/zone": zone,
    "topology.istio.io/subzone": subZone,
  };
}

/** Whether a locality is within `region/zone/subzone`, of which parts may be `*` or missing. */
function isWithin({ region, zone, subZone }: Locality, pattern: string): boolean {
  return pattern
    .split("/")
    .every((part, i) => part === "*" || part === "" || part === [region, zone, subZone][i]);
}
