import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { type Bucket, histogramQuantile } from "../../../src/analysis/core/quantile.ts";

const INF = Number.POSITIVE_INFINITY;
const buckets = (...pairs: readonly (readonly [number, number])[]): Bucket[] =>
  pairs.map(([upperBound, count]) => ({ upperBound, count }));

// Expected values worked out by hand from prometheus/promql/quantile.go.
const TABLE: readonly (readonly [string, number, Bucket[], number | undefined])[] = [
  ["interpolates inside the bucket", 0.5, buckets([10, 0], [20, 10], [INF, 10]), 15],
  ["starts the lowest bucket at zero", 0.5, buckets([10, 10], [INF, 10]), 5],
  ["takes a rank on a bucket's count as its bound", 0.5, buckets([10, 5], [20, 10], [INF, 10]), 10],
  ["answers the highest finite bound in the +Inf bucket", 0.99, buckets([10, 5], [INF, 10]), 10],
  ["answers a bound that is not positive as it is", 0.5, buckets([-5, 10], [INF, 10]), -5],
  ["raises counts that fall", 0.5, buckets([10, 4], [20, 3], [30, 8], [INF, 8]), 10],
  ["P100 is the last bound that holds everything", 1, buckets([10, 5], [20, 8], [INF, 8]), 20],
  ["has no answer without observations", 0.99, buckets([10, 0], [INF, 0]), undefined],
  ["has no answer without a +Inf bucket", 0.99, buckets([10, 1], [20, 2]), undefined],
  ["has no answer from +Inf alone", 0.99, buckets([INF, 7]), undefined],
  ["has no answer from nothing", 0.99, [], undefined],
];

for (const [name, q, input, expected] of TABLE) {
  test(name, () => assert.equal(histogramQuantile(q, input), expected));
}

const BOUNDS = [1, 2, 5, 10, 25, 50, 100, 250, 500, 1000];
const values = fc.array(fc.double({ min: 0.001, max: 1000, noNaN: true }), { minLength: 1 });
const histogramOf = (observations: readonly number[]): Bucket[] =>
  [...BOUNDS, INF].map((upperBound) => ({
    upperBound,
    count: observations.filter((value) => value <= upperBound).length,
  }));

test("lies in the bucket of the true quantile", () => {
  fc.assert(
    fc.property(values, fc.double({ min: 0.001, max: 1, noNaN: true }), (observations, q) => {
      const estimate = histogramQuantile(q, histogramOf(observations)) ?? Number.NaN;
      const sorted = observations.toSorted((a, b) => a - b);
      const truth = sorted[Math.ceil(q * sorted.length) - 1] ?? Number.NaN;
      const upper = BOUNDS.find((bound) => truth <= bound) ?? INF;
      const lower = BOUNDS.findLast((bound) => bound < truth) ?? 0;
      assert.ok(lower <= estimate && estimate <= upper, `${lower} <= ${estimate} <= ${upper}`);
    }),
  );
});

test("grows with q", () => {
  const unit = fc.double({ min: 0.001, max: 1, noNaN: true });
  fc.assert(
    fc.property(values, unit, unit, (observations, a, b) => {
      const histogram = histogramOf(observations);
      const low = histogramQuantile(Math.min(a, b), histogram) ?? Number.NaN;
      const high = histogramQuantile(Math.max(a, b), histogram) ?? Number.NaN;
      assert.ok(low <= high);
    }),
  );
});

test("does not depend on the number of observations, only on their shares", () => {
  fc.assert(
    fc.property(values, fc.integer({ min: 2, max: 64 }), (observations, factor) => {
      const once = histogramOf(observations);
      const often = once.map((bucket) => ({ ...bucket, count: bucket.count * factor }));
      const [a, b] = [histogramQuantile(0.9, once), histogramQuantile(0.9, often)];
      assert.ok(Math.abs((a ?? Number.NaN) - (b ?? Number.NaN)) < 1e-6);
    }),
  );
});
