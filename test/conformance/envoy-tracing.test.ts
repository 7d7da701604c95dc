import assert from "node:assert/strict";
import { before, describe, test } from "node:test";
import { skipWithout } from "../support/tools.ts";
import { runTracingTable, type TracingResult } from "./support/tracing-run.ts";
import { TRACING_LISTENERS, TRACING_ROUTES, TRACING_ROWS } from "./support/tracing-table.ts";

describe("tracing as Envoy's", { skip: skipWithout("envoy") }, () => {
  let envoy: TracingResult | undefined;
  let ours: TracingResult | undefined;

  before(async () => {
    const both = { envoy: true, ours: true };
    ({ envoy, ours } = await runTracingTable(
      TRACING_LISTENERS,
      TRACING_ROUTES,
      TRACING_ROWS,
      both,
    ));
  });

  for (const { name, spans } of TRACING_ROWS) {
    test(name, () => {
      const expected = envoy?.outcomes.get(name);
      assert.equal(expected?.spans.length, spans);
      assert.deepEqual(ours?.outcomes.get(name), expected);
    });
  }

  test("the same counters", () => {
    assert.ok(Object.keys(envoy?.counters ?? {}).length > 30);
    assert.deepEqual(ours?.counters, envoy?.counters);
  });

  test("reports go to the same places", () => {
    assert.equal(envoy?.reports.length, 4);
    assert.deepEqual(ours?.reports, envoy?.reports);
  });
});
