import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { SampleRing } from "../../../src/analysis/core/sample-ring.ts";

const row = (...numbers: number[]): Float64Array => Float64Array.from(numbers);

function increaseAfter(ring: SampleRing, startMs: number, width = 1): number[] {
  const into = new Float64Array(width);
  ring.addIncrease(startMs, into);
  return [...into];
}

test("counts from the value that held when the window began", () => {
  const ring = new SampleRing(row(0), 10);
  ring.push(1000, row(5));
  ring.push(2000, row(9));
  ring.push(3000, row(20));
  assert.deepEqual(increaseAfter(ring, 500), [20], "before everything: from the base");
  assert.deepEqual(increaseAfter(ring, 1000), [15], "a sample at the start belongs before it");
  assert.deepEqual(increaseAfter(ring, 2999), [11]);
  assert.deepEqual(increaseAfter(ring, 3000), [0]);
});

test("counts from the oldest it knows when the window reaches further back", () => {
  const ring = new SampleRing(row(0), 2);
  for (let i = 1; i <= 5; i += 1) ring.push(i * 1000, row(i * 10));
  assert.equal(ring.length, 2);
  assert.deepEqual(increaseAfter(ring, 0), [20], "samples 4 and 5, counted from 3");
});

test("a second sample of the same moment replaces the first", () => {
  const ring = new SampleRing(row(0), 4);
  ring.push(1000, row(1));
  ring.push(1000, row(3));
  ring.push(900, row(4));
  assert.equal(ring.length, 1);
  assert.deepEqual(increaseAfter(ring, 0), [4]);
});

test("agrees with a plain list of samples for every window, capacity and width", () => {
  const small = fc.nat({ max: 9 });
  const steps = fc.array(fc.tuple(fc.integer({ min: 1, max: 50 }), small, small), {
    maxLength: 60,
  });
  const anyTime = fc.nat({ max: 3000 });
  fc.assert(
    fc.property(
      steps,
      fc.integer({ min: 1, max: 70 }),
      anyTime,
      anyTime,
      (list, max, start, cut) => {
        const ring = new SampleRing(row(0, 0), max);
        const plain: { timeMs: number; row: number[] }[] = [];
        let base = [0, 0];
        const dropOldest = (): void => {
          base = plain.shift()?.row ?? base;
        };
        let [timeMs, a, b] = [0, 0, 0];
        for (const [gapMs, grownA, grownB] of list) {
          [timeMs, a, b] = [timeMs + gapMs, a + grownA, b + grownB];
          if (plain.length === max) dropOldest();
          plain.push({ timeMs, row: [a, b] });
          ring.push(timeMs, row(a, b));
        }
        while ((plain[0]?.timeMs ?? cut) < cut) dropOldest();
        ring.dropBefore(cut);
        const from = plain.findLast((sample) => sample.timeMs <= start)?.row ?? base;
        const to = plain.at(-1)?.row ?? base;
        assert.equal(ring.length, plain.length);
        assert.deepEqual(
          increaseAfter(ring, start, 2),
          to.map((value, i) => value - (from[i] ?? 0)),
        );
      },
    ),
  );
});
