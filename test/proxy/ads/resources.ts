import {
  type Any,
  encode,
  fromJson,
  type MessageName,
  type MessageTypes,
  packAny,
} from "../../../src/xds/index.ts";

/** A resource from its JSON form; fails the test when the JSON is not one. */
export function message<T extends MessageName>(name: T, json: unknown): MessageTypes[T] {
  const result = fromJson(name, json);
  if (!result.ok) throw new Error(JSON.stringify(result.issues));
  encode(name, result.value);
  return result.value;
}

const any = <T extends MessageName>(name: T, json: unknown): Any =>
  packAny(name, message(name, json));

export const cluster = (name: string, more: object = {}): Any =>
  any("envoy.config.cluster.v3.Cluster", {
    name,
    type: "EDS",
    eds_cluster_config: { eds_config: { ads: {} } },
    ...more,
  });

export const endpoints = (name: string, ...ports: number[]): Any =>
  any("envoy.config.endpoint.v3.ClusterLoadAssignment", {
    cluster_name: name,
    endpoints: [
      {
        lb_endpoints: ports.map((port) => ({
          endpoint: { address: { socket_address: { address: "127.0.0.1", port_value: port } } },
        })),
      },
    ],
  });

export const routes = (name: string, target: string, domains: string[] = ["*"]): Any =>
  any("envoy.config.route.v3.RouteConfiguration", {
    name,
    virtual_hosts: [
      { name: "all", domains, routes: [{ match: { prefix: "/" }, route: { cluster: target } }] },
    ],
  });

export const manager = (more: object): object => ({
  "@type":
    "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
  stat_prefix: "test",
  http_filters: [
    {
      name: "router",
      typed_config: {
        "@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router",
      },
    },
  ],
  ...more,
});

export const listener = (name: string, routeName: string, more: object = {}): Any =>
  any("envoy.config.listener.v3.Listener", {
    name,
    address: { socket_address: { address: "127.0.0.1", port_value: 0 } },
    filter_chains: [
      {
        filters: [
          {
            name: "http",
            typed_config: manager({
              rds: { route_config_name: routeName, config_source: { ads: {} } },
            }),
          },
        ],
        ...more,
      },
    ],
  });

export const certificateSecret = (name: string, chain: string): Any =>
  any("envoy.extensions.transport_sockets.tls.v3.Secret", {
    name,
    tls_certificate: {
      certificate_chain: { inline_string: `-----BEGIN CERTIFICATE-----\n${chain}\n` },
      private_key: { inline_string: "-----BEGIN PRIVATE KEY-----\nkey\n" },
    },
  });

export { packAny as pack } from "../../../src/xds/index.ts";
