import {
  decode,
  type envoy_config_listener_v3_FilterChain,
  type envoy_config_route_v3_RouteAction,
  type envoy_config_route_v3_RouteConfiguration,
  LISTENER_TYPE,
  ROUTE_TYPE,
  unpackAny,
} from "../../xds/index.ts";
import { JoinedMap } from "./translate/joined-map.ts";
import { INVALID_BACKEND } from "./translate/names.ts";
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

/** Tells what a resource refers to, where that is known without decoding it. */
export function noteReferences(resource: XdsResource, references: References): void {
  known.set(resource, references);
}

type Clusters = ReadonlyMap<string, XdsResource>;

/** By resource and by clusters that many proxies share. */
const missing = new WeakMap<XdsResource, WeakMap<Clusters, readonly string[]>>();

/** The clusters that a resource names and that are not there. Cost: once for clusters that are shared. */
export function missingClusters(resource: XdsResource, clusters: Clusters): readonly string[] {
  if (clusters instanceof JoinedMap) {
    const { first, second } = clusters as JoinedMap<string, XdsResource>;
    return missingClusters(resource, first).filter((name) => !second.has(name));
  }
  const byClusters = missing.get(resource) ?? new WeakMap<Clusters, readonly string[]>();
  missing.set(resource, byClusters);
  const seen = byClusters.get(clusters);
  if (seen !== undefined) return seen;
  const found = [...referencesOf(resource).clusters].filter((name) => !clusters.has(name));
  byClusters.set(clusters, found);
  return found;
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
    const api = unpackAny(HTTP, listener.api_listener?.api_listener);
    if (api?.rds?.route_config_name) routes.add(api.rds.route_config_name);
  } else return NONE;
  clusters.delete(INVALID_BACKEND);
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
