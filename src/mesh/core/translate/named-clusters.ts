import { type MessageTypes, unpackAny } from "../../../xds/index.ts";
import { INVALID_BACKEND } from "./names.ts";

type Listener = MessageTypes["envoy.config.listener.v3.Listener"];
type RouteConfiguration = MessageTypes["envoy.config.route.v3.RouteConfiguration"];

/** Every cluster that the routes name and need, weighted and mirror clusters included. */
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
  names.delete(INVALID_BACKEND);
  return names;
}

/** Every cluster that listeners pass connections on to. */
export function listenerClusters(listeners: readonly Listener[]): ReadonlySet<string> {
  const names = new Set<string>();
  for (const { filter_chains: chains, default_filter_chain: last } of listeners) {
    const all = [...(chains ?? []), ...(last ? [last] : [])];
    for (const { typed_config } of all.flatMap(({ filters }) => filters ?? [])) {
      const tcp = unpackAny(TCP_PROXY, typed_config);
      if (tcp?.cluster) names.add(tcp.cluster);
      for (const { name } of tcp?.weighted_clusters?.clusters ?? []) if (name) names.add(name);
    }
  }
  return names;
}

const TCP_PROXY = "envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy";
