import assert from "node:assert/strict";
import { test } from "node:test";
import { createPushPacer } from "../../src/mesh/push-pacer.ts";
import { ManualClock } from "../support/manual-clock.ts";

interface Worker {
  readonly name: string;
  readonly bytes: number;
}

/** Workers that write; what they wrote is taken by hand. */
function world(maxBytes: number) {
  const clock = new ManualClock();
  const done: string[] = [];
  const taken: (() => void)[] = [];
  const pacer = createPushPacer<Worker>({
    clock,
    maxBytes,
    work({ name, bytes }) {
      done.push(name);
      taken.push(pacer.wrote(bytes));
    },
  });
  return { clock, done, taken, pacer };
}

test("work waits while too much is on its way, and goes on in the order it came", () => {
  const { done, taken, pacer } = world(10);
  for (const name of ["a", "b", "c", "d"]) pacer.run({ name, bytes: 6 });
  assert.deepEqual(done, ["a", "b"]);
  taken[0]?.();
  assert.deepEqual(done, ["a", "b", "c"]);
  taken[0]?.();
  assert.deepEqual(done, ["a", "b", "c"], "told twice it counts once");
  taken[1]?.();
  assert.deepEqual(done, ["a", "b", "c", "d"]);
});

test("who waits already waits once, and who left is not waited for", () => {
  const { done, taken, pacer } = world(1);
  const late: Worker = { name: "late", bytes: 1 };
  const gone: Worker = { name: "gone", bytes: 1 };
  pacer.run({ name: "first", bytes: 1 });
  for (const each of [late, gone, late]) pacer.run(each);
  pacer.forget(gone);
  taken[0]?.();
  taken[1]?.();
  assert.deepEqual(done, ["first", "late"]);
});

test("a proxy that never reads holds up the others for a second only", () => {
  const { clock, done, pacer } = world(1);
  pacer.run({ name: "stuck", bytes: 100 });
  pacer.run({ name: "other", bytes: 1 });
  clock.advance(999);
  assert.deepEqual(done, ["stuck"]);
  clock.advance(1);
  assert.deepEqual(done, ["stuck", "other"]);
});
