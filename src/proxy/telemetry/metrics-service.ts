import type { Client, ClientWritableStream } from "@grpc/grpc-js";
import { backoffMs, messageOf } from "../../base/index.ts";
import type { Clock, Logger } from "../../runtime/index.ts";
import {
  encode,
  type envoy_config_core_v3_Node,
  type io_prometheus_client_Metric,
  type io_prometheus_client_MetricFamily,
} from "../../xds/index.ts";
import type { GrpcTarget } from "../config/bootstrap.ts";
import { metadataOf } from "../xds/grpc-channel.ts";
import type { Series } from "./series.ts";

const METHOD = "/envoy.service.metrics.v3.MetricsService/StreamMetrics";
const BACKOFF = { baseMs: 500, maxMs: 15_000 };
/** Envoy's own families that are worth streaming, beside istio_*. */
const STREAMED =
  /^(?:istio_|envoy_cluster_(?:upstream_cx_active|upstream_cx_total|upstream_rq_active|upstream_rq_total|upstream_rq_retry|upstream_rq_pending_overflow|membership_healthy|membership_total)$)/;
/** io.prometheus.client.MetricType */
const TYPE = { counter: 0, gauge: 1, histogram: 4 } as const;

export interface MetricsServiceOptions {
  readonly client: Client;
  readonly target: GrpcTarget;
  readonly node: envoy_config_core_v3_Node;
  readonly flushIntervalMs: number;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly random: () => number;
  readonly collect: () => readonly Series[];
}

/** Streams what changed to a MetricsService, for ever; a server that is away costs nothing. */
export interface MetricsServiceSink {
  start(): void;
  /** Sends what is left and closes. */
  stop(): void;
}

/** Cumulative values of what changed since the last flush (Envoy's metrics_service sink). */
export function createMetricsServiceSink(options: MetricsServiceOptions): MetricsServiceSink {
  const { clock, client, logger } = options;
  /** Last value that went out on this stream, by series; a new stream starts from nothing. */
  let sent = new Map<string, number>();
  let stream: ClientWritableStream<Uint8Array> | undefined;
  let isFirst = true;
  let isBlocked = false;
  let attempt = 0;
  let retryAtMs = 0;
  let cancel: (() => void) | undefined;

  const open = (): void => {
    sent = new Map();
    isFirst = true;
    isBlocked = false;
    const opened: ClientWritableStream<Uint8Array> = client.makeClientStreamRequest(
      METHOD,
      (bytes: Uint8Array) => Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength),
      (bytes: Buffer) => bytes,
      metadataOf(options.target),
      (error) => {
        if (opened !== stream) return;
        stream = undefined;
        retryAtMs = clock.nowMs() + backoffMs(attempt, BACKOFF, options.random());
        attempt += 1;
        logger.debug(
          { reason: error === null ? "closed" : messageOf(error) },
          "metrics stream ended",
        );
      },
    );
    opened.on("drain", () => {
      isBlocked = false;
      attempt = 0;
    });
    // The callback above reports the same failure.
    opened.on("error", () => {});
    stream = opened;
  };

  const flush = (): void => {
    if (stream === undefined && clock.nowMs() >= retryAtMs) open();
    // While the server does not read, values only grow: the next message will carry them.
    if (stream === undefined || isBlocked) return;
    const families = changedFamilies(options.collect(), sent, clock.nowMs());
    if (families.length === 0 && !isFirst) return;
    const message = {
      ...(isFirst ? { identifier: { node: options.node } } : {}),
      envoy_metrics: families,
    };
    isFirst = false;
    isBlocked = !stream.write(encode("envoy.service.metrics.v3.StreamMetricsMessage", message));
  };

  const tick = (): void => {
    flush();
    cancel = clock.schedule(options.flushIntervalMs, tick);
  };

  return {
    start() {
      cancel = clock.schedule(options.flushIntervalMs, tick);
    },
    stop() {
      cancel?.();
      if (stream !== undefined) flush();
      stream?.end();
      client.close();
    },
  };
}

function changedFamilies(
  series: readonly Series[],
  sent: Map<string, number>,
  nowMs: number,
): io_prometheus_client_MetricFamily[] {
  const families = new Map<string, { type: number; metric: io_prometheus_client_Metric[] }>();
  for (const entry of series) {
    if (!STREAMED.test(entry.name)) continue;
    const value = entry.kind === "histogram" ? entry.histogram.count : entry.value;
    const key = `${entry.name}\u0000${Object.values(entry.labels).join("\u0000")}`;
    if ((sent.get(key) ?? 0) === value) continue;
    sent.set(key, value);
    let family = families.get(entry.name);
    if (family === undefined) {
      family = { type: TYPE[entry.kind], metric: [] };
      families.set(entry.name, family);
    }
    family.metric.push(metricOf(entry, nowMs));
  }
  return [...families].map(([name, { type, metric }]) => ({
    name,
    type: type as 0 | 1 | 4,
    metric,
  }));
}

function metricOf(series: Series, nowMs: number): io_prometheus_client_Metric {
  const label = Object.entries(series.labels).map(([name, value]) => ({ name, value }));
  if (series.kind !== "histogram") {
    return { label, timestamp_ms: nowMs, [series.kind]: { value: series.value } };
  }
  const { histogram } = series;
  return {
    label,
    timestamp_ms: nowMs,
    histogram: {
      sample_count: histogram.count,
      sample_sum: histogram.sum,
      bucket: histogram
        .cumulative()
        .map(({ upperBound, count }) => ({ upper_bound: upperBound, cumulative_count: count })),
    },
  };
}
