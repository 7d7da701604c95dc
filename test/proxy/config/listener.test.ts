import assert from "node:assert/strict";
import { test } from "node:test";
import { compileCluster } from "../../../src/proxy/core/compile/cluster.ts";
import { NO_ENDPOINTS } from "../../../src/proxy/core/compile/endpoint.ts";
import { compileListener } from "../../../src/proxy/core/compile/listener.ts";
import { compileResource } from "../../../src/proxy/core/compile/scope.ts";
import { manager, message } from "../ads/resources.ts";

const context = {
  readFile: () => new Uint8Array(),
  environment: () => undefined,
  timeOriginMs: 0,
};
const address = { socket_address: { address: "127.0.0.1", port_value: 8080 } };
const rds = { rds: { route_config_name: "r", config_source: { ads: {} } } };
const chain = (more: object = {}, hcm: object = rds) => ({
  filters: [{ name: "http", typed_config: manager(hcm) }],
  ...more,
});

const listener = (json: object) =>
  compileResource("Listener l", (scope) =>
    compileListener(
      message("envoy.config.listener.v3.Listener", { name: "l", address, ...json }),
      context,
      scope,
    ),
  );
const cluster = (json: object) =>
  compileResource("Cluster c", (scope) =>
    compileCluster(
      message("envoy.config.cluster.v3.Cluster", { name: "c", ...json }),
      context,
      scope,
    ),
  );

test("the defaults of a connection manager are Envoy's", () => {
  const config = listener({ filter_chains: [chain()] }).build(
    () => undefined,
    () => undefined,
  );
  const network = config.chains[0]?.network;
  assert.ok(network?.kind === "http");
  assert.equal(network.maxRequestHeadersBytes, 60 * 1024);
  assert.equal(network.streamIdleTimeoutMs, 300_000);
  assert.equal(network.generateRequestId, true);
  assert.equal(network.serverName, "envoy");
  assert.equal(network.forwardClientCert, "sanitize");
});

const limited = (limit: object) => ({
  filter_chains: [
    {
      filters: [
        {
          name: "limit",
          typed_config: {
            "@type":
              "type.googleapis.com/envoy.extensions.filters.network.local_ratelimit.v3.LocalRateLimit",
            ...limit,
          },
        },
        { name: "http", typed_config: manager(rds) },
      ],
    },
  ],
});

const refused: readonly [name: string, json: object, message: RegExp][] = [
  ["no filter chains", {}, /filter_chains: no filter chains/],
  [
    "a host name to listen on",
    {
      address: { socket_address: { address: "localhost", port_value: 1 } },
      filter_chains: [chain()],
    },
    /address\.socket_address\.address: must be an IP address/,
  ],
  [
    "HTTP/3",
    { filter_chains: [chain({}, { ...rds, codec_type: "HTTP3" })] },
    /filters\[0\]\.typed_config\.codec_type/,
  ],
  [
    "a manager without router",
    { filter_chains: [chain({}, { ...rds, http_filters: [] })] },
    /http_filters: must end with the router/,
  ],
  [
    "a limit on connections without a bucket",
    limited({ stat_prefix: "x" }),
    /filters\[0\]\.typed_config\.token_bucket: is required/,
  ],
  [
    "a limit on connections that others share",
    limited({ token_bucket: { max_tokens: 1, fill_interval: "1s" }, share_key: "k" }),
    /filters\[0\]\.typed_config\.stat_prefix: must not be empty.*share_key: is not supported/,
  ],
  [
    "a limit on open connections of none",
    {
      filter_chains: [
        {
          filters: [
            {
              name: "limit",
              typed_config: {
                "@type":
                  "type.googleapis.com/envoy.extensions.filters.network.connection_limit.v3.ConnectionLimit",
                max_connections: "0",
              },
            },
            { name: "http", typed_config: manager(rds) },
          ],
        },
      ],
    },
    /filters\[0\]\.typed_config\.stat_prefix: must not be empty.*max_connections: must be at least 1/,
  ],
  [
    "a host whose port is stripped in two ways",
    {
      filter_chains: [
        chain({}, { ...rds, strip_any_host_port: true, strip_matching_host_port: true }),
      ],
    },
    /typed_config\.strip_matching_host_port: only one of/,
  ],
  [
    "two chains with one match",
    { filter_chains: [chain(), chain()] },
    /filter_chains\[1\]: has the same matching rules defined as filter_chains\[0\]/,
  ],
  [
    "a chain by a range that is none",
    {
      filter_chains: [
        chain({
          filter_chain_match: { prefix_ranges: [{ address_prefix: "10.0.0.0", prefix_len: 33 }] },
        }),
      ],
    },
    /filter_chain_match\.prefix_ranges\[0\]: must be a range/,
  ],
  [
    "a chain by direct source",
    {
      filter_chains: [
        chain({ filter_chain_match: { direct_source_prefix_ranges: [{ address_prefix: "::" }] } }),
      ],
    },
    /filter_chain_match\.direct_source_prefix_ranges/,
  ],
  ["no route source", { filter_chains: [chain({}, {})] }, /must set one of rds, route_config/],
];
for (const [name, json, expected] of refused) {
  test(`refuses ${name}`, () => {
    assert.throws(() => listener(json), { code: "SERIN_INVALID_XDS", message: expected });
  });
}

const upstreamTls = (name: string) => ({
  name: "tls",
  typed_config: {
    "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext",
    sni: name,
  },
});

test("the first fitting transport_socket_match decides, and no fit means the cluster's own socket", () => {
  const config = cluster({
    transport_socket_matches: [
      { name: "tls", match: { tlsMode: "istio" }, transport_socket: upstreamTls("mesh") },
    ],
  }).build(NO_ENDPOINTS, () => undefined);
  const endpoint = (match: Record<string, string>) => ({ transportSocketMatch: match }) as never;
  assert.equal(config.tlsFor(endpoint({ tlsMode: "istio" }))?.sni, "mesh");
  assert.equal(config.tlsFor(endpoint({ tlsMode: "disabled" })), undefined);
  assert.equal(config.tlsFor(endpoint({})), undefined);
});

test("the defaults of a cluster are Envoy's, its service is Istio's metadata", () => {
  const config = cluster({
    metadata: {
      filter_metadata: {
        istio: { services: [{ host: "reviews.x.svc", name: "reviews", namespace: "x" }] },
      },
    },
  }).build(NO_ENDPOINTS, () => undefined);
  assert.deepEqual(config.circuitBreaker, {
    maxConnections: 1024,
    maxPendingRequests: 1024,
    maxRequests: 1024,
    maxRetries: 3,
    retryBudget: undefined,
    tracksRemaining: false,
  });
  assert.equal(config.connectTimeoutMs, 5000);
  assert.equal(config.healthyPanicThresholdPercent, 50);
  assert.deepEqual(config.service, { host: "reviews.x.svc", name: "reviews", namespace: "x" });
});

test("endpoints carry weight, health, match and Istio's workload", () => {
  const spec = cluster({
    load_assignment: {
      cluster_name: "c",
      endpoints: [
        {
          priority: 1,
          lb_endpoints: [
            {
              endpoint: { address },
              health_status: "DRAINING",
              load_balancing_weight: 3,
              metadata: {
                filter_metadata: {
                  "envoy.transport_socket_match": { tlsMode: "istio" },
                  istio: { workload: "reviews-v2;default;reviews;v2;Kubernetes" },
                },
              },
            },
            { endpoint: { address } },
          ],
        },
      ],
    },
  });
  assert.equal(spec.localEndpoints.endpoints.length, 1, "the second has the same address");
  const [endpoint] = spec.localEndpoints.endpoints;
  assert.equal(endpoint?.key, "127.0.0.1:8080");
  assert.deepEqual([endpoint?.weight, endpoint?.priority, endpoint?.edsHealth], [3, 1, "DRAINING"]);
  assert.deepEqual(endpoint?.transportSocketMatch, { tlsMode: "istio" });
  assert.equal(endpoint?.peer?.workload, "reviews-v2");
  assert.equal(endpoint?.peer?.canonicalRevision, "v2");
});

const badClusters: readonly [name: string, json: object, message: RegExp][] = [
  [
    "original destination without its policy",
    { type: "ORIGINAL_DST" },
    /lb_policy: CLUSTER_PROVIDED/,
  ],
  ["a policy of its own", { lb_policy: "CLUSTER_PROVIDED" }, /lb_policy: CLUSTER_PROVIDED/],
  [
    "another hash function",
    { lb_policy: "RING_HASH", ring_hash_lb_config: { hash_function: "MURMUR_HASH_2" } },
    /ring_hash_lb_config\.hash_function: must be XX_HASH/,
  ],
  [
    "a table size that is no prime",
    { lb_policy: "MAGLEV", maglev_lb_config: { table_size: 100 } },
    /maglev_lb_config\.table_size: must be a prime number \(found 100\)/,
  ],
  ["EDS without a source", { type: "EDS" }, /eds_cluster_config\.eds_config: is required/],
  ["no time to connect", { connect_timeout: "0s" }, /connect_timeout: must be more than 0/],
];
for (const [name, json, expected] of badClusters) {
  test(`refuses a cluster with ${name}`, () => {
    assert.throws(() => cluster(json), { code: "SERIN_INVALID_XDS", message: expected });
  });
}

const inspector = (name: string, more: object = {}) => ({
  name,
  typed_config: {
    "@type": `type.googleapis.com/envoy.extensions.filters.listener.${name}.v3.${name === "tls_inspector" ? "TlsInspector" : "HttpInspector"}`,
  },
  ...more,
});
const range = (start: number, end: number) => ({ destination_port_range: { start, end } });

/** Which of the ports 1..5 nothing looks into. */
function uninspected(tls: object, http?: object): readonly number[] {
  const listener_filters = [
    inspector("tls_inspector", tls),
    ...(http === undefined ? [] : [inspector("http_inspector", http)]),
  ];
  const config = listener({ filter_chains: [chain()], listener_filters }).build(
    () => undefined,
    () => undefined,
  );
  return [1, 2, 3, 4, 5].filter((port) => config.isUninspected?.(port) === true);
}

test("inspectors leave alone the ports that filter_disabled names", () => {
  assert.deepEqual(uninspected({}), []);
  assert.deepEqual(uninspected({ filter_disabled: range(2, 4) }), [2, 3], "the end is outside");
  const or = { or_match: { rules: [range(1, 2), range(5, 6)] } };
  assert.deepEqual(uninspected({ filter_disabled: or }), [1, 5]);
  assert.deepEqual(uninspected({ filter_disabled: { not_match: range(2, 4) } }), [1, 4, 5]);
  assert.deepEqual(uninspected({ filter_disabled: { any_match: true } }), [1, 2, 3, 4, 5]);
  assert.deepEqual(
    uninspected({ filter_disabled: range(1, 4) }, { filter_disabled: range(3, 6) }),
    [3],
    "only where no inspector looks",
  );
  assert.deepEqual(uninspected({ filter_disabled: range(1, 4) }, {}), []);
  assert.throws(
    () => uninspected({ filter_disabled: {} }),
    /listener_filters\[0\]\.filter_disabled/,
  );
});
