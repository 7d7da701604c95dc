import assert from "node:assert/strict";
import { test } from "node:test";
import { type Client, credentials, Client as GrpcClient, Metadata } from "@grpc/grpc-js";
import { startGrpcServer } from "../../src/mesh/grpc-server.ts";
import { metricsService, type ProxySeries } from "../../src/mesh/metrics-service.ts";
import { Histogram } from "../../src/proxy/core/histogram.ts";
import { createMetricsServiceSink } from "../../src/proxy/telemetry/metrics-service.ts";
import { createLogger, systemClock } from "../../src/runtime/index.ts";
import { until } from "./ads/proxy-client.ts";

const logger = createLogger("test", "silent");
const PATH = "/envoy.service.metrics.v3.MetricsService/StreamMetrics";

async function start(t: { after(fn: () => Promise<void> | void): void }) {
  const ingested: { readonly node: string; readonly series: readonly ProxySeries[] }[] = [];
  const forgotten: string[] = [];
  const telemetry = {
    ingest: (node: string, series: readonly ProxySeries[]) => void ingested.push({ node, series }),
    forget: (node: string) => void forgotten.push(node),
  };
  const methods = [metricsService({ telemetry, clock: systemClock, logger })];
  const server = await startGrpcServer({ host: "127.0.0.1", port: 0, methods });
  t.after(() => server.stop());
  const client = new GrpcClient(`127.0.0.1:${server.port}`, credentials.createInsecure());
  t.after(() => client.close());
  return { ingested, forgotten, client };
}

test("what our proxy streams arrives as series, and is forgotten with the stream", async (t) => {
  const { ingested, forgotten, client } = await start(t);
  const labels = { destination_workload: "reviews", response_code: "200" };
  const histogram = new Histogram();
  for (const ms of [3, 4, 40]) histogram.observe(ms);
  const sink = createMetricsServiceSink({
    client,
    target: { clusterName: "xds", authority: undefined, initialMetadata: () => [] },
    node: { id: "sidecar~127.16.0.2~a.b~b.svc.cluster.local" },
    flushIntervalMs: 5,
    clock: systemClock,
    logger,
    random: () => 0.5,
    collect: () => [
      { name: "istio_requests_total", kind: "counter", labels, value: 7 },
      {
        name: "istio_request_duration_milliseconds",
        kind: "histogram",
        labels,
        histogram,
      },
    ],
  });
  sink.start();
  await until("the series", () => ingested.length > 0);
  const [first] = ingested;
  assert.equal(first?.node, "sidecar~127.16.0.2~a.b~b.svc.cluster.local");
  const counter = first?.series.find((each) => each.name === "istio_requests_total");
  assert.deepEqual(counter, {
    name: "istio_requests_total",
    labels,
    value: { kind: "counter", value: 7 },
  });
  const times = first?.series.find((each) => each.value.kind === "histogram");
  assert.ok(times?.value.kind === "histogram");
  const { count, sum, buckets } = times.value;
  assert.deepEqual([count, sum], [3, 47]);
  assert.equal(buckets.find((bucket) => bucket.upperBound === 5)?.count, 2);
  assert.ok(buckets.every((bucket) => Number.isFinite(bucket.upperBound)));
  assert.deepEqual(forgotten, []);
  sink.stop();
  await until("the end", () => forgotten.length > 0);
  assert.deepEqual(forgotten, [first?.node]);
});

test("a stream that does not say who it is, or is no message, is refused by name", async (t) => {
  const { client, ingested } = await start(t);
  assert.match(await refusal(client, Buffer.alloc(0)), /INVALID_ARGUMENT: identifier\.node\.id/);
  assert.match(await refusal(client, Buffer.from([255, 255])), /INVALID_ARGUMENT: .*not decode/);
  assert.deepEqual(ingested, []);
});

function refusal(client: Client, bytes: Buffer): Promise<string> {
  return new Promise((resolve) => {
    const same = (each: Buffer): Buffer => each;
    const stream = client.makeClientStreamRequest(PATH, same, same, new Metadata(), (error) =>
      resolve(error?.message ?? "accepted"),
    );
    stream.write(bytes);
  });
}
