/** Telemetry store, metric providers and the judge. */
export type { Verdict } from "./core/verdict.ts";

/** What a check asks about a workload. */
export interface MetricQuery {
  /** `request-success-rate` (percent) or `request-duration` (P99, whole milliseconds). */
  readonly metric: string;
  readonly namespace: string;
  /** Name of the workload asked about: the canary's targetRef name, or `<name>-primary`. */
  readonly workload: string;
  /** Look-back window. */
  readonly intervalMs: number;
}

/**
 * A provider's answer. `value` is undefined when there was no data. `samples` is the number of
 * requests the value rests on, where the provider knows it.
 */
export interface Measurement {
  readonly value: number | undefined;
  readonly samples?: number | undefined;
}

/** Asks for a built-in metric. Throws SERIN_METRICS when the provider cannot be asked. */
export interface MetricsProvider {
  query(query: MetricQuery, signal: AbortSignal): Promise<Measurement>;
}

/** A counter or histogram series as it arrives from a proxy, cumulative since the proxy's start. */
export interface TelemetrySeries {
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

/** Where the control plane delivers what proxies stream. `nodeId` names the proxy. */
export interface TelemetrySink {
  ingest(nodeId: string, series: readonly TelemetrySeries[], nowMs: number): void;
  /** The proxy's stream ended: its series get no more samples. */
  forget(nodeId: string, nowMs: number): void;
}
