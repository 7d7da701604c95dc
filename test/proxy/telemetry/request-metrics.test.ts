import assert from "node:assert/strict";
import { test } from "node:test";
import type { AccessLogRecord } from "../../../src/proxy/config/runtime-config.ts";
import { compileCluster } from "../../../src/proxy/core/compile/cluster.ts";
import { compileResource } from "../../../src/proxy/core/compile/scope.ts";
import { ENVOY_BUCKETS, Histogram } from "../../../src/proxy/core/histogram.ts";
import {
  PEER_METADATA_HEADER,
  parsePeerMetadata,
  peerMetadataHeaders,
  peerOfNode,
} from "../../../src/proxy/core/peer-metadata.ts";
import { prometheusName } from "../../../src/proxy/core/stat-name.ts";
import { createTelemetry } from "../../../src/proxy/telemetry.ts";
import { createLogger } from "../../../src/runtime/index.ts";
import { structFromJson } from "../../../src/xds/index.ts";
import { ManualClock } from "../../support/manual-clock.ts";
import { message } from "../ads/resources.ts";
import { record } from "./record.ts";

const node = {
  id: "sidecar~127.16.0.7~productpage-v1-1.default~default.svc.cluster.local",
  metadata: structFromJson({
    NAME: "productpage-v1-1",
    NAMESPACE: "default",
    WORKLOAD_NAME: "productpage-v1",
    SERVICE_ACCOUNT: "bookinfo-productpage",
    CLUSTER_ID: "Kubernetes",
    LABELS: { app: "productpage", version: "v1" },
  }),
};

const context = { readFile: () => new Uint8Array(), environment: () => undefined, timeOriginMs: 0 };

const reviews = (() => {
  const spec = compileResource("Cluster", (scope) =>
    compileCluster(
      message("envoy.config.cluster.v3.Cluster", {
        name: "outbound|9080|v2|reviews.default.svc.cluster.local",
        metadata: {
          filter_metadata: {
            istio: {
              services: [
                {
                  host: "reviews.default.svc.cluster.local",
                  name: "reviews",
                  namespace: "default",
                },
              ],
            },
          },
        },
        load_assignment: {
          cluster_name: "x",
          endpoints: [
            {
              lb_endpoints: [
                {
                  endpoint: {
                    address: { socket_address: { address: "127.16.0.9", port_value: 9080 } },
                  },
                  metadata: {
                    filter_metadata: {
                      istio: { workload: "reviews-v2;default;reviews;v2;Kubernetes" },
                    },
                  },
                },
              ],
            },
          ],
        },
      }),
      context,
      scope,
    ),
  );
  return spec.build(spec.localEndpoints, () => undefined);
})();

const telemetry = () =>
  createTelemetry({
    self: peerOfNode(node),
    clock: new ManualClock(),
    logger: createLogger("test", "silent"),
  });

/** Sample lines of the text format by name and labels; fails on a malformed line. */
function parse(text: string): Map<string, number> {
  const out = new Map<string, number>();
  for (const line of text.split("\n")) {
    if (line === "" || line.startsWith("#")) continue;
    const match = /^([a-zA-Z_:][\w:]*\{(?:[a-zA-Z_]\w*="(?:[^"\\]|\\.)*",?)*\}) (\S+)$/.exec(line);
    assert.ok(match, `malformed: ${line}`);
    assert.ok(!out.has(match[1] ?? ""), `twice: ${line}`);
    out.set(match[1] ?? "", Number(match[2]));
  }
  return out;
}

test("messages of gRPC calls are counted, however the calls end", () => {
  const t = telemetry();
  const call = {
    upstreamCluster: reviews,
    upstreamHost: reviews.endpoints[0],
    isGrpc: true,
    grpcMessages: { request: { count: 2 }, response: { count: 5 } },
  };
  t.requestFinished(record(call), []);
  t.requestFinished(record({ ...call, responseCode: 503, responseFlags: "UF" }), []);
  t.requestFinished(record({ ...call, isGrpc: false, grpcMessages: undefined }), []);
  const of = (name: string) => t.series().filter((series) => series.name === name);
  const [sent, received] = [
    of("istio_request_messages_total"),
    of("istio_response_messages_total"),
  ];
  assert.deepEqual(
    [sent, received].map((list) => list.map((series) => series.kind === "counter" && series.value)),
    [[4], [10]],
  );
  assert.equal(sent[0]?.labels["request_protocol"], "grpc");
  assert.equal(sent[0]?.labels["destination_workload"], "reviews-v2");
  for (const label of ["response_code", "response_flags", "grpc_response_status"]) {
    assert.ok(!(label in (sent[0]?.labels ?? {})), label);
  }
});

test("an outbound request counts at the source with the labels of both workloads", () => {
  const t = telemetry();
  const upstream = { upstreamCluster: reviews, upstreamHost: reviews.endpoints[0] };
  t.requestFinished(record(upstream), []);
  t.requestFinished(record({ ...upstream, durationMs: 600 }), []);
  t.requestFinished(record({ ...upstream, responseCode: 503, responseFlags: "UF,URX" }), []);
  const totals = t.series().filter((s) => s.name === "istio_requests_total");
  assert.deepEqual(
    totals.map((s) => [
      s.labels["response_code"],
      s.labels["response_flags"],
      s.kind === "counter" && s.value,
    ]),
    [
      ["200", "-", 2],
      ["503", "UF,URX", 1],
    ],
  );
  assert.deepEqual(totals[0]?.labels, {
    reporter: "source",
    source_workload: "productpage-v1",
    source_canonical_service: "productpage",
    source_canonical_revision: "v1",
    source_workload_namespace: "default",
    source_principal: "unknown",
    source_app: "productpage",
    source_version: "v1",
    source_cluster: "Kubernetes",
    destination_workload: "reviews-v2",
    destination_workload_namespace: "default",
    destination_principal: "unknown",
    destination_app: "reviews",
    destination_version: "v2",
    destination_service: "reviews.default.svc.cluster.local",
    destination_canonical_service: "reviews",
    destination_canonical_revision: "v2",
    destination_service_name: "reviews",
    destination_service_namespace: "default",
    destination_cluster: "Kubernetes",
    request_protocol: "http",
    response_code: "200",
    grpc_response_status: "",
    response_flags: "-",
    connection_security_policy: "unknown",
  });
  const samples = parse(t.prometheus());
  const bucket = (le: string): number | undefined =>
    [...samples].find(
      ([key]) =>
        key.startsWith("istio_request_duration_milliseconds_bucket") &&
        key.includes('response_code="200"') &&
        key.includes(`le="${le}"`),
    )?.[1];
  assert.deepEqual(
    [bucket("5"), bucket("10"), bucket("500"), bucket("1000"), bucket("+Inf")],
    [0, 1, 1, 2, 2],
  );
});

test("an inbound request tells its caller from the peer header and its principal from TLS", () => {
  const t = telemetry();
  const [[, header = ""] = []] = peerMetadataHeaders({
    id: "x",
    metadata: structFromJson({
      WORKLOAD_NAME: "gateway",
      NAMESPACE: "edge",
      LABELS: { app: "gw", "service.istio.io/canonical-name": "gw-svc" },
      SECRET: "not sent",
    }),
  });
  assert.ok(!Buffer.from(header, "base64").toString().includes("not sent"));
  const inbound = {
    direction: "inbound",
    upstreamCluster: reviews,
    isMutualTls: true,
    downstreamPeerPrincipal: "spiffe://cluster.local/ns/edge/sa/gw",
    requestHeader: (name: string) => (name === PEER_METADATA_HEADER ? header : undefined),
  } as const;
  t.requestFinished(record(inbound), []);
  t.requestFinished(
    record({ ...inbound, isMutualTls: false, downstreamPeerPrincipal: undefined }),
    [],
  );
  t.requestFinished(record({ ...inbound, requestHeader: () => "!!garbage!!" }), []);
  const labels = t.series().flatMap((s) => (s.name === "istio_requests_total" ? [s.labels] : []));
  assert.deepEqual(
    labels.map((l) => [
      l["reporter"],
      l["source_workload"],
      l["source_canonical_service"],
      l["source_principal"],
      l["connection_security_policy"],
    ]),
    [
      ["destination", "gateway", "gw-svc", "spiffe://cluster.local/ns/edge/sa/gw", "mutual_tls"],
      ["destination", "gateway", "gw-svc", "unknown", "none"],
      ["destination", "unknown", "unknown", "spiffe://cluster.local/ns/edge/sa/gw", "mutual_tls"],
    ],
  );
  assert.equal(labels[0]?.["destination_workload"], "productpage-v1");
  assert.equal(
    labels[0]?.["destination_principal"],
    "spiffe://cluster.local/ns/default/sa/bookinfo-productpage",
  );
});

test("strangers cannot grow the metrics without bound", () => {
  const t = telemetry();
  for (let i = 0; i < 6000; i++) {
    t.requestFinished(
      record({ direction: "inbound", isMutualTls: true, downstreamPeerPrincipal: `spiffe://${i}` }),
      [],
    );
  }
  const totals = t.series().filter((s) => s.name === "istio_requests_total");
  assert.equal(totals.length, 5001);
  const sum = totals.reduce((all, s) => all + (s.kind === "counter" ? s.value : 0), 0);
  assert.equal(sum, 6000, "none is lost");
  assert.equal(totals.at(-1)?.labels["source_principal"], "overflow");
});

const DISTINCT = 100_000;
const peerHeader = (i: number): string =>
  peerMetadataHeaders({
    id: `w-${i}`,
    metadata: structFromJson({ NAMESPACE: `n-${i}`, WORKLOAD_NAME: `w-${i}` }),
  }).find(([name]) => name === PEER_METADATA_HEADER)?.[1] ?? "";

/** What hostile clients and applications choose: another value each time. */
const HOSTILE: readonly (readonly [name: string, more: (i: number) => Partial<AccessLogRecord>])[] =
  [
    ["hosts and paths", (i) => ({ authority: `h${i}.test`, path: `/${i}?q=${i}` })],
    ["methods and protocols", (i) => ({ method: `M${i}`, protocol: `HTTP/${i}` })],
    [
      "peers of their own invention",
      (i) => ({
        direction: "inbound",
        requestHeader: (name: string) => (name === PEER_METADATA_HEADER ? peerHeader(i) : `v${i}`),
      }),
    ],
    [
      "principals",
      (i) => ({
        direction: "inbound",
        isMutualTls: true,
        downstreamPeerPrincipal: `spiffe://${i}`,
      }),
    ],
    [
      "statuses of applications",
      (i) => ({
        isGrpc: true,
        responseCode: 200 + (i % 800),
        responseHeader: (name: string) => (name === "grpc-status" ? String(i) : undefined),
      }),
    ],
    [
      "server names and addresses",
      (i) => ({ requestedServerName: `s${i}`, downstreamRemoteAddress: `1.2.3.4:${i}` }),
    ],
  ];

for (const [name, more] of HOSTILE) {
  test(`100,000 distinct values make a bounded number of series: ${name}`, () => {
    const t = telemetry();
    for (let i = 0; i < DISTINCT; i++) t.requestFinished(record(more(i)), []);
    const totals = t.series().filter((s) => s.name === "istio_requests_total");
    // 5,000 combinations, and one for what overflows for each of the two reporters.
    assert.ok(totals.length <= 5002, `${totals.length} series`);
    const sum = totals.reduce((all, s) => all + (s.kind === "counter" ? s.value : 0), 0);
    assert.equal(sum, DISTINCT, "none is lost");
  });
}

test("100,000 principals of TCP connections make a bounded number of series", () => {
  const t = telemetry();
  for (let i = 0; i < DISTINCT; i++) {
    const opened = record({ direction: "inbound", downstreamPeerPrincipal: `spiffe://${i}` });
    t.tcpConnectionOpened(opened).closed(opened);
  }
  const closed = t.series().filter((s) => s.name === "istio_tcp_connections_closed_total");
  assert.equal(closed.length, 5001);
  const sum = closed.reduce((all, s) => all + (s.kind === "counter" ? s.value : 0), 0);
  assert.equal(sum, DISTINCT, "none is lost");
});

test("an unreadable peer header is nobody", () => {
  for (const header of [
    "",
    "%%%",
    "A".repeat(20_000),
    Buffer.from([255, 255, 255]).toString("base64"),
  ]) {
    assert.equal(parsePeerMetadata(header), undefined, header.slice(0, 10));
  }
});

test("histogram bounds are inclusive and counts add up", () => {
  const histogram = new Histogram();
  const values = [0, 0.5, 0.6, 1, 5, 5.1, 3_600_000, 3_600_001];
  for (const value of values) histogram.observe(value);
  const buckets = histogram.cumulative();
  for (const { upperBound, count } of buckets) {
    assert.equal(count, values.filter((v) => v <= upperBound).length, String(upperBound));
  }
  assert.equal(buckets.length, ENVOY_BUCKETS.length);
  assert.equal(histogram.count, values.length);
});

const names: readonly [stat: string, name: string, labels: Record<string, string>][] = [
  [
    "cluster.outbound|80||a.b.svc.cluster.local.upstream_cx_active",
    "envoy_cluster_upstream_cx_active",
    { envoy_cluster_name: "outbound|80||a.b.svc.cluster.local" },
  ],
  [
    "cluster.a.upstream_rq_503",
    "envoy_cluster_upstream_rq",
    { envoy_response_code: "503", envoy_cluster_name: "a" },
  ],
  [
    "cluster.a.upstream_rq_5xx",
    "envoy_cluster_upstream_rq_xx",
    { envoy_response_code_class: "5", envoy_cluster_name: "a" },
  ],
  [
    "cluster.a.circuit_breakers.default.cx_open",
    "envoy_cluster_circuit_breakers_default_cx_open",
    { envoy_cluster_name: "a" },
  ],
  [
    "http.ingress.downstream_rq_2xx",
    "envoy_http_downstream_rq_xx",
    { envoy_response_code_class: "2", envoy_http_conn_manager_prefix: "ingress" },
  ],
  [
    "listener.127.0.0.1_80.downstream_cx_total",
    "envoy_listener_downstream_cx_total",
    { envoy_listener_address: "127.0.0.1_80" },
  ],
  ["cluster_manager.cds.update_success", "envoy_cluster_manager_cds_update_success", {}],
  ["listener_manager.lds.update_rejected", "envoy_listener_manager_lds_update_rejected", {}],
  ["server.live", "envoy_server_live", {}],
];
for (const [stat, name, labels] of names) {
  test(`${stat} is exported as ${name}`, () => {
    assert.deepEqual(prometheusName(stat), { name, labels });
  });
}
