import assert from "node:assert/strict";
import { test } from "node:test";
import { skipWithout } from "../support/tools.ts";
import { assertAlike, type Protocols, rowsFor, runTable } from "./support/table-run.ts";

const skip = skipWithout("envoy");
const COMBINATIONS: readonly Protocols[] = [
  { client: "http1", upstream: "http1" },
  { client: "http2", upstream: "http1" },
  { client: "http1", upstream: "http2" },
  { client: "http2", upstream: "http2" },
];

for (const protocols of COMBINATIONS) {
  const { client, upstream } = protocols;
  test(`as Envoy: clients ${client}, upstreams ${upstream}`, { skip }, async (t) => {
    const { envoy, ours } = await runTable(protocols);
    for (const row of rowsFor(protocols)) {
      const todo = row.todo === undefined ? {} : { todo: row.todo };
      await t.test(row.name, todo, () => {
        const [theirs, mine] = [envoy.answers.get(row.name), ours.answers.get(row.name)];
        assert.ok(theirs !== undefined && mine !== undefined);
        assertAlike(row, theirs, mine);
        assert.equal(ours.log.get(row.name), envoy.log.get(row.name));
      });
    }
    await t.test("counters", () => assert.deepEqual(ours.stats, envoy.stats));
  });
}
