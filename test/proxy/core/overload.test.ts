import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import {
  AT_EASE,
  actionLevel,
  type OverloadTrigger,
  overloadState,
  scaledTimeoutMs,
} from "../../../src/proxy/core/overload.ts";

const at = (pressure: number) => new Map([["m", pressure]]);
const threshold: OverloadTrigger = { kind: "threshold", monitor: "m", at: 0.9 };
const scaled: OverloadTrigger = { kind: "scaled", monitor: "m", from: 0.5, to: 0.75 };

const LEVELS: readonly (readonly [trigger: OverloadTrigger, pressure: number, level: number])[] = [
  [threshold, 0.89, 0],
  [threshold, 0.9, 1],
  [threshold, 1.5, 1],
  [scaled, 0.5, 0],
  [scaled, 0.625, 0.5],
  [scaled, 0.75, 1],
];
for (const [trigger, pressure, level] of LEVELS) {
  test(`a ${trigger.kind} trigger at ${pressure}: ${level}`, () => {
    assert.equal(actionLevel([trigger], at(pressure)), level);
  });
}

test("the trigger that asks for most decides, and a resource without news is at ease", () => {
  const other: OverloadTrigger = { kind: "threshold", monitor: "other", at: 0.1 };
  assert.equal(actionLevel([threshold, scaled, other], at(0.625)), 0.5);
  const actions = [{ name: "x", kind: "rejectConnections", triggers: [other, scaled] }] as const;
  assert.deepEqual(overloadState(actions, at(0.75)), { ...AT_EASE, rejectConnections: 1 });
});

test("levels are within 0..1 and do not fall while the pressure rises", () => {
  const pressure = fc.double({ min: 0, max: 2, noNaN: true });
  fc.assert(
    fc.property(pressure, pressure, (a, b) => {
      const [low, high] = [Math.min(a, b), Math.max(a, b)].map((p) =>
        actionLevel([threshold, scaled], at(p)),
      );
      assert.ok(low !== undefined && high !== undefined && low >= 0 && low <= high && high <= 1);
    }),
  );
});

const TIMEOUTS: readonly (readonly [level: number, timeoutMs: number, expected: number])[] = [
  [0, 1000, 1000],
  [0.5, 1000, 550],
  [1, 1000, 100],
  [1, 50, 50],
  [1, 0, 0],
];
for (const [level, timeoutMs, expected] of TIMEOUTS) {
  test(`an idle timeout of ${timeoutMs} ms at level ${level}: ${expected} ms`, () => {
    const timers = [{ timer: "connectionIdle", minimum: { ms: 100 } }] as const;
    assert.equal(scaledTimeoutMs(timers, level, "connectionIdle", timeoutMs), expected);
    assert.equal(scaledTimeoutMs(timers, level, "streamIdle", timeoutMs), timeoutMs);
  });
}

test("a part of the timeout is left where the minimum is one", () => {
  const timers = [{ timer: "streamIdle", minimum: { part: 0.2 } }] as const;
  assert.equal(scaledTimeoutMs(timers, 1, "streamIdle", 1000), 200);
});
