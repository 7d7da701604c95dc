import type { ResourceSet, XdsResource } from "../../../../src/mesh/core/xds-resource.ts";
import {
  CLUSTER_TYPE,
  ENDPOINT_TYPE,
  encode,
  LISTENER_TYPE,
  type MessageName,
  type MessageTypes,
  packAny,
  type ResourceTypeUrl,
  ROUTE_TYPE,
  typeUrl,
} from "../../../../src/xds/index.ts";

const cache = new Map<string, XdsResource>();

function resource<T extends MessageName>(
  message: T,
  name: string,
  revision: string,
  value: MessageTypes[T],
): XdsResource {
  const key = `${message} ${name} ${revision}`;
  const known = cache.get(key);
  if (known !== undefined) return known;
  const url = typeUrl(message) as ResourceTypeUrl;
  const made = { typeUrl: url, name, version: revision, body: encode(message, value) };
  cache.set(key, made);
  return made;
}

export const cluster = (name: string, revision = "1"): XdsResource =>
  resource("envoy.config.cluster.v3.Cluster", name, revision, { name });

export const endpoints = (name: string, revision = "1"): XdsResource =>
  resource("envoy.config.endpoint.v3.ClusterLoadAssignment", name, revision, {
    cluster_name: name,
  });

/** A route configuration to these clusters; the revision goes into its version. */
export const routes = (name: string, clusters: readonly string[], revision = "1"): XdsResource =>
  resource("envoy.config.route.v3.RouteConfiguration", name, `${revision} ${clusters.join()}`, {
    name,
    virtual_hosts: [
      {
        name: "all",
        domains: ["*"],
        routes: clusters.map((each) => ({ match: { prefix: "/" }, route: { cluster: each } })),
      },
    ],
  });

/** A listener that asks for routes by RDS, or passes everything to a cluster. */
export const listener = (
  name: string,
  to: { readonly routes: string } | { readonly cluster: string },
  revision = "1",
): XdsResource => {
  const http = "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager";
  const tcp = "envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy";
  const typed_config =
    "routes" in to
      ? packAny(http, { rds: { route_config_name: to.routes } })
      : packAny(tcp, { cluster: to.cluster });
  const chain = { filters: [{ name: "only", typed_config }] };
  const version = `${revision} ${JSON.stringify(to)}`;
  const message = "envoy.config.listener.v3.Listener";
  return resource(message, name, version, { name, filter_chains: [chain] });
};

/** A set of these resources. */
export function setOf(...resources: readonly XdsResource[]): ResourceSet {
  const types = [CLUSTER_TYPE, ENDPOINT_TYPE, LISTENER_TYPE, ROUTE_TYPE] as const;
  return new Map(
    types.map((type) => [
      type,
      new Map(resources.filter((r) => r.typeUrl === type).map((r) => [r.name, r])),
    ]),
  );
}

/** Clusters with endpoints of the same names. */
export function served(...names: readonly string[]): readonly XdsResource[] {
  return names.flatMap((name) => [cluster(name), endpoints(name)]);
}
