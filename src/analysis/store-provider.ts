import type { Clock } from "../runtime/index.ts";
import {
  isBuiltInMetric,
  isReceivedBy,
  latency,
  REQUEST_DURATION,
  REQUESTS_TOTAL,
  successRate,
} from "./core/built-in.ts";
import { unknownMetric } from "./core/prometheus-query.ts";
import type { Measurement, MetricQuery, MetricsProvider } from "./metrics-provider.ts";
import type { TelemetryStore } from "./telemetry-store.ts";

/**
 * Answers the built-in metrics from the telemetry store, with the meaning of Flagger's queries:
 * `request-success-rate` in percent, `request-duration` as P99 cut to whole milliseconds, both of
 * what the workload's own sidecars report (`reporter="destination"`). Never waits.
 * Throws SERIN_METRICS for a metric that is not built in.
 */
export function createStoreMetricsProvider(store: TelemetryStore, clock: Clock): MetricsProvider {
  return {
    async query(query: MetricQuery): Promise<Measurement> {
      if (!isBuiltInMetric(query.metric)) throw unknownMetric(query.metric);
      const isReceived = (labels: Readonly<Record<string, string>>): boolean =>
        isReceivedBy(labels, query.namespace, query.workload);
      const nowMs = clock.nowMs();
      if (query.metric === "request-success-rate") {
        const found = store.increases(REQUESTS_TOTAL, isReceived, query.intervalMs, nowMs);
        const rate = successRate(found);
        return { value: rate.percent, samples: rate.requests };
      }
      const found = store.increases(REQUEST_DURATION, isReceived, query.intervalMs, nowMs);
      const time = latency(found);
      const p99Ms = time.quantileMs(0.99);
      const value = p99Ms === undefined ? undefined : Math.trunc(p99Ms);
      return { value, samples: time.observations };
    },
  };
}
