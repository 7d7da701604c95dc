import assert from "node:assert/strict";
import { test } from "node:test";
import { skipWithout } from "../support/tools.ts";
import { assertExpected, runConfigTable } from "./support/config-table.ts";
import { PATH_TABLE } from "./support/table-paths.ts";

const skip = skipWithout("envoy");

test("paths and hosts as Envoy takes them", { skip }, async (t) => {
  const { envoy, ours } = await runConfigTable(PATH_TABLE, true);
  for (const row of PATH_TABLE.rows) {
    await t.test(row.name, () => {
      const [theirs, mine] = [envoy?.get(row.name), ours.get(row.name)];
      assert.ok(theirs !== undefined && mine !== undefined);
      assertExpected(row, theirs);
      if (row.refusal === true) assert.equal(mine.status, 400);
      else assert.deepEqual(mine, theirs);
    });
  }
});
