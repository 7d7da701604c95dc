import { status } from "@grpc/grpc-js";
import { messageOf } from "../base/index.ts";
import type { Clock, Logger } from "../runtime/index.ts";
import {
  decode,
  type io_prometheus_client_Metric,
  type io_prometheus_client_MetricFamily,
} from "../xds/index.ts";
import type { GrpcMethod } from "./grpc-server.ts";

/** A series as a proxy streams it, cumulative since the proxy's start. */
export interface ProxySeries {
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly value:
    | { readonly kind: "counter" | "gauge"; readonly value: number }
    | {
        readonly kind: "histogram";
        readonly count: number;
        readonly sum: number;
        /** Cumulative counts by inclusive upper bound, ascending, without +Inf. */
        readonly buckets: readonly { readonly upperBound: number; readonly count: number }[];
      };
}

/** Where the series go; analysis' TelemetrySink fits. */
export interface ProxyTelemetry {
  ingest(nodeId: string, series: readonly ProxySeries[], nowMs: number): void;
  /** The stream of the proxy ended. */
  forget(nodeId: string, nowMs: number): void;
}

export interface MetricsServiceOptions {
  readonly telemetry: ProxyTelemetry;
  readonly clock: Clock;
  readonly logger: Logger;
}

/** envoy.service.metrics.v3.MetricsService: takes what proxies stream to the sink. */
export function metricsService(options: MetricsServiceOptions): GrpcMethod {
  const { telemetry, clock, logger } = options;
  /** The newest stream of each node: the end of an older one forgets nothing. */
  const current = new Map<string, symbol>();
  return {
    path: "/envoy.service.metrics.v3.MetricsService/StreamMetrics",
    kind: "client-stream",
    handle(stream, reply) {
      const self = Symbol("stream");
      let nodeId: string | undefined;
      let isClosed = false;
      const close = (): void => {
        if (isClosed) return;
        isClosed = true;
        if (nodeId === undefined || current.get(nodeId) !== self) return;
        current.delete(nodeId);
        telemetry.forget(nodeId, clock.nowMs());
      };
      const fail = (details: string): void => {
        logger.warn({ node: nodeId, details }, "metrics stream refused");
        close();
        reply({ code: status.INVALID_ARGUMENT, details });
      };
      stream.on("data", (bytes: Buffer) => {
        if (isClosed) return;
        try {
          const message = decode("envoy.service.metrics.v3.StreamMetricsMessage", bytes);
          nodeId ??= message.identifier?.node?.id || undefined;
          if (nodeId === undefined) {
            fail("identifier.node.id: must be set in the first message");
            return;
          }
          if (current.get(nodeId) !== self && message.identifier) current.set(nodeId, self);
          const series = (message.envoy_metrics ?? []).flatMap(seriesOf);
          if (series.length > 0) telemetry.ingest(nodeId, series, clock.nowMs());
        } catch (error) {
          fail(`the message does not decode: ${messageOf(error)}`);
        }
      });
      stream.on("error", close);
      stream.on("cancelled", close);
      stream.on("close", close);
      stream.on("end", () => {
        if (isClosed) return;
        close();
        reply(null, Buffer.alloc(0));
      });
    },
  };
}

const ENVOY_PREFIX = "istio.";

/** io.prometheus.client.MetricType, as in the .proto. Summaries and untyped metrics are left out. */
function seriesOf(family: io_prometheus_client_MetricFamily): readonly ProxySeries[] {
  const given = family.name ?? "";
  // As a stock Envoy calls what it counts by the control plane's word (`withEnvoyStats`).
  const isFromEnvoy = given.startsWith(ENVOY_PREFIX);
  const name = isFromEnvoy ? `istio_${given.slice(ENVOY_PREFIX.length)}` : given;
  return (family.metric ?? []).flatMap((metric) => {
    const value = sampleOf(metric);
    if (value === undefined || name === "") return [];
    const labels = (metric.label ?? []).map(
      (pair) => [pair.name ?? "", pair.value || (isFromEnvoy ? "unknown" : "")] as const,
    );
    return [{ name, labels: Object.fromEntries(labels), value }];
  });
}

function sampleOf(metric: io_prometheus_client_Metric): ProxySeries["value"] | undefined {
  if (metric.counter) return { kind: "counter", value: metric.counter.value ?? 0 };
  if (metric.gauge) return { kind: "gauge", value: metric.gauge.value ?? 0 };
  if (!metric.histogram) return undefined;
  const { sample_count, sample_sum, bucket } = metric.histogram;
  const buckets = (bucket ?? [])
    .map((each) => ({ upperBound: each.upper_bound ?? 0, count: each.cumulative_count ?? 0 }))
    .filter((each) => Number.isFinite(each.upperBound))
    .toSorted((a, b) => a.upperBound - b.upperBound);
  return { kind: "histogram", count: sample_count ?? 0, sum: sample_sum ?? 0, buckets };
}
