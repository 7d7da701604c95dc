import { type Bucket, histogramQuantile } from "./quantile.ts";

/** Istio's request counter and latency histogram, which the built-in metrics read. */
export const REQUESTS_TOTAL = "istio_requests_total";
export const REQUEST_DURATION = "istio_request_duration_milliseconds";

/** The built-in metrics, by Flagger's names. */
export const BUILT_IN_METRICS = ["request-success-rate", "request-duration"] as const;
export type BuiltInMetric = (typeof BUILT_IN_METRICS)[number];

export function isBuiltInMetric(name: string): name is BuiltInMetric {
  return (BUILT_IN_METRICS as readonly string[]).includes(name);
}

type Labels = Readonly<Record<string, string>>;

/** How much a series grew in the window asked about. */
export type SeriesIncrease =
  | { readonly kind: "counter"; readonly labels: Labels; readonly increase: number }
  | {
      readonly kind: "histogram";
      readonly labels: Labels;
      readonly count: number;
      readonly sum: number;
      /** Cumulative, ascending by bound, without +Inf. */
      readonly buckets: readonly Bucket[];
    };

/**
 * Whether a series describes requests that a workload received. Flagger's selector:
 * `reporter="destination",destination_workload_namespace="…",destination_workload=~"…"`.
 * A request that never reached a destination (no connection: 503 UF) is known to the source alone
 * and, as in Flagger, not counted; a workload that receives nothing is `inconclusive`, never a pass.
 */
export function isReceivedBy(labels: Labels, namespace: string, workload: string): boolean {
  return (
    labels["reporter"] === "destination" &&
    labels["destination_workload_namespace"] === namespace &&
    labels["destination_workload"] === workload
  );
}

/** What a window of request counters says. */
export interface SuccessRate {
  /** 0..100; undefined without requests. */
  readonly percent: number | undefined;
  readonly requests: number;
  /** Those with `response_code=~"5.*"`. */
  readonly failures: number;
}

/**
 * Flagger's `request-success-rate`: the share of requests with `response_code!~"5.*"`. Only server
 * errors fail; a code of 0 (the client went away) does not. Where nothing but 5xx was seen, Flagger's
 * query has no answer ("no values found"); here it is 0, which fails just the same and says why.
 */
export function successRate(increases: readonly SeriesIncrease[]): SuccessRate {
  let requests = 0;
  let failures = 0;
  for (const series of increases) {
    if (series.kind !== "counter") continue;
    requests += series.increase;
    if (series.labels["response_code"]?.startsWith("5")) failures += series.increase;
  }
  const percent = requests > 0 ? ((requests - failures) / requests) * 100 : undefined;
  return { percent, requests, failures };
}

/** What a window of latency histograms says. */
export interface Latency {
  readonly observations: number;
  /** In milliseconds; undefined without observations. `q` in (0, 1]. */
  quantileMs(q: number): number | undefined;
}

/**
 * The latency of all series together: `sum(…_bucket) by (le)`, then Prometheus' quantile. Series
 * may differ in their bounds; a bound that a series lacks gets nothing from it, as in PromQL.
 */
export function latency(increases: readonly SeriesIncrease[]): Latency {
  const countByBound = new Map<number, number>();
  let observations = 0;
  for (const series of increases) {
    if (series.kind !== "histogram") continue;
    observations += series.count;
    for (const { upperBound, count } of series.buckets) {
      countByBound.set(upperBound, (countByBound.get(upperBound) ?? 0) + count);
    }
  }
  const buckets: Bucket[] = [...countByBound]
    .map(([upperBound, count]) => ({ upperBound, count }))
    .sort((a, b) => a.upperBound - b.upperBound);
  buckets.push({ upperBound: Number.POSITIVE_INFINITY, count: observations });
  return { observations, quantileMs: (q) => histogramQuantile(q, buckets) };
}
