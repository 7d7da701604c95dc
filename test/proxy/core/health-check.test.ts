import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import {
  afterCheck,
  containsInOrder,
  type HealthCheckConfig,
  nextCheckMs,
  type ProbeResult,
  UNCHECKED,
} from "../../../src/proxy/core/health-check.ts";

const THRESHOLDS = { healthyThreshold: 2, unhealthyThreshold: 3 };

const RESULTS: Readonly<Record<string, ProbeResult>> = {
  "+": { kind: "passed", isDegraded: false },
  d: { kind: "passed", isDegraded: true },
  "-": { kind: "failed", isRetriable: false },
  r: { kind: "failed", isRetriable: true },
  x: { kind: "unreachable" },
};

/** What a host is after each of a row of checks: H healthy, D degraded, U unhealthy, lower case = about to change. */
function follow(checks: string): string {
  let state = UNCHECKED;
  let out = "";
  for (const check of checks) {
    const result = RESULTS[check];
    assert.ok(result !== undefined);
    state = afterCheck(state, result, THRESHOLDS);
    const letter = !state.isHealthy ? "U" : state.isDegraded ? "D" : "H";
    out += state.against > 0 ? letter.toLowerCase() : letter;
  }
  return out;
}

for (const [name, checks, states] of [
  ["the first check decides", "+", "H"],
  ["the first failure leaves it unhealthy", "x", "U"],
  ["after that it takes the healthy threshold", "x++", "UuH"],
  ["a failure starts the count again", "x+x++", "UuUuH"],
  ["a status that is not expected puts it out at once", "+-", "HU"],
  ["silence counts to the threshold", "+xxx", "HhhU"],
  ["retriable statuses count to the threshold", "+rrr", "HhhU"],
  ["silence and retriable statuses count together", "+xrx", "HhhU"],
  ["an answer starts the count again", "+xx+xxx", "HhhHhhU"],
  ["degraded comes and goes with the header", "+d+", "HDH"],
  ["degraded lasts while nobody answers", "dx", "Dd"],
] as const) {
  test(`health of a host: ${name}`, () => assert.equal(follow(checks), states));
}

test("a host is never healthy without a passed check, and so many failures end it", () => {
  fc.assert(
    fc.property(fc.array(fc.constantFrom("+", "d", "-", "r", "x"), { maxLength: 30 }), (checks) => {
      const states = follow(checks.join(""));
      for (const [i, state] of [...states].entries()) {
        const soFar = checks.slice(0, i + 1);
        if (!soFar.some((check) => check === "+" || check === "d")) assert.match(state, /u/i);
        const last = soFar.slice(-THRESHOLDS.unhealthyThreshold);
        const isSilent = last.every((check) => !"+d".includes(check));
        if (isSilent && last.length === THRESHOLDS.unhealthyThreshold) assert.equal(state, "U");
      }
    }),
  );
});

const CONFIG: HealthCheckConfig = {
  ...THRESHOLDS,
  timeoutMs: 1,
  intervalMs: 100,
  healthyEdgeIntervalMs: 200,
  unhealthyIntervalMs: 300,
  unhealthyEdgeIntervalMs: 400,
  noTrafficIntervalMs: 500,
  noTrafficHealthyIntervalMs: 600,
  initialJitterMs: 0,
  intervalJitterMs: 0,
  intervalJitterPercent: 0,
  reusesConnection: true,
  altPort: undefined,
  alpnProtocols: [],
  probe: { kind: "tcp", send: undefined, receive: [] },
};

for (const [hasTraffic, hasPassed, against, expected] of [
  [true, true, 0, 100],
  [true, true, 1, 200],
  [true, false, 0, 300],
  [true, false, 1, 400],
  [false, false, 0, 500],
  [false, true, 1, 500],
  [false, true, 0, 600],
] as const) {
  test(`next check: traffic ${hasTraffic}, passed ${hasPassed}, pending ${against}: ${expected} ms`, () => {
    const state = { isHealthy: hasPassed, isDegraded: false, isFirstCheck: false, against };
    assert.equal(
      nextCheckMs(state, hasPassed, hasTraffic, CONFIG, () => 0.5),
      expected,
    );
  });
}

test("jitter is added, by percent and by time", () => {
  const state = { isHealthy: true, isDegraded: false, isFirstCheck: false, against: 0 };
  const config = { ...CONFIG, intervalJitterPercent: 10, intervalJitterMs: 40 };
  assert.equal(
    nextCheckMs(state, true, true, config, () => 0.5),
    100 + 5 + 20,
  );
});

for (const [bytes, patterns, expected] of [
  ["hello world", [], true],
  ["hello world", ["hello", "world"], true],
  ["hello world", ["world", "hello"], false],
  ["abab", ["aba", "b"], true],
  ["aba", ["ab", "ba"], false],
  ["", ["a"], false],
] as const) {
  test(`${JSON.stringify(bytes)} ${expected ? "has" : "lacks"} ${JSON.stringify(patterns)}`, () => {
    const list = patterns.map((pattern) => Buffer.from(pattern));
    assert.equal(containsInOrder(Buffer.from(bytes), list), expected);
  });
}
