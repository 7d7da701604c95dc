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
