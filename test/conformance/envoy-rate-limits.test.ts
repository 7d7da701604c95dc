import assert from "node:assert/strict";
import { test } from "node:test";
import { skipWithout } from "../support/tools.ts";
import { runConfigTable } from "./support/config-table.ts";
import { RATE_LIMIT_TABLE } from "./support/table-rate-limits.ts";

test("rate limits by descriptors as Envoy's", { skip: skipWithout("envoy") }, async (t) => {
  const { rows } = RATE_LIMIT_TABLE;
  const { envoy, ours } = await runConfigTable(RATE_LIMIT_TABLE, true);
  for (const row of rows) {
    await t.test(row.name, () => {
      assert.ok(envoy?.get(row.name) !== undefined);
      assert.deepEqual(ours.get(row.name), envoy.get(row.name));
    });
  }
  // A guard against rules that never bite.
  await t.test("Envoy refuses as many as we counted", () => {
    const refused = rows.filter(({ name }) => envoy?.get(name)?.status === 429);
    assert.equal(refused.length, 351);
  });
});
