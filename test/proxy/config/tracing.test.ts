import assert from "node:assert/strict";
import { test } from "node:test";
import { compileListener } from "../../../src/proxy/core/compile/listener.ts";
import { compileRouteTable } from "../../../src/proxy/core/compile/route.ts";
import { compileResource } from "../../../src/proxy/core/compile/scope.ts";
import { manager, message } from "../ads/resources.ts";

const TYPE = "type.googleapis.com/";
const context = {
  readFile: () => new Uint8Array(),
  environment: (name: string) => (name === "HOME" ? "/home" : undefined),
  timeOriginMs: 0,
};
const address = { socket_address: { address: "127.0.0.1", port_value: 8080 } };
const rds = { rds: { route_config_name: "r", config_source: { ads: {} } } };

const compile = (hcm: object, more: object = {}) =>
  compileResource("Listener l", (scope) =>
    compileListener(
      message("envoy.config.listener.v3.Listener", {
        name: "l",
        address,
        filter_chains: [{ filters: [{ name: "http", typed_config: manager({ ...rds, ...hcm }) }] }],
        ...more,
      }),
      context,
      scope,
    ),
  );

const zipkin = (more: object = {}) => ({
  name: "envoy.tracers.zipkin",
  typed_config: {
    "@type": `${TYPE}envoy.config.trace.v3.ZipkinConfig`,
    collector_cluster: "c",
    collector_endpoint: "/spans",
    collector_endpoint_version: "HTTP_JSON",
    ...more,
  },
});
const otel = (more: object = {}) => ({
  name: "envoy.tracers.opentelemetry",
  typed_config: {
    "@type": `${TYPE}envoy.config.trace.v3.OpenTelemetryConfig`,
    grpc_service: { envoy_grpc: { cluster_name: "c" } },
    ...more,
  },
});
const http = (uri: object) => ({ collector_service: { http_uri: uri } });
const tags = (...custom_tags: object[]) => ({ provider: zipkin(), custom_tags });
const WHERE = "filter_chains\\[0\\]\\.filters\\[0\\]\\.typed_config\\.tracing";

const refused: readonly (readonly [name: string, tracing: object, message: string])[] = [
  ["no provider", {}, "\\.provider: is required"],
  [
    "another tracer",
    { provider: { name: "x", typed_config: { "@type": `${TYPE}envoy.config.core.v3.Locality` } } },
    "\\.provider\\.typed_config: tracer x .* is not supported",
  ],
  [
    "no cluster",
    { provider: zipkin({ collector_cluster: "" }) },
    "\\.collector_cluster: must not be empty",
  ],
  [
    "no endpoint",
    { provider: zipkin({ collector_endpoint: "" }) },
    "\\.collector_endpoint: must not be empty",
  ],
  ["Zipkin's API v1", { provider: zipkin({ collector_endpoint_version: 0 }) }, "must be HTTP_JSON"],
  [
    "protobuf for Zipkin",
    { provider: zipkin({ collector_endpoint_version: "HTTP_PROTO" }) },
    "must be HTTP_JSON",
  ],
  [
    "times in trace ids",
    { provider: zipkin({ timestamp_trace_ids: true }) },
    "timestamp_trace_ids: is not supported",
  ],
  [
    "a service without cluster",
    { provider: zipkin(http({ uri: "/s", timeout: "1s" })) },
    "http_uri\\.cluster: must not be empty",
  ],
  [
    "a service without timeout",
    { provider: zipkin(http({ uri: "/s", cluster: "c" })) },
    "http_uri\\.timeout: is required",
  ],
  [
    "a bad header for the collector",
    {
      provider: zipkin({
        collector_service: {
          http_uri: { uri: "/s", cluster: "c", timeout: "1s" },
          request_headers_to_add: [{ header: { key: "a", value: "1\r\nb: 2" } }],
        },
      }),
    },
    "request_headers_to_add\\[0\\]\\.header\\.value: must not contain line breaks",
  ],
  [
    "two exporters",
    { provider: otel({ http_service: { http_uri: { uri: "/", cluster: "c", timeout: "1s" } } }) },
    "only one of",
  ],
  [
    "a Google gRPC service",
    { provider: otel({ grpc_service: {} }) },
    "envoy_grpc\\.cluster_name: must not be empty",
  ],
  [
    "detectors",
    { provider: otel({ resource_detectors: [{ name: "x" }] }) },
    "resource_detectors: is not supported",
  ],
  ["a sampler", { provider: otel({ sampler: { name: "x" } }) }, "sampler: is not supported"],
  ["an operation", { provider: zipkin(), operation: "%NOTHING%" }, "operation: .*NOTHING"],
  [
    "a tag without name",
    tags({ literal: { value: "x" } }),
    "custom_tags\\[0\\]\\.tag: must not be empty",
  ],
  ["a tag without value", tags({ tag: "x" }), "custom_tags\\[0\\]: must set one of"],
  ["an empty literal", tags({ tag: "x", literal: {} }), "literal\\.value: must not be empty"],
  [
    "a tag of the cluster",
    tags({
      tag: "x",
      metadata: { kind: { cluster: {} }, metadata_key: { key: "a", path: [{ key: "b" }] } },
    }),
    "kind\\.cluster: is not supported",
  ],
  [
    "metadata without path",
    tags({ tag: "x", metadata: { kind: { route: {} }, metadata_key: { key: "a" } } }),
    "metadata_key\\.path: must not be empty",
  ],
];

for (const [name, tracing, expected] of refused) {
  test(`refused with its path: ${name}`, () => {
    assert.throws(() => compile({ tracing }), new RegExp(`${WHERE}.*${expected}`));
  });
}

test("refused with its path: request ids of another kind", () => {
  const typed_config = { "@type": `${TYPE}envoy.config.core.v3.Locality` };
  assert.throws(
    () => compile({ request_id_extension: { typed_config } }),
    /request_id_extension\.typed_config: request id .* is not supported/,
  );
});

test("the defaults are Envoy's", () => {
  const config = compile({ tracing: { provider: zipkin() } }).build(
    () => undefined,
    () => undefined,
  );
  const network = config.chains[0]?.network;
  assert.ok(network?.kind === "http" && network.tracing?.tracer.kind === "zipkin");
  const all = { numerator: 10_000, denominator: 10_000 };
  assert.deepEqual(network.tracing.sampling, { client: all, random: all, overall: all });
  assert.equal(network.tracing.maxPathTagLength, 256);
  assert.equal(network.tracing.isServer, true);
  assert.equal(network.tracing.spawnsUpstreamSpan, false);
  assert.equal(network.tracing.tracer.sharesContext, true);
  assert.deepEqual(network.requestId, { packsTraceReason: true, decidesSampling: true });
});

test("equal tracers are one, and others are not", () => {
  const key = (provider: object): string => {
    const { network } =
      compile({ tracing: { provider } }).build(
        () => undefined,
        () => undefined,
      ).chains[0] ?? {};
    return (network?.kind === "http" && network.tracing?.tracer.key) || "";
  };
  assert.equal(key(zipkin()), key(zipkin()));
  assert.notEqual(key(zipkin()), key(zipkin({ trace_id_128bit: true })));
  assert.notEqual(key(zipkin()), key(otel()));
});

test("a route's tracing and decorator", () => {
  const table = (route: object) =>
    compileResource("RouteConfiguration r", (scope) =>
      compileRouteTable(
        message("envoy.config.route.v3.RouteConfiguration", {
          name: "r",
          virtual_hosts: [
            {
              name: "v",
              domains: ["*"],
              routes: [{ match: { prefix: "/" }, route: { cluster: "c" }, ...route }],
            },
          ],
        }),
        context,
        scope,
      ),
    );
  const all = { numerator: 100, denominator: 100 };
  const random_sampling = { numerator: 5, denominator: "MILLION" };
  const [route] =
    table({ tracing: { random_sampling }, decorator: { operation: "o" } }).virtualHost("a")
      ?.routes ?? [];
  assert.deepEqual(route?.tracing?.sampling, {
    client: all,
    random: { numerator: 5, denominator: 1_000_000 },
    overall: all,
  });
  assert.deepEqual(route?.decorator, { operation: "o", propagates: true });
  const where = /virtual_hosts\[0\]\.routes\[0\]/;
  assert.throws(
    () => table({ decorator: {} }),
    new RegExp(`${where.source}\\.decorator\\.operation`),
  );
  assert.throws(
    () => table({ tracing: { custom_tags: [{ tag: "x" }] } }),
    new RegExp(`${where.source}\\.tracing\\.custom_tags\\[0\\]`),
  );
});
