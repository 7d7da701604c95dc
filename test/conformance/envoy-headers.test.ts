import assert from "node:assert/strict";
import { test } from "node:test";
import { skipWithout } from "../support/tools.ts";
import { assertExpected, runConfigTable } from "./support/config-table.ts";
import { HEADER_TABLE } from "./support/table-headers.ts";

const skip = skipWithout("envoy");

test("header edits and their operators as Envoy's", { skip }, async (t) => {
  const { envoy, ours } = await runConfigTable(HEADER_TABLE, true);
  for (const row of HEADER_TABLE.rows) {
    await t.test(row.name, () => {
      const [theirs, mine] = [envoy?.get(row.name), ours.get(row.name)];
      assert.ok(theirs !== undefined && mine !== undefined);
      assertExpected(row, theirs);
      assert.deepEqual(mine, theirs);
    });
  }
});
