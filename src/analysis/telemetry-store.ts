import type { Clock } from "../runtime/index.ts";
import {
  latency,
  REQUEST_DURATION,
  REQUESTS_TOTAL,
  type SeriesIncrease,
  successRate,
} from "./core/built-in.ts";
import { growth } from "./core/cumulative.ts";
import { SampleRing } from "./core/sample-ring.ts";
import type { TelemetrySeries, TelemetrySink } from "./telemetry.ts";

export interface TelemetryStoreOptions {
  /** How far back a window may reach, and how long a proxy that left is remembered. */
  readonly retentionMs: number;
  readonly clock: Clock;
  /** Series of all proxies together; more are refused and counted. Default 20,000. */
  readonly maxSeries?: number;
  /**
   * How long after the start of this store an unknown proxy's first numbers are taken as a baseline
   * instead of as growth. Proxies that outlived a restart of the control plane come back within it,
   * and hours of their history must not appear as one second of traffic. Default 15,000.
   */
  readonly reconnectGraceMs?: number;
  /** Which series to keep, by name. Default: Istio's own (`istio_…`). */
  readonly accepts?: (name: string) => boolean;
}

/** What one workload received in a window, as its own sidecars saw it. */
export interface WorkloadSnapshot {
  readonly namespace: string;
  readonly workload: string;
  readonly requests: number;
  readonly requestsPerSecond: number;
  /** Percent that were not 5xx; undefined without requests, as are the latencies. */
  readonly successRate: number | undefined;
  readonly p50Ms: number | undefined;
  readonly p99Ms: number | undefined;
}

export interface TelemetryStoreStats {
  readonly nodes: number;
  readonly series: number;
  /** Series refused because `maxSeries` was reached. */
  readonly refusedSeries: number;
  /** Samples ignored because their numbers are impossible (negative, NaN, bounds out of order). */
  readonly rejectedSamples: number;
}

/** In-memory time series of the last minutes, fed by the proxies' streams. */
export interface TelemetryStore extends TelemetrySink {
  /**
   * How much each matching series grew in (nowMs - windowMs, nowMs]; one entry per proxy and series,
   * those that did not grow included. O(series of that name).
   */
  increases(
    name: string,
    matches: (labels: Readonly<Record<string, string>>) => boolean,
    windowMs: number,
    nowMs: number,
  ): SeriesIncrease[];
  /** Every workload that received something within `windowMs`, by namespace and name. */
  snapshot(windowMs: number): WorkloadSnapshot[];
  stats(): TelemetryStoreStats;
}

interface Series {
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly kind: "counter" | "histogram";
  /** Finite bucket bounds of a histogram. */
  readonly bounds: readonly number[];
  /** As last reported, resets and all. */
  raw: Float64Array;
  readonly ring: SampleRing;
}

interface ProxyNode {
  readonly series: Map<string, Series>;
  /** Set while no stream of it is open. */
  endedAtMs: number | undefined;
  /** Its first batch is a baseline, not growth. */
  isBaselinePending: boolean;
}

/** Most proxies report once a second; a faster one loses its oldest samples sooner. */
const SAMPLE_PERIOD_MS = 1000;
const isIstioSeries = (name: string): boolean => name.startsWith("istio_");

/**
 * A telemetry store. Series are keyed by proxy, name and labels and hold cumulative values with
 * resets taken out on arrival (a proxy that restarted counts from zero again, as in Prometheus).
 *
 * Unlike Prometheus' `rate`, nothing is extrapolated and nothing is lost: a window counts from the
 * value that held when it began, and a series that appears counts from zero, so the first failed
 * request of a canary is seen although its series did not exist before. The exception is the first
 * batch of an unknown proxy while the store is young (`reconnectGraceMs`).
 *
 * A series that does not change needs no samples: it stays as long as its proxy is connected, and
 * `retentionMs` longer.
 */
export function createTelemetryStore(options: TelemetryStoreOptions): TelemetryStore {
  const { retentionMs, clock, maxSeries = 20_000, reconnectGraceMs = 15_000 } = options;
  const accepts = options.accepts ?? isIstioSeries;
  const maxSamples = Math.ceil(retentionMs / SAMPLE_PERIOD_MS) + 1;
  const isYoungUntilMs = clock.nowMs() + reconnectGraceMs;
  const nodes = new Map<string, ProxyNode>();
  const byName = new Map<string, Set<Series>>();
  let seriesCount = 0;
  let refusedSeries = 0;
  let rejectedSamples = 0;
  let lastSweepMs = Number.NEGATIVE_INFINITY;

  function ingest(nodeId: string, batch: readonly TelemetrySeries[], nowMs: number): void {
    sweep(nowMs);
    const node = nodeOf(nodeId, nowMs);
    node.endedAtMs = undefined;
    for (const sample of batch) {
      if (sample.value.kind === "gauge" || !accepts(sample.name)) continue;
      const row = rowOf(sample);
      if (row === undefined) rejectedSamples += 1;
      else record(node, sample, row, nowMs);
    }
    node.isBaselinePending = false;
  }

  function nodeOf(nodeId: string, nowMs: number): ProxyNode {
    const known = nodes.get(nodeId);
    if (known !== undefined) return known;
    const node: ProxyNode = {
      series: new Map(),
      endedAtMs: undefined,
      isBaselinePending: nowMs < isYoungUntilMs,
    };
    nodes.set(nodeId, node);
    return node;
  }

  function record(node: ProxyNode, sample: TelemetrySeries, row: Float64Array, nowMs: number) {
    const key = keyOf(sample);
    const known = node.series.get(key);
    if (known === undefined || !hasShapeOf(known, sample)) {
      // Other bounds or another kind under the same name: the proxy came back with another build.
      if (known !== undefined) remove(node, key, known);
      add(node, key, sample, row, nowMs);
      return;
    }
    const grown = growth(known.raw, row);
    known.raw = row;
    if (grown.every((value) => value === 0)) return;
    const total = Float64Array.from(known.ring.newest(), (value, i) => value + (grown[i] ?? 0));
    known.ring.dropBefore(nowMs - retentionMs);
    known.ring.push(nowMs, total);
  }

  function add(
    node: ProxyNode,
    key: string,
    sample: TelemetrySeries,
    row: Float64Array,
    nowMs: number,
  ): void {
    if (seriesCount >= maxSeries) {
      refusedSeries += 1;
      return;
    }
    const base = node.isBaselinePending ? row : new Float64Array(row.length);
    const series: Series = {
      name: sample.name,
      labels: { ...sample.labels },
      kind: sample.value.kind === "histogram" ? "histogram" : "counter",
      bounds: boundsOf(sample),
      raw: row,
      ring: new SampleRing(base, maxSamples),
    };
    if (!node.isBaselinePending) series.ring.push(nowMs, row);
    node.series.set(key, series);
    const namesakes = byName.get(sample.name) ?? new Set();
    byName.set(sample.name, namesakes.add(series));
    seriesCount += 1;
  }

  function remove(node: ProxyNode, key: string, series: Series): void {
    node.series.delete(key);
    byName.get(series.name)?.delete(series);
    seriesCount -= 1;
  }

  /** Forgets proxies that left longer than the retention ago; looks at most once a second. */
  function sweep(nowMs: number): void {
    if (nowMs - lastSweepMs < 1000) return;
    lastSweepMs = nowMs;
    for (const [nodeId, node] of nodes) {
      if (node.endedAtMs === undefined || nowMs - node.endedAtMs <= retentionMs) continue;
      for (const [key, series] of node.series) remove(node, key, series);
      nodes.delete(nodeId);
    }
  }

  function increases(
    name: string,
    matches: (labels: Readonly<Record<string, string>>) => boolean,
    windowMs: number,
    nowMs: number,
  ): SeriesIncrease[] {
    const found: SeriesIncrease[] = [];
    for (const series of byName.get(name) ?? []) {
      if (matches(series.labels)) found.push(increaseOf(series, nowMs - windowMs));
    }
    return found;
  }

  return {
    ingest,
    forget(nodeId, nowMs) {
      const node = nodes.get(nodeId);
      if (node !== undefined) node.endedAtMs = nowMs;
      sweep(nowMs);
    },
    increases,
    snapshot(windowMs) {
      const nowMs = clock.nowMs();
      const isReceived = (labels: Readonly<Record<string, string>>): boolean =>
        labels["reporter"] === "destination";
      return snapshotOf(
        increases(REQUESTS_TOTAL, isReceived, windowMs, nowMs),
        increases(REQUEST_DURATION, isReceived, windowMs, nowMs),
        windowMs,
      );
    },
    stats: () => ({ nodes: nodes.size, series: seriesCount, refusedSeries, rejectedSamples }),
  };
}

function snapshotOf(
  requests: readonly SeriesIncrease[],
  durations: readonly SeriesIncrease[],
  windowMs: number,
): WorkloadSnapshot[] {
  const requestsOf = Map.groupBy(requests, workloadKey);
  const durationsOf = Map.groupBy(durations, workloadKey);
  const rows: WorkloadSnapshot[] = [];
  for (const key of [...requestsOf.keys()].sort()) {
    const rate = successRate(requestsOf.get(key) ?? []);
    if (rate.requests === 0) continue;
    const time = latency(durationsOf.get(key) ?? []);
    const [namespace = "", workload = ""] = key.split("/");
    rows.push({
      namespace,
      workload,
      requests: rate.requests,
      requestsPerSecond: rate.requests / (windowMs / 1000),
      successRate: rate.percent,
      p50Ms: time.quantileMs(0.5),
      p99Ms: time.quantileMs(0.99),
    });
  }
  return rows;
}

function workloadKey({ labels }: SeriesIncrease): string {
  return `${labels["destination_workload_namespace"] ?? ""}/${labels["destination_workload"] ?? ""}`;
}

function increaseOf(series: Series, startMs: number): SeriesIncrease {
  const { labels, bounds } = series;
  const grown = new Float64Array(series.raw.length);
  series.ring.addIncrease(startMs, grown);
  if (series.kind === "counter") return { kind: "counter", labels, increase: grown[0] ?? 0 };
  const buckets = bounds.map((upperBound, i) => ({ upperBound, count: grown[i + 2] ?? 0 }));
  return { kind: "histogram", labels, count: grown[0] ?? 0, sum: grown[1] ?? 0, buckets };
}

/** `[value]` or `[count, sum, ...buckets]`; undefined when the numbers cannot be a cumulative sample. */
function rowOf({ value }: TelemetrySeries): Float64Array | undefined {
  const numbers =
    value.kind === "histogram"
      ? [value.count, value.sum, ...value.buckets.map((bucket) => bucket.count)]
      : [value.value];
  if (!numbers.every((number) => Number.isFinite(number) && number >= 0)) return undefined;
  if (value.kind === "histogram" && !isAscending(value.buckets)) return undefined;
  return Float64Array.from(numbers);
}

function isAscending(buckets: readonly { readonly upperBound: number }[]): boolean {
  return buckets.every(
    ({ upperBound }, i) =>
      Number.isFinite(upperBound) &&
      upperBound > (buckets[i - 1]?.upperBound ?? Number.NEGATIVE_INFINITY),
  );
}

function boundsOf({ value }: TelemetrySeries): number[] {
  return value.kind === "histogram" ? value.buckets.map((bucket) => bucket.upperBound) : [];
}

function hasShapeOf(series: Series, sample: TelemetrySeries): boolean {
  const bounds = boundsOf(sample);
  return (
    series.kind === sample.value.kind &&
    series.bounds.length === bounds.length &&
    series.bounds.every((bound, i) => bound === bounds[i])
  );
}

/** Name and labels as one text, whatever order the labels came in. */
function keyOf({ name, labels }: TelemetrySeries): string {
  const pairs = Object.keys(labels)
    .sort()
    .map((label) => `${label}\u0001${labels[label] ?? ""}`);
  return `${name}\u0000${pairs.join("\u0000")}`;
}
