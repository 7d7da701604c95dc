import assert from "node:assert/strict";
import { test } from "node:test";
import { skipWithout } from "../support/tools.ts";
import { runLogTable, runTcpLogs } from "./support/log-table.ts";
import { FILTER_TABLE } from "./support/table-log-filters.ts";

const skip = skipWithout("envoy");

test("access log filters let through what Envoy's do", { skip }, async (t) => {
  const { envoy, ours } = await runLogTable(FILTER_TABLE);
  for (const { name: log } of FILTER_TABLE.logs) {
    await t.test(log, () => {
      const passed = (logged: typeof envoy) =>
        FILTER_TABLE.requests
          .map(({ name }) => name)
          .filter((row) => logged.has(`${log} / ${row}`));
      assert.deepEqual(passed(ours), passed(envoy));
    });
  }
  await t.test("most filters let through some requests and not others", () => {
    const telling = FILTER_TABLE.logs.filter(({ name: log }) => {
      const count = FILTER_TABLE.requests.filter(({ name }) =>
        envoy.has(`${log} / ${name}`),
      ).length;
      return count > 0 && count < FILTER_TABLE.requests.length;
    });
    assert.ok(telling.length > FILTER_TABLE.logs.length / 2, `${telling.length} only`);
  });
});

for (const isReachable of [true, false]) {
  const host = isReachable ? "a host that answers" : "a host that refuses";
  test(`access log filters of TCP connections as Envoy's: ${host}`, { skip }, async () => {
    // Sampling without a request is by chance: only all and nothing can be compared.
    const logs = FILTER_TABLE.logs.filter(({ name }) => !/half|part/.test(name));
    const { envoy, ours } = await runTcpLogs(logs, isReachable);
    assert.ok(envoy.length > 5 && envoy.length < logs.length);
    assert.deepEqual(ours, envoy);
  });
}
