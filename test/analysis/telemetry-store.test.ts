import assert from "node:assert/strict";
import { test } from "node:test";
import {
  createStoreMetricsProvider,
  createTelemetryStore,
  type TelemetrySeries,
  type TelemetryStoreOptions,
} from "../../src/analysis/index.ts";
import { SerinError } from "../../src/base/index.ts";
import { ManualClock } from "../support/manual-clock.ts";

const MINUTE_MS = 60_000;
const never = new AbortController().signal;

/** What a sidecar of `workload` reports of the requests it received. */
function received(workload: string, code: string, total: number): TelemetrySeries {
  return {
    name: "istio_requests_total",
    labels: {
      reporter: "destination",
      destination_workload: workload,
      destination_workload_namespace: "default",
      response_code: code,
    },
    value: { kind: "counter", value: total },
  };
}

function took(workload: string, fast: number, slow: number): TelemetrySeries {
  return {
    name: "istio_request_duration_milliseconds",
    labels: {
      reporter: "destination",
      destination_workload: workload,
      destination_workload_namespace: "default",
    },
    value: {
      kind: "histogram",
      count: fast + slow,
      sum: fast * 5 + slow * 800,
      buckets: [
        { upperBound: 10, count: fast },
        { upperBound: 500, count: fast },
        { upperBound: 1000, count: fast + slow },
      ],
    },
  };
}

function setUp(options: Partial<TelemetryStoreOptions> = {}) {
  const clock = new ManualClock();
  const store = createTelemetryStore({
    retentionMs: 15 * MINUTE_MS,
    clock,
    reconnectGraceMs: 0,
    ...options,
  });
  const provider = createStoreMetricsProvider(store, clock);
  const ask = (metric: string, workload = "reviews", intervalMs = MINUTE_MS) =>
    provider.query({ metric, namespace: "default", workload, intervalMs }, never);
  /** Lets `node` report after `afterMs`. */
  const report = (node: string, afterMs: number, ...series: TelemetrySeries[]): void => {
    clock.advance(afterMs);
    store.ingest(node, series, clock.nowMs());
  };
  return { clock, store, ask, report };
}

test("answers nothing, with no samples, when there was no traffic", async () => {
  const { ask } = setUp();
  assert.deepEqual(await ask("request-success-rate"), { value: undefined, samples: 0 });
  assert.deepEqual(await ask("request-duration"), { value: undefined, samples: 0 });
});

test("sees the first failure of a workload that was never heard of before", async () => {
  const { ask, report } = setUp();
  report("canary-pod", 1000, received("reviews", "200", 3), received("reviews", "500", 1));
  assert.deepEqual(await ask("request-success-rate"), { value: 75, samples: 4 });
});

test("adds the pods of a workload and leaves other workloads out", async () => {
  const { ask, report } = setUp();
  report("pod-a", 1000, received("reviews", "200", 98));
  report("pod-b", 0, received("reviews", "503", 2));
  report("pod-c", 0, received("reviews-primary", "500", 50));
  assert.deepEqual(await ask("request-success-rate"), { value: 98, samples: 100 });
});

test("looks only at the interval", async () => {
  const { clock, ask, report } = setUp();
  report("pod", 1000, received("reviews", "500", 10));
  report("pod", 30_000, received("reviews", "500", 10), received("reviews", "200", 10));
  assert.deepEqual(await ask("request-success-rate"), { value: 50, samples: 20 });
  assert.deepEqual(await ask("request-success-rate", "reviews", 30_000), {
    value: 100,
    samples: 10,
  });
  clock.advance(MINUTE_MS);
  assert.deepEqual(await ask("request-success-rate"), { value: undefined, samples: 0 });
});

test("a proxy that restarted counts from zero again", async () => {
  const { ask, report } = setUp();
  report("pod", 1000, received("reviews", "200", 1000));
  report("pod", 2 * MINUTE_MS, received("reviews", "200", 1000));
  report("pod", 1000, received("reviews", "200", 7));
  assert.deepEqual(await ask("request-success-rate"), { value: 100, samples: 7 });
});

test("P99 is interpolated as Prometheus does and cut to whole milliseconds", async () => {
  const { ask, report } = setUp();
  report("pod", 1000, took("reviews", 970, 30));
  // Rank 990 of 1,000 lies 20/30 into (500, 1000]: 833.33 ms.
  assert.deepEqual(await ask("request-duration"), { value: 833, samples: 1000 });
  report("pod", MINUTE_MS, took("reviews", 1070, 30));
  assert.deepEqual(await ask("request-duration"), { value: 9, samples: 100 });
});

test("other bucket bounds start the histogram anew", async () => {
  const { ask, report } = setUp();
  report("pod", 1000, took("reviews", 970, 30));
  const other = took("reviews", 0, 0);
  const value = { kind: "histogram", count: 4, sum: 4, buckets: [{ upperBound: 1, count: 4 }] };
  report("pod", 1000, { ...other, value: value as TelemetrySeries["value"] });
  assert.deepEqual(await ask("request-duration"), { value: 0, samples: 4 });
});

test("an idle series keeps its count as long as its proxy is connected", async () => {
  const { ask, report } = setUp();
  report("pod", 1000, received("reviews", "200", 10_000));
  report("pod", 60 * MINUTE_MS);
  report("pod", 1000, received("reviews", "200", 10_001));
  assert.deepEqual(await ask("request-success-rate"), { value: 100, samples: 1 });
});

test("a proxy that reconnects goes on where it was", async () => {
  const { clock, store, ask, report } = setUp();
  report("pod", 1000, received("reviews", "200", 500));
  clock.advance(MINUTE_MS);
  store.forget("pod", clock.nowMs());
  report("pod", MINUTE_MS, received("reviews", "200", 520));
  assert.deepEqual(await ask("request-success-rate"), { value: 100, samples: 20 });
});

test("a proxy that left is forgotten after the retention", () => {
  const { clock, store, report } = setUp();
  report("pod", 1000, received("reviews", "200", 500));
  store.forget("pod", clock.nowMs());
  report("other", 15 * MINUTE_MS, received("details", "200", 1));
  assert.equal(store.stats().nodes, 2);
  report("other", 1000, received("details", "200", 1));
  assert.deepEqual([store.stats().nodes, store.stats().series], [1, 1]);
});

test("history of proxies that outlived a restart of the store is no traffic", async () => {
  const { ask, report } = setUp({ reconnectGraceMs: 15_000 });
  report("old-pod", 5000, received("reviews", "200", 1_000_000));
  assert.equal((await ask("request-success-rate")).samples, 0);
  report("old-pod", 1000, received("reviews", "200", 1_000_001), received("reviews", "500", 1));
  assert.deepEqual(await ask("request-success-rate"), { value: 50, samples: 2 });
  report("new-pod", 10_000, received("reviews", "500", 2));
  assert.equal((await ask("request-success-rate")).samples, 4);
});

test("refuses series beyond its limit and counts them", async () => {
  const { store, ask, report } = setUp({ maxSeries: 2 });
  const codes = ["200", "404", "500", "503"].map((code) => received("reviews", code, 1));
  report("pod", 1000, ...codes);
  assert.deepEqual([store.stats().series, store.stats().refusedSeries], [2, 2]);
  assert.equal((await ask("request-success-rate")).samples, 2);
});

test("ignores samples with impossible numbers", async () => {
  const { store, ask, report } = setUp();
  const broken = took("reviews", 1, 1);
  const unordered = {
    kind: "histogram",
    count: 1,
    sum: 1,
    buckets: [
      { upperBound: 5, count: 1 },
      { upperBound: 5, count: 1 },
    ],
  };
  report(
    "pod",
    1000,
    received("reviews", "200", Number.NaN),
    received("reviews", "201", -1),
    received("reviews", "202", Number.POSITIVE_INFINITY),
    { ...broken, value: unordered as TelemetrySeries["value"] },
  );
  assert.equal(store.stats().rejectedSamples, 4);
  assert.equal(store.stats().series, 0);
  assert.equal((await ask("request-success-rate")).value, undefined);
});

test("keeps neither gauges nor what is not Istio's", () => {
  const { store, report } = setUp();
  const other = { ...received("reviews", "200", 1), name: "envoy_cluster_upstream_rq_total" };
  const gauge = { ...received("reviews", "200", 1), value: { kind: "gauge" as const, value: 1 } };
  report("pod", 1000, other, gauge);
  assert.equal(store.stats().series, 0);
});

test("refuses a metric that is not built in", async () => {
  const { ask } = setUp();
  await assert.rejects(ask("latency"), (error: unknown) => {
    assert.ok(error instanceof SerinError);
    assert.equal(error.code, "SERIN_METRICS");
    assert.match(error.message, /"latency".*request-success-rate, request-duration/);
    return true;
  });
});

test("the snapshot says what every workload received", () => {
  const { store, report } = setUp();
  report(
    "pod-a",
    1000,
    received("reviews", "200", 190),
    received("reviews", "500", 10),
    took("reviews", 200, 0),
    { ...received("reviews", "503", 9), labels: { reporter: "source" } },
  );
  report("pod-b", 0, received("details", "200", 20));
  assert.deepEqual(store.snapshot(10_000), [
    {
      namespace: "default",
      workload: "details",
      requests: 20,
      requestsPerSecond: 2,
      successRate: 100,
      p50Ms: undefined,
      p99Ms: undefined,
    },
    {
      namespace: "default",
      workload: "reviews",
      requests: 200,
      requestsPerSecond: 20,
      successRate: 95,
      p50Ms: 5,
      p99Ms: 9.9,
    },
  ]);
});
