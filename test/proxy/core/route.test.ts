import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { rescue } from "../../../src/proxy/core/rescue.ts";
import {
  retriesReset,
  retriesResponse,
  retryBackoffMs,
} from "../../../src/proxy/core/retry-policy.ts";
import { pickWeighted, rewritePath, selectRoute } from "../../../src/proxy/core/route.ts";

const exact = (path: string, ignoreCase = false) => ({ kind: "exact", path, ignoreCase }) as const;
const prefix = (text: string, ignoreCase = false) =>
  ({ kind: "prefix", prefix: text, ignoreCase }) as const;
const separated = (text: string) =>
  ({ kind: "pathSeparatedPrefix", prefix: text, ignoreCase: false }) as const;
const regex = (text: string) => ({ kind: "regex", regex: new RegExp(`^(?:${text})$`) }) as const;

const PATHS = [
  [exact("/a"), "/a", true],
  [exact("/a"), "/a/", false],
  [exact("/a", true), "/A", true],
  [prefix("/api/v2"), "/api/v2x", true],
  [prefix("/api/v2"), "/api/v1", false],
  [prefix("/API", true), "/api/x", true],
  [separated("/api"), "/api", true],
  [separated("/api"), "/api/x", true],
  [separated("/api"), "/apix", false],
  [regex("/rx/[a-z]+"), "/rx/abc", true],
  [regex("/rx/[a-z]+"), "/rx/abc1", false],
] as const;
for (const [path, target, isMatch] of PATHS) {
  test(`${JSON.stringify(path)} ${isMatch ? "matches" : "does not match"} ${target}`, () => {
    const found = selectRoute([{ path, headers: [], queryParameters: [] }], target, {
      get: () => undefined,
      sample: 0,
    });
    assert.equal(found !== undefined, isMatch);
  });
}

test("the first route whose path and all headers match wins", () => {
  const user = { name: "user", matches: (value: string | undefined) => value === "jason" };
  const routes = [
    { name: "jason", path: prefix("/"), headers: [user], queryParameters: [] },
    { name: "exact", path: exact("/x"), headers: [], queryParameters: [] },
    { name: "rest", path: prefix("/"), headers: [], queryParameters: [] },
  ];
  const pick = (path: string, value?: string) =>
    selectRoute(routes, path, { get: () => value, sample: 0 })?.name;
  assert.equal(pick("/x", "jason"), "jason");
  assert.equal(pick("/x"), "exact");
  assert.equal(pick("/y"), "rest");
});

const QUERIES = [
  ["/a?user=jason", "jason", true],
  ["/a?x=1&user=jason#top", "jason", true],
  ["/a?user=tom&user=jason", "jason", false],
  ["/a?user=jas%6Fn", "jason", false],
  ["/a?user", "", true],
  ["/a?user=", "", true],
  ["/a?user=a=b", "a=b", true],
  ["/a?users=jason", "jason", false],
  ["/a", "", false],
] as const;
for (const [target, value, isMatch] of QUERIES) {
  test(`${target} ${isMatch ? "has" : "does not have"} the parameter user=${value}`, () => {
    const user = { name: "user", matches: (found: string | undefined) => found === value };
    const route = { path: prefix("/"), headers: [], queryParameters: [user] };
    assert.equal(
      selectRoute([route], target, { get: () => undefined, sample: 0 }) !== undefined,
      isMatch,
    );
  });
}

test("weights: every choice gets the part of [0, 1) that its weight says; zero gets none", () => {
  fc.assert(
    fc.property(fc.array(fc.nat(100), { minLength: 1, maxLength: 5 }), (weights) => {
      const total = weights.reduce((a, b) => a + b, 0);
      fc.pre(total > 0 && weights.length > 1);
      const choices = weights.map((weight, name) => ({ weight, name }));
      const counts = weights.map(() => 0);
      for (let i = 0; i < total; i += 1) {
        const choice = pickWeighted(choices, total, (i + 0.5) / total);
        counts[choice?.name ?? -1] = (counts[choice?.name ?? -1] ?? 0) + 1;
      }
      assert.deepEqual(counts, weights);
    }),
  );
});

const REWRITES = [
  [prefix("/old"), "/old/a?b", "/new", "/new/a?b"],
  [prefix("/"), "/a", "/v2/", "/v2/a"],
  [exact("/old"), "/old?q", "/new", "/new?q"],
] as const;
for (const [path, target, to, expected] of REWRITES) {
  test(`${target} rewritten to ${to} is ${expected}`, () =>
    assert.equal(rewritePath(path, target, to), expected));
}

const policy = (on: string, codes: number[] = []) => ({
  retryOn: new Set(on.split(",")),
  retriableStatusCodes: new Set(codes),
  retriableHeaders: [{ name: "x-busy", matches: (value: string | undefined) => value === "1" }],
});
const answer = (status: number, headers: Readonly<Record<string, string>> = {}) => ({
  status,
  headers: {
    get: (name: string) => headers[name],
    values: (name: string) => headers[name]?.split(",") ?? [],
  },
});
const RESPONSES = [
  ["5xx", 500, true],
  ["5xx", 499, false],
  ["gateway-error", 500, false],
  ["gateway-error", 503, true],
  ["retriable-4xx", 409, true],
  ["retriable-4xx", 404, false],
  ["connect-failure,refused-stream,unavailable", 503, false],
] as const;
for (const [on, status, expected] of RESPONSES) {
  test(`retry_on ${on}: ${status} is ${expected ? "" : "not "}retried`, () =>
    assert.equal(retriesResponse(policy(on), answer(status)), expected));
}

for (const [on, status, headers, expected] of [
  ["retriable-status-codes", 418, {}, true],
  ["5xx", 418, {}, false],
  ["5xx", 503, { "x-envoy-ratelimited": "true" }, false],
  ["envoy-ratelimited", 429, { "x-envoy-ratelimited": "true" }, true],
  ["unavailable", 200, { "grpc-status": "14" }, true],
  ["unavailable", 200, { "grpc-status": "13" }, false],
  ["retriable-headers", 200, { "x-busy": "1" }, true],
  ["retriable-headers", 200, { "x-busy": "0" }, false],
  ["retriable-headers", 200, { "x-busy": "0,1" }, true],
  ["retriable-headers", 200, {}, false],
  ["5xx", 200, { "x-busy": "1" }, false],
] as const) {
  test(`retry_on ${on}: ${status} with ${JSON.stringify(headers)}: ${expected}`, () => {
    assert.equal(retriesResponse(policy(on, [418]), answer(status, headers)), expected);
  });
}

const RESETS = [
  ["connect-failure", "remote connection failure", false, true],
  ["connect-failure", "connection timeout", false, true],
  ["connect-failure", "connection termination", true, false],
  ["reset-before-request", "remote connection failure", false, true],
  ["reset-before-request", "connection termination", true, false],
  ["reset", "connection termination", true, true],
  ["5xx", "connection termination", true, true],
  ["5xx", "overflow", false, false],
  ["retriable-4xx", "protocol error", true, false],
] as const;
for (const [on, reason, hasStarted, expected] of RESETS) {
  test(`retry_on ${on}: ${reason}${hasStarted ? " after the request" : ""}: ${expected}`, () =>
    assert.equal(retriesReset(policy(on), reason, hasStarted), expected));
}

test("back-off grows from nothing to at most ten times the base", () => {
  const limits = { backoffBaseMs: 25, backoffMaxMs: 250 };
  const ceilings = [1, 2, 3, 4, 9].map((retry) => retryBackoffMs(limits, retry, 1));
  assert.deepEqual(ceilings, [25, 75, 175, 250, 250]);
  assert.equal(retryBackoffMs(limits, 3, 0), 0);
});

test("an overflow tells the client so", () => {
  const answer = rescue({ kind: "reset", reason: "overflow", transportFailure: "" });
  assert.deepEqual(answer, {
    status: 503,
    body: "upstream connect error or disconnect/reset before headers. reset reason: overflow",
    flag: "UO",
    details: "upstream_reset_before_response_started{overflow}",
    isOverloaded: true,
  });
});
