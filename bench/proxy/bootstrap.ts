import type { Ports } from "./contenders.ts";

const HCM =
  "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager";

/** One bootstrap for Serin and for Envoy: a 90/10 route to two clusters, stats on, access log off. */
export function envoyBootstrap(ports: Ports): object {
  const [primary, canary] = ports.upstreams;
  return {
    node: { id: "bench", cluster: "bench" },
    admin: { address: address(ports.admin) },
    static_resources: {
      listeners: [
        {
          name: "main",
          address: address(ports.proxy),
          filter_chains: [{ filters: [{ name: "hcm", typed_config: httpConnectionManager() }] }],
        },
      ],
      clusters: [cluster("primary", primary), cluster("canary", canary)],
    },
  };
}

function httpConnectionManager(): object {
  return {
    "@type": HCM,
    stat_prefix: "main",
    route_config: {
      name: "main",
      virtual_hosts: [
        {
          name: "all",
          domains: ["*"],
          routes: [
            {
              match: { prefix: "/" },
              route: {
                weighted_clusters: {
                  clusters: [
                    { name: "primary", weight: 90 },
                    { name: "canary", weight: 10 },
                  ],
                },
                timeout: "0s",
              },
            },
          ],
        },
      ],
    },
    http_filters: [
      {
        name: "envoy.filters.http.router",
        typed_config: {
          "@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router",
        },
      },
    ],
  };
}

function cluster(name: string, port: number): object {
  const limit = 2 ** 32 - 1;
  return {
    name,
    type: "STATIC",
    connect_timeout: "5s",
    lb_policy: "LEAST_REQUEST",
    circuit_breakers: {
      thresholds: [
        {
          max_connections: limit,
          max_pending_requests: limit,
          max_requests: limit,
          max_retries: 3,
        },
      ],
    },
    load_assignment: {
      cluster_name: name,
      endpoints: [{ lb_endpoints: [{ endpoint: { address: address(port) } }] }],
    },
  };
}

function address(port: number): object {
  return { socket_address: { address: "127.0.0.1", port_value: port } };
}
