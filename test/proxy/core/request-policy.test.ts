import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { loadWithoutTried } from "../../../src/proxy/core/balance/previous-priorities.ts";
import { isInternalRequest } from "../../../src/proxy/core/forwarded-for.ts";
import { ipRange } from "../../../src/proxy/core/ip-range.ts";
import {
  overriddenRetryPolicy,
  overriddenTimeoutMs,
} from "../../../src/proxy/core/request-overrides.ts";
import { rateLimitedBackoffMs } from "../../../src/proxy/core/retry-policy.ts";
import {
  formatGrpcTimeout,
  parseGrpcTimeout,
  type RouteTimeouts,
  responseTimeoutMs,
  streamDurationMs,
} from "../../../src/proxy/core/route-timeouts.ts";
import { retryPolicy } from "../../support/proxy-fixture.ts";

const reader = (headers: Readonly<Record<string, string>>) => (name: string) => headers[name];

test("headers of a trusted caller add to what is retried and replace the numbers", () => {
  const policy = overriddenRetryPolicy(
    retryPolicy("5xx"),
    reader({
      "x-envoy-retry-on": "reset, nonsense,retriable-status-codes",
      "x-envoy-retry-grpc-on": "cancelled,5xx",
      "x-envoy-max-retries": "7",
      "x-envoy-retriable-status-codes": "418,x,429",
      "x-envoy-retriable-header-names": "X-Busy",
      "x-envoy-upstream-rq-per-try-timeout-ms": "50",
    }),
  );
  assert.ok(policy !== undefined);
  assert.deepEqual([...policy.retryOn], ["5xx", "reset", "retriable-status-codes", "cancelled"]);
  assert.deepEqual([...policy.retriableStatusCodes], [418, 429]);
  assert.deepEqual([policy.numRetries, policy.perTryTimeoutMs], [7, 50]);
  assert.equal(policy.retriableHeaders[0]?.name, "x-busy");
});

test("without a policy headers make one of their own, and nothing makes none", () => {
  const policy = overriddenRetryPolicy(undefined, reader({ "x-envoy-retry-on": "5xx" }));
  assert.deepEqual([policy?.numRetries, policy?.backoffBaseMs], [1, 25]);
  assert.equal(overriddenRetryPolicy(undefined, reader({ "x-envoy-max-retries": "3" })), undefined);
  assert.equal(
    overriddenRetryPolicy(undefined, reader({ "x-envoy-retry-on": "bogus" })),
    undefined,
  );
});

for (const [text, expected] of [
  ["250", 250],
  ["0", 0],
  ["-1", 100],
  ["abc", 100],
  ["1.5", 100],
  [undefined, 100],
] as const) {
  test(`x-envoy-upstream-rq-timeout-ms ${text}: ${expected}`, () => {
    const headers = text === undefined ? {} : { "x-envoy-upstream-rq-timeout-ms": text };
    assert.equal(overriddenTimeoutMs(100, reader(headers)), expected);
  });
}

for (const [text, expected] of [
  ["1S", 1000],
  ["250m", 250],
  ["1M", 60_000],
  ["2H", 7_200_000],
  ["1u", 1],
  ["1500u", 2],
  ["0n", 0],
  ["99999999m", 99_999_999],
  ["100000000m", undefined],
  ["1", undefined],
  ["S", undefined],
  ["-1S", undefined],
  ["1s", undefined],
  ["", undefined],
  [undefined, undefined],
] as const) {
  test(`grpc-timeout ${JSON.stringify(text)} is ${expected}`, () => {
    assert.equal(parseGrpcTimeout(text), expected);
  });
}

test("a grpc-timeout that is written is read as the same or a little less", () => {
  fc.assert(
    fc.property(fc.nat(2 ** 31 - 1), (milliseconds) => {
      const read = parseGrpcTimeout(formatGrpcTimeout(milliseconds));
      assert.ok(
        read !== undefined && read <= milliseconds && read > milliseconds - 1000,
        `${read}`,
      );
    }),
  );
});

const TIMEOUTS: RouteTimeouts = {
  timeoutMs: 100,
  maxStreamDuration: undefined,
  maxGrpcTimeoutMs: undefined,
  grpcTimeoutOffsetMs: 0,
};
for (const [name, more, isGrpc, grpcMs, expected] of [
  ["the route's", {}, false, undefined, 100],
  ["gRPC, not asked for", {}, true, 50, 100],
  ["gRPC's own below the maximum", { maxGrpcTimeoutMs: 80 }, true, 50, 50],
  ["gRPC's own above the maximum", { maxGrpcTimeoutMs: 80 }, true, 500, 80],
  ["gRPC without one: the maximum", { maxGrpcTimeoutMs: 80 }, true, undefined, 80],
  ["any of gRPC", { maxGrpcTimeoutMs: 0 }, true, 500, 500],
  ["any of gRPC, none sent", { maxGrpcTimeoutMs: 0 }, true, undefined, 0],
  ["less the offset", { maxGrpcTimeoutMs: 0, grpcTimeoutOffsetMs: 20 }, true, 50, 30],
  ["the offset too large", { maxGrpcTimeoutMs: 0, grpcTimeoutOffsetMs: 60 }, true, 50, 50],
  ["not gRPC", { maxGrpcTimeoutMs: 80 }, false, undefined, 100],
] as const) {
  test(`response timeout: ${name}`, () => {
    assert.equal(responseTimeoutMs({ ...TIMEOUTS, ...more }, isGrpc, grpcMs), expected);
  });
}

const duration = (
  limitMs: number | undefined,
  grpcHeaderMaxMs: number | undefined,
  grpcHeaderOffsetMs = 0,
) => ({ ...TIMEOUTS, maxStreamDuration: { limitMs, grpcHeaderMaxMs, grpcHeaderOffsetMs } });
for (const [name, timeouts, grpcMs, expected] of [
  ["the manager's", TIMEOUTS, undefined, 9],
  ["the route's", duration(70, undefined), undefined, 70],
  ["the manager's, the route's unset", duration(undefined, undefined), undefined, 9],
  ["none", duration(0, undefined), undefined, 0],
  ["grpc-timeout", duration(70, 0), 50, 50],
  ["grpc-timeout, capped", duration(70, 40), 50, 40],
  ["grpc-timeout less the offset", duration(70, 0, 20), 50, 30],
  ["no grpc-timeout", duration(70, 0), undefined, 70],
] as const) {
  test(`stream duration: ${name}`, () => {
    assert.equal(streamDurationMs(timeouts, 9, grpcMs), expected);
    const hasOwn = timeouts.maxStreamDuration !== undefined;
    assert.equal(responseTimeoutMs(timeouts, false, undefined), hasOwn ? 0 : 100);
  });
}

const RESET = {
  maxIntervalMs: 10_000,
  resetHeaders: [
    { name: "retry-after", format: "seconds" },
    { name: "x-ratelimit-reset", format: "unixTimestamp" },
  ],
} as const;
for (const [name, headers, expected] of [
  ["seconds", { "retry-after": "2" }, 3000],
  ["a date", { "retry-after": "Wed, 21 Oct 2015 07:28:00 GMT" }, undefined],
  ["too long", { "retry-after": "11" }, undefined],
  ["a moment", { "x-ratelimit-reset": "1004" }, 6000],
  ["a moment gone by", { "x-ratelimit-reset": "999" }, undefined],
  ["the first sensible one", { "retry-after": "99", "x-ratelimit-reset": "1002" }, 3000],
  ["nothing", {}, undefined],
] as const) {
  test(`rate limited back-off: ${name}`, () => {
    const response = { headers: { get: reader(headers) } };
    assert.equal(rateLimitedBackoffMs(RESET, response, 1_000_500, 1), expected);
  });
}

const loopback = ipRange("127.0.0.0", 8) ?? (() => false);
for (const [useRemoteAddress, peer, forwarded, expected] of [
  [true, "127.0.0.1", undefined, true],
  [true, "10.0.0.1", undefined, false],
  [true, "127.0.0.1", "127.0.0.1", false],
  [false, "127.0.0.1", undefined, false],
  [false, "10.0.0.1", "127.0.0.1", true],
  [false, "10.0.0.1", "127.0.0.1,127.0.0.1", false],
  [false, "10.0.0.1", "8.8.8.8", false],
] as const) {
  test(`internal: ${useRemoteAddress} ${peer} ${forwarded}: ${expected}`, () => {
    const settings = { useRemoteAddress, xffTrustedHops: 0 };
    assert.equal(isInternalRequest(peer, forwarded, settings, loopback), expected);
  });
}

const FULL = { healthy: [100, 100, 100], degraded: [0, 0, 0] };
for (const [name, tried, frequency, expected] of [
  ["before the first", [0], 2, undefined],
  ["the priorities of two tries", [0, 0], 2, [0, 100, 0]],
  ["of two priorities", [0, 1], 2, [0, 0, 100]],
  ["all of them: begin anew", [0, 1, 2], 1, [100, 0, 0]],
  ["between updates the last counts", [0, 0, 1], 2, [0, 100, 0]],
] as const) {
  test(`previous priorities: ${name}`, () => {
    assert.deepEqual(loadWithoutTried(FULL, tried, frequency)?.healthy, expected);
  });
}
