import assert from "node:assert/strict";
import { type TestContext, test } from "node:test";
import { Server, ServerCredentials, type ServerUnaryCall, type sendUnaryData } from "@grpc/grpc-js";
import { type RunningProxy, runProxy } from "../../../src/proxy/index.ts";
import { createLogger, systemClock } from "../../../src/runtime/index.ts";
import { decode } from "../../../src/xds/index.ts";
import { freePort } from "../../conformance/support/envoy-process.ts";
import { closedPort, startHttp, startTcp } from "../../support/proxy-fixture.ts";
import {
  type CollectedSpan,
  type SpanCollector,
  startSpanCollector,
} from "../../support/span-collector.ts";

const TYPE = "type.googleapis.com/";
const HTTP2 = {
  typed_extension_protocol_options: {
    "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
      "@type": `${TYPE}envoy.extensions.upstreams.http.v3.HttpProtocolOptions`,
      explicit_http_config: { http2_protocol_options: {} },
    },
  },
};

const zipkin = (more: object = {}): object => ({
  name: "envoy.tracers.zipkin",
  typed_config: {
    "@type": `${TYPE}envoy.config.trace.v3.ZipkinConfig`,
    collector_cluster: "collector",
    collector_endpoint: "/api/v2/spans",
    collector_endpoint_version: "HTTP_JSON",
    ...more,
  },
});
const openTelemetry = (more: object): object => ({
  name: "envoy.tracers.opentelemetry",
  typed_config: {
    "@type": `${TYPE}envoy.config.trace.v3.OpenTelemetryConfig`,
    service_name: "shop",
    ...more,
  },
});
const BY_GRPC = { grpc_service: { envoy_grpc: { cluster_name: "collector" } } };
const BY_HTTP = {
  http_service: {
    http_uri: { uri: "http://otlp.test/v1/traces", cluster: "collector", timeout: "1s" },
    request_headers_to_add: [{ header: { key: "X-Token", value: "secret" } }],
  },
};

interface Options {
  readonly name?: string;
  readonly upstream: number;
  readonly collector: number;
  readonly tracing: object;
  readonly listener?: object;
  readonly manager?: object;
  readonly collectorCluster?: object;
  readonly upstreamCluster?: object;
  readonly concurrency?: number;
}

interface Started {
  readonly port: number;
  readonly proxy: RunningProxy;
  stats(): Promise<Readonly<Record<string, number>>>;
}

/** A proxy with one listener, that forwards everything to one upstream; stopped with the test. */
async function startTraced(t: TestContext, options: Options): Promise<Started> {
  const port = await freePort();
  const admin = await freePort();
  const { name = "gateway" } = options;
  const bootstrapText = JSON.stringify({
    node: { id: `${name}-1`, cluster: name, locality: { zone: "z" } },
    admin: { address: address(admin) },
    static_resources: {
      listeners: [
        {
          name: "main",
          address: address(port),
          filter_chains: [{ filters: [{ name: "http", typed_config: managerOf(options) }] }],
          ...options.listener,
        },
      ],
      clusters: [
        { ...cluster("app", options.upstream), ...options.upstreamCluster },
        { ...cluster("collector", options.collector), ...options.collectorCluster },
      ],
    },
  });
  const proxy = await runProxy({
    bootstrapText,
    logger: createLogger("test", "silent"),
    clock: systemClock,
    concurrency: options.concurrency ?? 1,
  });
  t.after(() => proxy.stop(0));
  await proxy.ready;
  return {
    port,
    proxy,
    async stats() {
      const text = await fetch(`http://127.0.0.1:${admin}/stats`).then((r) => r.text());
      return Object.fromEntries(
        text.split("\n").map((line) => {
          const [key = "", value] = line.split(": ");
          return [key, Number(value)];
        }),
      );
    },
  };
}

function managerOf({ tracing, manager }: Options): object {
  return {
    "@type": `${TYPE}envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager`,
    stat_prefix: "main",
    tracing,
    http_filters: [
      {
        name: "router",
        typed_config: { "@type": `${TYPE}envoy.extensions.filters.http.router.v3.Router` },
      },
    ],
    route_config: {
      virtual_hosts: [
        {
          name: "all",
          domains: ["*"],
          routes: [{ match: { prefix: "/" }, route: { cluster: "app" } }],
        },
      ],
    },
    ...manager,
  };
}

function address(port: number): object {
  return { socket_address: { address: "127.0.0.1", port_value: port } };
}

function cluster(name: string, port: number): object {
  return {
    name,
    type: "STATIC",
    connect_timeout: "1s",
    load_assignment: {
      cluster_name: name,
      endpoints: [{ lb_endpoints: [{ endpoint: { address: address(port) } }] }],
    },
  };
}

async function startCollector(t: TestContext): Promise<SpanCollector> {
  const collector = await startSpanCollector();
  t.after(() => collector.stop());
  return collector;
}

/** An application that answers with the headers it got. */
function startApp(t: TestContext): Promise<number> {
  return startHttp(t, (request, response) => {
    request.resume().on("end", () => response.end(JSON.stringify(request.headers)));
  });
}

type Headers = Readonly<Record<string, string>>;

/** Asks, and gives the headers that the application got. */
async function ask(port: number, headers: Headers = {}): Promise<Headers> {
  const response = await fetch(`http://127.0.0.1:${port}/cart?id=1`, { headers });
  assert.equal(response.status, 200);
  return (await response.json()) as Headers;
}

async function askTimes(port: number, count: number): Promise<void> {
  await Promise.all(Array.from({ length: count }, () => ask(port)));
}

async function eventually(isSo: () => boolean | Promise<boolean>): Promise<void> {
  const deadline = Date.now() + 20_000;
  while (!(await isSo())) {
    assert.ok(Date.now() < deadline, "it does not happen");
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

function only(
  spans: readonly CollectedSpan[],
  matches: (span: CollectedSpan) => boolean,
): CollectedSpan {
  const found = spans.filter(matches);
  assert.equal(found.length, 1, JSON.stringify(spans));
  return found[0] as CollectedSpan;
}

test("Zipkin gets five spans as soon as there are five, as its API has them", async (t) => {
  const collector = await startCollector(t);
  const upstream = await startApp(t);
  const startMs = Date.now();
  const { port, stats } = await startTraced(t, {
    upstream,
    collector: collector.httpPort,
    tracing: { provider: zipkin({ collector_hostname: "zipkin.test" }) },
  });
  await askTimes(port, 5);
  await eventually(() => collector.spans.length === 5);
  assert.equal(collector.reports.length, 1);
  const [report] = collector.reports;
  assert.equal(report?.path, "/api/v2/spans");
  assert.equal(report?.host, "zipkin.test");
  assert.equal(new Set(collector.spans.map(({ traceId }) => traceId)).size, 5);
  for (const span of collector.spans) {
    assert.match(span.id, /^[0-9a-f]{16}$/);
    assert.equal(span.traceId, span.id);
    assert.equal(span.kind, "SERVER");
    assert.ok(span.hasDuration);
    const atMs = span.timestamp / 1000;
    assert.ok(atMs >= startMs - 1000 && atMs <= Date.now() + 1000, `${atMs}`);
    assert.equal(span.tags["node_id"], "gateway-1");
    assert.equal(span.tags["zone"], "z");
    assert.equal(span.tags["http.url"], `http://127.0.0.1:${port}/cart?id=1`);
  }
  await eventually(async () => (await stats())["tracing.zipkin.reports_sent"] === 1);
  assert.equal((await stats())["tracing.zipkin.spans_sent"], 5);
  assert.equal((await stats())["http.main.tracing.random_sampling"], 5);
});

test("fewer spans go when their time has come", async (t) => {
  const collector = await startCollector(t);
  const { port, stats } = await startTraced(t, {
    upstream: await startApp(t),
    collector: collector.httpPort,
    tracing: { provider: zipkin() },
  });
  await ask(port);
  await eventually(() => collector.spans.length === 1);
  assert.ok(((await stats())["tracing.zipkin.timer_flushed"] ?? 0) >= 1);
});

test("what was not sent yet goes before the proxy ends", async (t) => {
  const collector = await startCollector(t);
  const { port, proxy } = await startTraced(t, {
    upstream: await startApp(t),
    collector: collector.httpPort,
    tracing: { provider: zipkin() },
  });
  await askTimes(port, 2);
  await proxy.stop(5000);
  assert.equal(collector.spans.length, 2);
});

test("OTLP over HTTP", async (t) => {
  const collector = await startCollector(t);
  const { port } = await startTraced(t, {
    upstream: await startApp(t),
    collector: collector.httpPort,
    tracing: { provider: openTelemetry(BY_HTTP) },
  });
  await askTimes(port, 5);
  await eventually(() => collector.spans.length === 5);
  const [report] = collector.reports;
  assert.equal(report?.contentType, "application/x-protobuf");
  assert.equal(report?.path, "/v1/traces");
  assert.equal(report?.host, "otlp.test");
  assert.equal(report?.fields["x-token"], "secret");
  for (const span of collector.spans) {
    assert.match(span.traceId, /^[0-9a-f]{32}$/);
    assert.match(span.local, /service\.name=shop/);
    assert.ok(span.hasDuration);
    assert.ok(Math.abs(span.timestamp / 1000 - Date.now()) < 60_000);
  }
});

test("OTLP over gRPC, to a server of grpc-js", async (t) => {
  const names: string[] = [];
  const server = new Server();
  const identity = (bytes: Buffer): Buffer => bytes;
  server.addService(
    {
      Export: {
        path: "/opentelemetry.proto.collector.trace.v1.TraceService/Export",
        requestStream: false,
        responseStream: false,
        requestSerialize: identity,
        requestDeserialize: identity,
        responseSerialize: identity,
        responseDeserialize: identity,
      },
    },
    {
      Export: (call: ServerUnaryCall<Buffer, Buffer>, reply: sendUnaryData<Buffer>) => {
        const message = "opentelemetry.proto.collector.trace.v1.ExportTraceServiceRequest";
        for (const { scope_spans } of decode(message, call.request).resource_spans ?? []) {
          for (const { spans } of scope_spans ?? []) {
            names.push(...(spans ?? []).map(({ name }) => name ?? ""));
          }
        }
        reply(null, Buffer.alloc(0));
      },
    },
  );
  const collector = await new Promise<number>((resolve, reject) => {
    server.bindAsync("127.0.0.1:0", ServerCredentials.createInsecure(), (error, bound) =>
      error === null ? resolve(bound) : reject(error),
    );
  });
  t.after(() => server.forceShutdown());
  const { port } = await startTraced(t, {
    upstream: await startApp(t),
    collector,
    collectorCluster: HTTP2,
    tracing: { provider: openTelemetry(BY_GRPC) },
  });
  // More than one report over one connection.
  await askTimes(port, 20);
  await eventually(() => names.length === 20);
  assert.deepEqual(new Set(names), new Set(["ingress"]));
});

const SICK_COLLECTORS: readonly (readonly [string, (t: TestContext) => Promise<number>])[] = [
  ["is dead", () => closedPort()],
  ["hangs", (t) => startTcp(t, (socket) => socket.resume())],
  ["hangs up", (t) => startTcp(t, (socket) => socket.destroy())],
  [
    "answers garbage",
    (t) => startTcp(t, (socket) => socket.resume().write("\0\0 garbage\r\n\r\n")),
  ],
];

for (const [state, start] of SICK_COLLECTORS) {
  for (const [kind, provider] of [
    ["Zipkin", zipkin()],
    ["OTLP over HTTP", openTelemetry(BY_HTTP)],
    ["OTLP over gRPC", openTelemetry(BY_GRPC)],
  ] as const) {
    test(`${kind}: requests are served though the collector ${state}`, async (t) => {
      const { port, stats } = await startTraced(t, {
        upstream: await startApp(t),
        collector: await start(t),
        ...(kind === "OTLP over gRPC" ? { collectorCluster: HTTP2 } : {}),
        tracing: { provider },
      });
      await askTimes(port, 50);
      const tracer = kind === "Zipkin" ? "zipkin" : "opentelemetry";
      assert.equal((await stats())[`tracing.${tracer}.spans_sent`], 50);
      await askTimes(port, 50);
      if (kind !== "Zipkin" || state === "hangs") return;
      await eventually(async () => (await stats())["tracing.zipkin.reports_dropped"] === 20);
    });
  }
}

test("reports to a collector that hangs are bounded, and the rest is dropped", async (t) => {
  let open = 0;
  const collector = await startTcp(t, (socket) => {
    open += 1;
    socket.resume();
  });
  const { port, stats } = await startTraced(t, {
    upstream: await startApp(t),
    collector,
    tracing: { provider: zipkin() },
  });
  for (let round = 0; round < 15; round += 1) await askTimes(port, 100);
  const { "tracing.zipkin.spans_sent": sent, "tracing.zipkin.reports_dropped": dropped } =
    await stats();
  assert.equal(sent, 1500);
  assert.ok((dropped ?? 0) >= 300 - 256, `${dropped}`);
  assert.ok(open <= 256, `${open}`);
});

test("a gateway and a sidecar make one trace: Zipkin, spans shared by both ends", async (t) => {
  const collector = await startCollector(t);
  const sidecar = await startTraced(t, {
    name: "cart",
    upstream: await startApp(t),
    collector: collector.httpPort,
    tracing: { provider: zipkin() },
    listener: { traffic_direction: "INBOUND" },
  });
  const gateway = await startTraced(t, {
    upstream: sidecar.port,
    collector: collector.httpPort,
    tracing: { provider: zipkin({ trace_id_128bit: true }), spawn_upstream_span: true },
    manager: { use_remote_address: true },
  });
  const got = await ask(gateway.port);
  await Promise.all([gateway.proxy.stop(5000), sidecar.proxy.stop(5000)]);
  const { spans } = collector;
  assert.equal(spans.length, 3);
  const root = only(spans, ({ parentId }) => parentId === "");
  assert.equal(root.traceId.length, 32);
  assert.equal(root.tags["node_id"], "gateway-1");
  for (const { traceId } of spans) assert.equal(traceId, root.traceId);
  const call = only(spans, ({ kind }) => kind === "CLIENT");
  assert.equal(call.parentId, root.id);
  const served = only(spans, ({ tags }) => tags["node_id"] === "cart-1");
  assert.equal(served.id, call.id);
  assert.equal(served.parentId, root.id);
  assert.ok(served.isShared);
  // The application belongs to the sidecar's span.
  assert.equal(got["x-b3-traceid"], root.traceId);
  assert.equal(got["x-b3-spanid"], served.id);
  assert.equal(got["x-request-id"], root.tags["guid:x-request-id"]);
  assert.equal(served.tags["guid:x-request-id"], root.tags["guid:x-request-id"]);
});

test("a gateway and a sidecar make one trace: OpenTelemetry, over HTTP/2", async (t) => {
  const collector = await startCollector(t);
  const sidecar = await startTraced(t, {
    name: "cart",
    upstream: await startApp(t),
    collector: collector.grpcPort,
    collectorCluster: HTTP2,
    tracing: { provider: openTelemetry(BY_GRPC) },
    listener: { traffic_direction: "INBOUND" },
  });
  const gateway = await startTraced(t, {
    upstream: sidecar.port,
    upstreamCluster: HTTP2,
    collector: collector.grpcPort,
    collectorCluster: HTTP2,
    tracing: { provider: openTelemetry(BY_GRPC), spawn_upstream_span: true },
  });
  const traceId = "0af7651916cd43dd8448eb211c80319c";
  const got = await ask(gateway.port, {
    traceparent: `00-${traceId}-b7ad6b7169203331-01`,
    tracestate: "vendor=1",
    "x-b3-traceid": "463ac35c9f6413ad",
    "x-ot-span-context": "a;b",
  });
  await Promise.all([gateway.proxy.stop(5000), sidecar.proxy.stop(5000)]);
  const { spans } = collector;
  assert.equal(spans.length, 3);
  for (const span of spans) {
    assert.equal(span.traceId, traceId);
    assert.equal(span.traceState, "vendor=1");
  }
  const root = only(spans, ({ parentId }) => parentId === "b7ad6b7169203331");
  const call = only(spans, ({ parentId }) => parentId === root.id);
  const served = only(spans, ({ parentId }) => parentId === call.id);
  assert.deepEqual([root.kind, call.kind, served.kind], ["SERVER", "CLIENT", "SERVER"]);
  assert.equal(got["traceparent"], `00-${traceId}-${served.id}-01`);
  assert.equal(got["tracestate"], "vendor=1");
  assert.equal(got["x-b3-traceid"], "463ac35c9f6413ad");
  assert.equal(got["x-ot-span-context"], "a;b");
});

test("what is not sampled is passed on and not reported", async (t) => {
  const collector = await startCollector(t);
  const { port, proxy, stats } = await startTraced(t, {
    upstream: await startApp(t),
    collector: collector.httpPort,
    tracing: { provider: zipkin(), random_sampling: { value: 0 }, spawn_upstream_span: true },
  });
  const got = await ask(port);
  assert.equal(got["x-b3-sampled"], "0");
  assert.match(got["x-b3-traceid"] ?? "", /^[0-9a-f]{16}$/);
  assert.equal((await stats())["http.main.tracing.not_traceable"], 1);
  await proxy.stop(5000);
  assert.equal(collector.spans.length, 0);
});

test("every thread reports its own spans", async (t) => {
  const collector = await startCollector(t);
  const { port, proxy } = await startTraced(t, {
    upstream: await startApp(t),
    collector: collector.httpPort,
    tracing: { provider: zipkin() },
    concurrency: 2,
  });
  for (let sent = 0; sent < 40; sent += 1) await ask(port, { connection: "close" });
  await proxy.stop(5000);
  assert.equal(collector.spans.length, 40);
  for (const span of collector.spans) assert.equal(span.tags["node_id"], "gateway-1");
});
