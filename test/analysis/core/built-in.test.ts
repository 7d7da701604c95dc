import assert from "node:assert/strict";
import { test } from "node:test";
import {
  isReceivedBy,
  latency,
  type SeriesIncrease,
  successRate,
} from "../../../src/analysis/core/built-in.ts";

const counter = (response_code: string, increase: number): SeriesIncrease => ({
  kind: "counter",
  labels: { response_code },
  increase,
});

const RATES: readonly (readonly [string, SeriesIncrease[], number | undefined])[] = [
  ["has no answer without series", [], undefined],
  ["has no answer without requests", [counter("200", 0), counter("500", 0)], undefined],
  ["is 100 when nothing failed", [counter("200", 3), counter("404", 4)], 100],
  ["counts 5xx only", [counter("200", 98), counter("499", 1), counter("503", 1)], 99],
  ["does not count a client that went away as failed", [counter("0", 1), counter("200", 1)], 100],
  ["is 0 when there is nothing but failures", [counter("500", 3)], 0],
];
for (const [name, series, expected] of RATES) {
  test(`request-success-rate ${name}`, () => assert.equal(successRate(series).percent, expected));
}

const LABELS = {
  reporter: "destination",
  destination_workload_namespace: "default",
  destination_workload: "reviews",
};
const SELECTED: readonly (readonly [string, Record<string, string>, boolean])[] = [
  ["the workload's own report", {}, true],
  ["not what callers report", { reporter: "source" }, false],
  ["not its primary", { destination_workload: "reviews-primary" }, false],
  ["not its namesake elsewhere", { destination_workload_namespace: "other" }, false],
];
for (const [name, labels, expected] of SELECTED) {
  test(`selects ${name}`, () =>
    assert.equal(isReceivedBy({ ...LABELS, ...labels }, "default", "reviews"), expected));
}

test("latency adds histograms bound by bound, whatever their layouts", () => {
  const time = latency([
    {
      kind: "histogram",
      labels: {},
      count: 10,
      sum: 50,
      buckets: [
        { upperBound: 5, count: 5 },
        { upperBound: 10, count: 10 },
      ],
    },
    {
      kind: "histogram",
      labels: {},
      count: 10,
      sum: 150,
      buckets: [{ upperBound: 20, count: 10 }],
    },
  ]);
  assert.equal(time.observations, 20);
  // le=5: 5, le=10: 10, le=20: 10 (the first lacks it), +Inf: 20. Rank 8 is 3/5 into (5, 10].
  assert.equal(time.quantileMs(0.4), 8);
  assert.equal(time.quantileMs(0.99), 20);
});
