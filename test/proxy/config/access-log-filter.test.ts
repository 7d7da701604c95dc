import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { compileAccessLogFilter } from "../../../src/proxy/core/compile/access-log-filter.ts";
import { compileResource } from "../../../src/proxy/core/compile/scope.ts";
import type { envoy_config_accesslog_v3_AccessLogFilter as AccessLogFilter } from "../../../src/xds/index.ts";
import { message } from "../ads/resources.ts";
import { record } from "../telemetry/record.ts";

const compile = (json: object) =>
  compileResource("Listener l", (scope) =>
    compileAccessLogFilter(message("envoy.config.accesslog.v3.AccessLogFilter", json), scope),
  );
const never = (): never => assert.fail("no randomness needed");
const comparison = { value: { default_value: 1, runtime_key: "k" } };

const BAD: readonly (readonly [filter: object, path: RegExp])[] = [
  [{}, /must set one of status_code_filter, /],
  [{ status_code_filter: {} }, /status_code_filter\.comparison: is required/],
  [{ status_code_filter: { comparison: {} } }, /comparison\.value: is required/],
  [{ duration_filter: { comparison: { value: {} } } }, /value\.runtime_key: is required/],
  [{ runtime_filter: {} }, /runtime_filter\.runtime_key: must not be empty/],
  [{ and_filter: { filters: [{ not_health_check_filter: {} }] } }, /and_filter\.filters: .* 1/],
  [
    { or_filter: { filters: [{ not_health_check_filter: {} }, { header_filter: {} }] } },
    /or_filter\.filters\[1\]\.header_filter\.header: is required/,
  ],
  [{ response_flag_filter: { flags: ["UF", "ZZ"] } }, /flags\[1\]: ZZ/],
  [{ metadata_filter: { matcher: { filter: "f" } } }, /matcher\.path: .*matcher\.value: is req/],
  [{ extension_filter: { name: "envoy.x" } }, /extension_filter: envoy\.x is not supported/],
];

for (const [filter, path] of BAD) {
  test(`refused with its path: ${JSON.stringify(filter)}`, () => {
    assert.throws(() => compile(filter), { message: path });
  });
}

/** As they come off the wire: an enum is any number there. */
const UNKNOWN_NUMBERS: readonly (readonly [filter: object, path: RegExp])[] = [
  [{ duration_filter: { comparison: { ...comparison, op: 7 } } }, /comparison\.op: must be/],
  [{ grpc_status_filter: { statuses: [17] } }, /statuses\[0\]/],
  [{ log_type_filter: { types: [6, 99] } }, /types\[1\]/],
];

for (const [filter, path] of UNKNOWN_NUMBERS) {
  test(`a number that nobody knows: ${JSON.stringify(filter)}`, () => {
    const decoded: AccessLogFilter = JSON.parse(JSON.stringify(filter));
    const compileIt = () =>
      compileResource("Listener l", (scope) => compileAccessLogFilter(decoded, scope));
    assert.throws(compileIt, { message: path });
  });
}

test("records of one request id are all sampled or none, the wanted part of them", () => {
  const id = fc.integer({ min: 0, max: 0xffff_ffff });
  fc.assert(
    fc.property(id, fc.integer({ min: 0, max: 100 }), (number, numerator) => {
      const text = `${number.toString(16).padStart(8, "0")}-0000`;
      const requestHeader = (name: string) => (name === "x-request-id" ? text : undefined);
      const passes = compile({
        runtime_filter: { runtime_key: "k", percent_sampled: { numerator } },
      });
      assert.equal(passes(record({ requestHeader }), never), number % 100 < numerator);
    }),
  );
});

test("without a request id, or independently of it, records are sampled by chance", () => {
  const requestHeader = () => "00000000-0000";
  const runtime_filter = { runtime_key: "k", percent_sampled: { numerator: 30 } };
  const byId = compile({ runtime_filter });
  const byChance = compile({
    runtime_filter: { ...runtime_filter, use_independent_randomness: true },
  });
  for (const [random, isPassed] of [
    [0, true],
    [0.299, true],
    [0.3, false],
    [0.999, false],
  ] as const) {
    assert.equal(
      byId(record(), () => random),
      isPassed,
    );
    assert.equal(
      byChance(record({ requestHeader }), () => random),
      isPassed,
    );
  }
});

test("requests whose sender insists on a trace are traceable, others are not", () => {
  const passes = compile({ traceable_filter: {} });
  assert.equal(passes(record({ isTraceForced: true }), never), true);
  assert.equal(passes(record(), never), false);
});
