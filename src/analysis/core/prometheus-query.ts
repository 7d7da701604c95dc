import { SerinError } from "../../base/index.ts";
import { isBuiltInMetric } from "./built-in.ts";

/** What a built-in query is about. */
export interface BuiltInQuery {
  readonly metric: string;
  readonly namespace: string;
  readonly workload: string;
  readonly intervalMs: number;
}

/**
 * Flagger's own PromQL for a built-in metric of the Istio provider, whitespace collapsed
 * (flagger/pkg/metrics/observers/istio.go). Throws SERIN_METRICS for another metric's name.
 */
export function builtInPromql(query: BuiltInQuery): string {
  if (!isBuiltInMetric(query.metric)) throw unknownMetric(query.metric);
  const window = `[${prometheusDuration(query.intervalMs)}]`;
  const received =
    `reporter="destination",destination_workload_namespace="${query.namespace}",` +
    `destination_workload=~"${query.workload}"`;
  if (query.metric === "request-success-rate") {
    return (
      `sum(rate(istio_requests_total{${received},response_code!~"5.*"}${window})) / ` +
      `sum(rate(istio_requests_total{${received}}${window})) * 100`
    );
  }
  return (
    "histogram_quantile(0.99, sum(rate(istio_request_duration_milliseconds_bucket" +
    `{${received}}${window})) by (le))`
  );
}

/** A PromQL duration, in the largest unit that is exact: `5m`, `90s`, `1500ms`. */
export function prometheusDuration(durationMs: number): string {
  if (durationMs % 60_000 === 0) return `${durationMs / 60_000}m`;
  if (durationMs % 1000 === 0) return `${durationMs / 1000}s`;
  return `${durationMs}ms`;
}

/** The error of a name that is no built-in metric. */
export function unknownMetric(metric: string): SerinError {
  return new SerinError(
    "SERIN_METRICS",
    `no built-in metric ${JSON.stringify(metric)} (known: request-success-rate, request-duration)`,
    { source: "caller" },
  );
}
