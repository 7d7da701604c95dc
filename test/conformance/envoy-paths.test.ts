import assert from "node:assert/strict";
import { test } from "node:test";
import { skipWithout } from "../support/tools.ts";
import { assertExpected, http2Rows, runConfigTable } from "./support/config-table.ts";
import { PATH_TABLE } from "./support/table-paths.ts";

const skip = skipWithout("envoy");

for (const client of ["http1", "http2"] as const) {
  test(`paths and hosts as Envoy takes them: ${client}`, { skip }, async (t) => {
    const rows = client === "http1" ? PATH_TABLE.rows : http2Rows(PATH_TABLE.rows);
    const { envoy, ours } = await runConfigTable({ ...PATH_TABLE, rows }, true, client);
    for (const row of rows) {
      await t.test(row.name, () => {
        const [theirs, mine] = [envoy?.get(row.name), ours.get(row.name)];
        assert.ok(theirs !== undefined && mine !== undefined);
        assertExpected(row, theirs);
        if (row.refusal === true) assert.equal(mine.status, 400);
        else assert.deepEqual(mine, theirs);
      });
    }
  });
}
