import assert from "node:assert/strict";
import { test } from "node:test";
import {
  Client,
  credentials,
  Server,
  ServerCredentials,
  type ServerReadableStream,
} from "@grpc/grpc-js";
import { UNKNOWN_PEER } from "../../../src/proxy/core/peer-metadata.ts";
import { createMetricsServiceSink } from "../../../src/proxy/telemetry/metrics-service.ts";
import { createTelemetry } from "../../../src/proxy/telemetry.ts";
import { createLogger } from "../../../src/runtime/index.ts";
import {
  decode,
  type envoy_service_metrics_v3_StreamMetricsMessage as Message,
} from "../../../src/xds/index.ts";
import { ManualClock } from "../../support/manual-clock.ts";
import { record } from "./record.ts";

test("streams cumulative values of what changed, and starts over with a new server", async () => {
  const clock = new ManualClock();
  const logger = createLogger("test", "silent");
  const telemetry = createTelemetry({ self: UNKNOWN_PEER, clock, logger });
  const first = await startReceiver(0);
  const client = new Client(`127.0.0.1:${first.port}`, credentials.createInsecure(), {
    "grpc.initial_reconnect_backoff_ms": 50,
    "grpc.max_reconnect_backoff_ms": 100,
  });
  const sink = createMetricsServiceSink({
    client,
    target: { clusterName: "xds", authority: undefined, initialMetadata: () => [] },
    node: { id: "n1" },
    flushIntervalMs: 1000,
    clock,
    logger,
    random: () => 0,
    collect: () => telemetry.series(),
  });
  try {
    sink.start();
    telemetry.requestFinished(record(), []);
    telemetry.counter("cluster.a.upstream_cx_total").add(3);
    telemetry.counter("http.x.downstream_cx_total").add(1);
    clock.advance(1000);
    await first.until(1);
    assert.equal(first.messages[0]?.identifier?.node?.id, "n1");
    assert.deepEqual(families(first.messages[0]), [
      "istio_requests_total=1",
      "istio_request_duration_milliseconds=1",
      "istio_request_bytes=1",
      "istio_response_bytes=1",
      "envoy_cluster_upstream_cx_total=3",
    ]);
    clock.advance(5000);
    telemetry.requestFinished(record(), []);
    clock.advance(1000);
    await first.until(2);
    assert.equal(first.messages[1]?.identifier, null, "only the first message says who");
    assert.ok(families(first.messages[1]).includes("istio_requests_total=2"));
    assert.ok(
      !families(first.messages[1]).some((f) => f.startsWith("envoy_")),
      "unchanged is not sent",
    );
    first.stop();
    const second = await startReceiver(first.port);
    try {
      const deadline = Date.now() + 60_000;
      while (second.messages.length === 0 && Date.now() < deadline) {
        clock.advance(1000);
        await new Promise((resolve) => setTimeout(resolve, 10));
      }
      assert.equal(second.messages[0]?.identifier?.node?.id, "n1");
      assert.ok(families(second.messages[0]).includes("envoy_cluster_upstream_cx_total=3"));
    } finally {
      second.stop();
    }
  } finally {
    sink.stop();
    first.stop();
  }
});

function families(message: Message | undefined): string[] {
  return (message?.envoy_metrics ?? []).map((family) => {
    const metric = family.metric?.[0];
    const value = metric?.counter?.value ?? metric?.histogram?.sample_count ?? metric?.gauge?.value;
    return `${family.name}=${value}`;
  });
}

async function startReceiver(port: number) {
  const messages: Message[] = [];
  let wake: () => void = () => {};
  const server = new Server();
  server.addService(
    {
      stream: {
        path: "/envoy.service.metrics.v3.MetricsService/StreamMetrics",
        requestStream: true,
        responseStream: false,
        requestSerialize: (bytes: Uint8Array) => Buffer.from(bytes),
        requestDeserialize: (bytes: Buffer): Uint8Array => bytes,
        responseSerialize: (bytes: Uint8Array) => Buffer.from(bytes),
        responseDeserialize: (bytes: Buffer): Uint8Array => bytes,
      },
    },
    {
      stream: (call: ServerReadableStream<Uint8Array, Uint8Array>) => {
        call.on("data", (bytes: Uint8Array) => {
          messages.push(decode("envoy.service.metrics.v3.StreamMetricsMessage", bytes));
          wake();
        });
        call.on("error", () => {});
      },
    },
  );
  const bound = await new Promise<number>((resolve, reject) => {
    server.bindAsync(`127.0.0.1:${port}`, ServerCredentials.createInsecure(), (error, actual) =>
      error === null ? resolve(actual) : reject(error),
    );
  });
  return {
    port: bound,
    messages,
    async until(count: number): Promise<void> {
      while (messages.length < count) {
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
      }
    },
    stop: () => server.forceShutdown(),
  };
}
