import {
  decode,
  type envoy_config_listener_v3_FilterChain,
  type envoy_config_route_v3_RouteAction,
  type envoy_config_route_v3_RouteConfiguration,
  LISTENER_TYPE,
  ROUTE_TYPE,
  unpackAny,
} from "../../xds/index.ts";
import type { XdsResource } from "./xds-resource.ts";

/** What a listener or a route configuration needs the client to have. */
export interface References {
  readonly clusters: ReadonlySet<string>;
  /** Route configurations asked for by RDS. */
  readonly routes: ReadonlySet<string>;
}

const NONE: References = { clusters: new Set(), routes: new Set() };
const HTTP = "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager";
const TCP = "envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy";
/** Resources are shared between proxies and never change, so each is decoded once. */
const known = new WeakMap<XdsResource, References>();

/** The clusters and route configurations that a resource names. */
export function referencesOf(resource: XdsResource): References {
  const seen = known.get(resource);
  if (seen !== undefined) return seen;
  const references = read(resource);
  known.set(resource, references);
  return references;
}

function read(resource: XdsResource): References {
  const clusters = new Set<string>();
  const routes = new Set<string>();
  if (resource.typeUrl === ROUTE_TYPE) {
    addRoutes(decode("envoy.config.route.v3.RouteConfiguration", resource.body), clusters);
  } else if (resource.typeUrl === LISTENER_TYPE) {
    const listener = decode("envoy.config.listener.v3.Listener", resource.body);
    const last = listener.default_filter_chain;
    for (const chain of [...(listener.filter_chains ?? []), ...(last ? [last] : [])]) {
      addChain(chain, clusters, routes);
    }
  } else return NONE;
  return { clusters, routes };
}

function addChain(
  chain: envoy_config_listener_v3_FilterChain,
  clusters: Set<string>,
  routes: Set<string>,
): void {
  for (const { typed_config } of chain.filters ?? []) {
    const http = unpackAny(HTTP, typed_config);
    if (http?.rds?.route_config_name) routes.add(http.rds.route_config_name);
    if (http?.route_config) addRoutes(http.route_config, clusters);
    const tcp = unpackAny(TCP, typed_config);
    if (tcp?.cluster) clusters.add(tcp.cluster);
    for (const { name } of tcp?.weighted_clusters?.clusters ?? []) if (name) clusters.add(name);
  }
}

function addRoutes(config: envoy_config_route_v3_RouteConfiguration, clusters: Set<string>): void {
  for (const host of config.virtual_hosts ?? []) {
    for (const { route } of host.routes ?? []) if (route) addAction(route, clusters);
  }
}

function addAction(action: envoy_config_route_v3_RouteAction, clusters: Set<string>): void {
  if (action.cluster) clusters.add(action.cluster);
  for (const { name } of action.weighted_clusters?.clusters ?? []) if (name) clusters.add(name);
  for (const { cluster } of action.request_mirror_policies ?? [])
    if (cluster) clusters.add(cluster);
}
