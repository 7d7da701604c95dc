import type { MeshDestinationRule } from "../model-destination-rules.ts";
import { localityText } from "../model-locality.ts";
import type { MeshService } from "../model-services.ts";
import type { MeshView } from "../model-view.ts";
import type { XdsResource } from "../xds-resource.ts";
import type { OutboundCluster } from "./outbound-clusters.ts";
import type { ResourceEncoder } from "./resource-encoder.ts";
import { ruleCredentials } from "./traffic-policy.ts";

/** The clusters of one service, and the endpoints of those that ask for them, encoded. */
export interface ServiceResources {
  readonly clusters: readonly XdsResource[];
  readonly endpoints: readonly XdsResource[];
}

interface Remembered {
  readonly rule: MeshDestinationRule | undefined;
  readonly settings: MeshView["settings"];
  readonly credentials: MeshView["credentials"];
  readonly resources: ServiceResources;
}

/** Makes the clusters of one service for the clients of a view. */
type ClusterMaker = (
  service: MeshService,
  rule: MeshDestinationRule | undefined,
  view: MeshView,
  isBound: boolean,
) => readonly OutboundCluster[];

/**
 * The resources of services, made once for all clients that get the same: whatever namespace they
 * are in, what counts is the service, the rule they follow, and where they are.
 */
export class ServiceResourceCache {
  readonly #known = new WeakMap<MeshService, Map<string, Remembered>>();
  readonly #clustersOf: ClusterMaker;

  constructor(clustersOf: ClusterMaker) {
    this.#clustersOf = clustersOf;
  }

  /** `place`: of `placeOf`. */
  resourcesOf(
    service: MeshService,
    rule: MeshDestinationRule | undefined,
    view: MeshView,
    place: string,
    isBound: boolean,
    encoder: ResourceEncoder,
  ): ServiceResources {
    const needsCredentials = rule !== undefined && ruleCredentials(rule).length > 0;
    // Credentials are those of the client's own namespace.
    const key = needsCredentials ? `${place} ${view.client.namespace}` : place;
    let byPlace = this.#known.get(service);
    if (byPlace === undefined) {
      byPlace = new Map();
      this.#known.set(service, byPlace);
    }
    const before = byPlace.get(key);
    if (
      before?.rule === rule &&
      before?.settings === view.settings &&
      before.credentials === view.credentials
    ) {
      return before.resources;
    }
    const clusters: XdsResource[] = [];
    const endpoints: XdsResource[] = [];
    for (const { name, cluster, assignment } of this.#clustersOf(service, rule, view, isBound)) {
      clusters.push(encoder.resource("envoy.config.cluster.v3.Cluster", name, cluster));
      if (assignment === undefined) continue;
      endpoints.push(
        encoder.resource("envoy.config.endpoint.v3.ClusterLoadAssignment", name, assignment),
      );
    }
    const resources = { clusters, endpoints };
    const { settings, credentials } = view;
    byPlace.set(key, { rule, settings, credentials, resources });
    return resources;
  }
}

/** What clients must have in common to get the same of a service; `labels`: those failover goes by. */
export function placeOf(view: MeshView, labels: readonly string[], isBound: boolean): string {
  const { role, locality, labels: own, isEnvoy } = view.client;
  return JSON.stringify([
    isBound,
    isEnvoy === true,
    role,
    localityText(locality),
    ...labels.map((key) => own[key] ?? null),
  ]);
}
