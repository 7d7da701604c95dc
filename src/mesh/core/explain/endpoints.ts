import type { MessageTypes } from "../../../xds/index.ts";
import type { MeshDestinationRule } from "../model-destination-rules.ts";
import type { MeshEndpoint } from "../model-endpoint.ts";
import type { Subset } from "../model-istio.ts";
import { localityText } from "../model-locality.ts";
import type { MeshService, ServicePort } from "../model-services.ts";
import type { MeshView } from "../model-view.ts";
import { outboundClusters } from "../translate/outbound-clusters.ts";
import type { EndpointHealth, Question } from "./question.ts";

type Cluster = MessageTypes["envoy.config.cluster.v3.Cluster"];
type Assignment = MessageTypes["envoy.config.endpoint.v3.ClusterLoadAssignment"];

/** An endpoint, and how much of its cluster's traffic it gets. */
export interface EndpointShare {
  readonly endpoint: MeshEndpoint;
  /** NOT READY: Kubernetes says so, and proxies are not told of it. */
  readonly health: EndpointHealth | "NOT READY";
  /** 0 = first. */
  readonly priority: number;
  readonly locality: string;
  /** 0..1 of the cluster's requests. */
  readonly share: number;
}

/** The translated cluster of a destination. */
export interface ExplainedCluster {
  readonly cluster: Cluster;
  readonly endpoints: readonly EndpointShare[];
}

/**
 * The cluster of a service's port or subset, with the endpoints it has; undefined when there is no such
 * cluster. Of equal health those of the first priority share the requests, by weight; where the cluster
 * goes by hashes, all requests of this `hash` go to one.
 */
export function explainCluster(
  name: string,
  target: {
    readonly service: MeshService;
    readonly port: ServicePort;
    readonly rule: MeshDestinationRule | undefined;
    readonly subset: Subset | undefined;
  },
  view: MeshView,
  { dataPlane, healthOf }: Pick<Question, "dataPlane" | "healthOf">,
  hash: bigint | undefined,
): ExplainedCluster | undefined {
  const { service, port, rule, subset } = target;
  const found = outboundClusters(service, rule, view, true).find((each) => each.name === name);
  if (found === undefined) return undefined;
  const assignment = found.assignment ?? found.cluster.load_assignment ?? undefined;
  const places = placesOf(assignment);
  const wanted = Object.entries(subset?.labels ?? {});
  const endpoints = port.endpoints
    .filter(({ labels }) => wanted.every(([key, value]) => labels[key] === value))
    .map((endpoint) => {
      const address = `${endpoint.address}:${endpoint.port}`;
      const place = places.get(address);
      const health = place === undefined ? "NOT READY" : (healthOf(name, address) ?? "HEALTHY");
      return { endpoint, health, place } as const;
    });
  const healthy = endpoints.filter(({ health }) => health === "HEALTHY");
  const first = Math.min(...healthy.map(({ place }) => place?.priority ?? 0));
  const chosen = healthy.filter(({ place }) => place?.priority === first);
  const byLocality = Boolean(found.cluster.common_lb_config?.locality_weighted_lb_config);
  const weightOf = (each: (typeof endpoints)[number]): number => {
    const place = each.place;
    if (place === undefined || !chosen.includes(each)) return 0;
    if (!byLocality) return place.weight;
    const own = chosen.filter((other) => other.place?.locality === place.locality);
    const sum = own.reduce((total, other) => total + (other.place?.weight ?? 0), 0);
    return (place.localityWeight * place.weight) / sum;
  };
  const total = chosen.reduce((sum, each) => sum + weightOf(each), 0);
  // In the order in which the proxy is told of them.
  const hosts = [...places]
    .filter(([, place]) => chosen.some((each) => each.place === place))
    .map(([address, { weight }]) => ({ address, weight }));
  const isPlaced = hash !== undefined && !byLocality;
  const only = isPlaced ? dataPlane.hashedHost(found.cluster, hosts, hash) : undefined;
  const shareOf = (each: (typeof endpoints)[number]): number => {
    if (only !== undefined)
      return Number(`${each.endpoint.address}:${each.endpoint.port}` === only);
    return total === 0 ? 0 : weightOf(each) / total;
  };
  return {
    cluster: found.cluster,
    endpoints: endpoints.map((each) => ({
      endpoint: each.endpoint,
      health: each.health,
      priority: each.place?.priority ?? 0,
      locality: localityText(each.endpoint.locality),
      share: shareOf(each),
    })),
  };
}

interface Place {
  readonly priority: number;
  /** The locality's group; which one. */
  readonly locality: number;
  readonly localityWeight: number;
  readonly weight: number;
}

/** Where an assignment has its addresses. */
function placesOf(assignment: Assignment | undefined): ReadonlyMap<string, Place> {
  return new Map(
    (assignment?.endpoints ?? []).flatMap((group, locality) =>
      (group.lb_endpoints ?? []).map(({ endpoint, load_balancing_weight: weight }) => {
        const address = endpoint?.address?.socket_address;
        const place: Place = {
          priority: group.priority ?? 0,
          locality,
          localityWeight: group.load_balancing_weight?.value ?? 0,
          weight: weight?.value ?? 1,
        };
        return [`${address?.address ?? ""}:${address?.port_value ?? 0}`, place] as const;
      }),
    ),
  );
}
