import assert from "node:assert/strict";
import { test } from "node:test";
import { decode, encode, fromJson, toJson } from "../../src/xds/index.ts";

const CLUSTER = "envoy.config.cluster.v3.Cluster";

const cluster = {
  name: "reviews",
  type: "EDS",
  eds_cluster_config: { eds_config: { ads: {}, resource_api_version: "V3" } },
  connect_timeout: "0.250s",
  circuit_breakers: { thresholds: [{ max_connections: 7 }] },
  typed_extension_protocol_options: {
    "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
      "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
      explicit_http_config: { http2_protocol_options: {} },
    },
  },
  metadata: {
    filter_metadata: { istio: { services: [{ host: "a", weight: 1.5, ok: true, none: null }] } },
  },
};

function read(json: unknown) {
  const result = fromJson(CLUSTER, json);
  assert.ok(result.ok, JSON.stringify(result));
  return result.value;
}

test("a cluster survives JSON → message → wire → message → JSON", () => {
  const wire = decode(CLUSTER, encode(CLUSTER, read(cluster)));
  assert.deepEqual(toJson(CLUSTER, wire), { ...cluster, connect_timeout: "0.25s" });
});

test("camelCase names and enum numbers are read, snake_case and enum names written", () => {
  const value = read({ name: "a", connectTimeout: "3s", type: 3, edsClusterConfig: {} });
  assert.deepEqual(toJson(CLUSTER, value), {
    name: "a",
    type: "EDS",
    connect_timeout: "3s",
    eds_cluster_config: {},
  });
});

const scalarCases: readonly [string, string, unknown, unknown][] = [
  [
    "64-bit from text",
    "envoy.type.v3.Int64Range",
    { start: "-5", end: 9 },
    { start: "-5", end: "9" },
  ],
  ["bytes", "envoy.config.core.v3.DataSource", { inline_bytes: "AQID" }, { inline_bytes: "AQID" }],
  ["negative duration", "google.protobuf.Duration", "-1.5s", "-1.5s"],
  ["long fraction", "google.protobuf.Duration", "0.000000001s", "0.000000001s"],
  [
    "timestamp",
    "google.protobuf.Timestamp",
    "2024-02-29T12:34:56.5Z",
    "2024-02-29T12:34:56.500000000Z".replace(/0+Z$/, "Z"),
  ],
  ["before the epoch", "google.protobuf.Timestamp", "1969-12-31T23:59:59Z", "1969-12-31T23:59:59Z"],
  ["wrapper of false", "google.protobuf.BoolValue", false, false],
];
for (const [name, type, input, output] of scalarCases) {
  test(`reads and writes ${name}`, () => {
    const result = fromJson(type as "google.protobuf.Duration", input);
    assert.ok(result.ok, JSON.stringify(result));
    assert.deepEqual(toJson(type as "google.protobuf.Duration", result.value), output);
  });
}

test("every bad path is listed at once", () => {
  const result = fromJson(CLUSTER, {
    name: 7,
    typ: "EDS",
    connect_timeout: "5",
    lb_policy: "FASTEST",
    circuit_breakers: { thresholds: [{ max_connections: -1 }, { max_requests: 1.5 }] },
    transport_socket: { typed_config: { "@type": "type.googleapis.com/example.Unknown" } },
  });
  assert.ok(!result.ok);
  assert.deepEqual(
    result.issues.map((i) => i.path),
    [
      "name",
      "typ",
      "connect_timeout",
      "lb_policy",
      "circuit_breakers.thresholds[0].max_connections",
      "circuit_breakers.thresholds[1].max_requests",
      'transport_socket.typed_config["@type"]',
    ],
  );
  assert.match(result.issues[6]?.message ?? "", /example\.Unknown is not supported/);
});

test("two members of one oneof are refused", () => {
  const result = fromJson("envoy.config.route.v3.RouteMatch", { prefix: "/", path: "/x" });
  assert.ok(!result.ok);
  assert.match(result.issues[0]?.message ?? "", /only one of prefix, path/);
});

test("an Any of an unknown type is written with its bytes", () => {
  const json = toJson("envoy.config.core.v3.TransportSocket", {
    name: "x",
    typed_config: { type_url: "type.googleapis.com/example.Unknown", value: Uint8Array.of(1, 2) },
  });
  assert.deepEqual(json, {
    name: "x",
    typed_config: { "@type": "type.googleapis.com/example.Unknown", value: "AQI=" },
  });
});
