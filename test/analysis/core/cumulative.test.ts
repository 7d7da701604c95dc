import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { growth } from "../../../src/analysis/core/cumulative.ts";

const row = (...numbers: number[]): Float64Array => Float64Array.from(numbers);

test("is the difference while the process lives", () => {
  assert.deepEqual(growth(row(5, 1, 2), row(8, 1, 4)), row(3, 0, 2));
});

test("is everything counted since a restart", () => {
  assert.deepEqual(growth(row(100), row(7)), row(7));
});

test("takes one fallen number as a restart of the whole row", () => {
  assert.deepEqual(growth(row(10, 10, 4), row(12, 9, 4)), row(12, 9, 4));
});

test("adds up to everything counted in all lives of a process", () => {
  // Restarts that a sampler can see: each life's first sample is below the last one before it.
  const life = fc.tuple(
    fc.double({ min: 0, max: 0.99, noNaN: true }),
    fc.array(fc.nat({ max: 999 })),
  );
  fc.assert(
    fc.property(fc.array(life), (lives) => {
      let [expected, sum] = [0, 0];
      let last = row(0);
      for (const [share, steps] of lives) {
        let counter = Math.floor((last[0] ?? 0) * share);
        expected += counter;
        for (const step of [0, ...steps]) {
          counter += step;
          expected += step;
          sum += growth(last, row(counter))[0] ?? 0;
          last = row(counter);
        }
      }
      assert.equal(sum, expected);
    }),
  );
});
