import assert from "node:assert/strict";
import { test } from "node:test";
import type { Exchange } from "../../../src/cli/demo/load-client.ts";
import { problemsOf, type RolloutRecord, reportRollout } from "../../../src/cli/demo/report.ts";

const exchange = (startMs: number, endMs: number, version: string, status = 200): Exchange => ({
  startMs,
  endMs,
  version,
  status,
  error: undefined,
});
const GOOD: RolloutRecord = {
  canary: "default/reviews",
  from: "v1",
  to: "v2",
  outcome: "Succeeded",
  reason: "",
  startMs: 1000,
  endMs: 9000,
  weights: [
    { weightPercent: 10, setMs: 2000, inEffectMs: 2100 },
    { weightPercent: 50, setMs: 4000, inEffectMs: 4100 },
    { weightPercent: 100, setMs: 6000, inEffectMs: undefined },
    { weightPercent: 0, setMs: 8000, inEffectMs: 8100 },
  ],
};

test("a step counts only requests that lay wholly within it", () => {
  const report = reportRollout(GOOD, [
    exchange(2050, 2060, "v1"),
    exchange(2100, 2110, "v1"),
    exchange(2200, 2210, "v2"),
    exchange(3990, 4010, "v2"),
    exchange(4200, 4210, "v2"),
    exchange(6100, 6110, "v2"),
  ]);
  assert.deepEqual(report.weights, [10, 50, 100]);
  assert.deepEqual(report.steps, [
    { weight: 10, durationMs: 1900, requests: { v1: 1, v2: 1 } },
    { weight: 50, durationMs: 1900, requests: { v1: 0, v2: 1 } },
    { weight: 100, durationMs: 2000, requests: { v1: 0, v2: 1 } },
  ]);
  assert.deepEqual([report.durationMs, report.clientFailures, report.rollback], [8000, 0, null]);
});

const FAILED: RolloutRecord = {
  ...GOOD,
  from: "v2",
  to: "v3",
  outcome: "Failed",
  reason: "Halt",
  weights: [
    { weightPercent: 10, setMs: 2000, inEffectMs: 2100 },
    { weightPercent: 0, setMs: 5000, inEffectMs: 5200 },
  ],
};

test("a rollback is timed from the first bad answer to the weight in effect", () => {
  const none = { status: undefined, version: undefined, error: "socket hang up" };
  const report = reportRollout(FAILED, [
    exchange(500, 510, "v3", 500),
    exchange(2190, 2200, "v3", 500),
    { startMs: 2300, endMs: 2301, ...none },
    exchange(9001, 9002, "v3", 500),
  ]);
  assert.equal(report.clientFailures, 2);
  assert.deepEqual(report.rollback, {
    reason: "Halt",
    firstBadRequestToWeightZeroMs: 3000,
    failedRequests: 2,
  });
});

test("a rollback without a bad answer took no time", () => {
  assert.equal(reportRollout(FAILED, []).rollback?.firstBadRequestToWeightZeroMs, 0);
});

test("the demo is judged by weights, failures and outcomes", () => {
  const [good, bad] = [reportRollout(GOOD, []), reportRollout(FAILED, [])];
  assert.deepEqual(problemsOf([good, bad]), []);
  assert.match(problemsOf([])[0] ?? "", /ended before it began/);
  assert.match(problemsOf([{ ...good, weights: [10, 100] }, bad])[0] ?? "", /weights 10, 100/);
  assert.match(problemsOf([{ ...good, clientFailures: 1 }, bad])[0] ?? "", /1 client requests/);
  assert.match(problemsOf([good, { ...bad, outcome: "Succeeded" }])[0] ?? "", /faulty rollout/);
});
