import type { MessageTypes } from "../../../xds/index.ts";

type RouteConfiguration = MessageTypes["envoy.config.route.v3.RouteConfiguration"];

/** Every cluster that the routes name, weighted and mirror clusters included. */
export function namedClusters(config: RouteConfiguration): ReadonlySet<string> {
  const names = new Set<string>();
  for (const host of config.virtual_hosts ?? []) {
    for (const { route } of host.routes ?? []) {
      if (route?.cluster) names.add(route.cluster);
      for (const { name } of route?.weighted_clusters?.clusters ?? []) if (name) names.add(name);
      for (const { cluster } of route?.request_mirror_policies ?? []) {
        if (cluster) names.add(cluster);
      }
    }
  }
  return names;
}
