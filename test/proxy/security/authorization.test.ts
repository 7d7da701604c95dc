import assert from "node:assert/strict";
import { test } from "node:test";
import type { RbacConfig } from "../../../src/proxy/core/rbac.ts";
import {
  chain,
  cluster,
  endpoint,
  listener,
  rawClient,
  runtimeConfig,
  startProxy,
  startTcp,
  tcpTo,
} from "../../support/proxy-fixture.ts";

function rbac(action: "allow" | "deny", matches: boolean): RbacConfig {
  return {
    rules: { action, policies: [{ name: "p", matches: () => matches }] },
    shadowRules: undefined,
    rulesStatPrefix: "",
    shadowRulesStatPrefix: "",
  };
}

const CASES: readonly (readonly [
  name: string,
  configs: readonly RbacConfig[],
  isLetIn: boolean,
])[] = [
  ["no filter", [], true],
  ["an allowing policy that fits", [rbac("allow", true)], true],
  ["an allowing policy that does not", [rbac("allow", false)], false],
  ["a denying policy that fits", [rbac("deny", true)], false],
  ["a denying policy that does not", [rbac("deny", false)], true],
  ["denied though allowed", [rbac("deny", true), rbac("allow", true)], false],
  ["not denied and not allowed", [rbac("deny", false), rbac("allow", false)], false],
];

for (const [name, configs, isLetIn] of CASES) {
  test(`connections: ${name}`, async (t) => {
    let reached = 0;
    const port = await startTcp(t, (socket) => {
      reached += 1;
      socket.pipe(socket);
    });
    const authorization = configs.map((one) => ({ statPrefix: "tcp.", rbac: one }));
    const proxy = await startProxy(
      t,
      runtimeConfig(
        [cluster("a", [endpoint(port)])],
        [listener([chain(tcpTo("a"), { authorization })])],
      ),
    );
    const client = await rawClient(t, proxy.port);
    client.send("hello");
    if (isLetIn) await client.until("hello");
    else assert.equal(await client.closed(), "");
    assert.equal(reached, isLetIn ? 1 : 0);
    const denied = proxy.counters.get("tcp.rbac.denied") ?? 0;
    assert.equal(denied, isLetIn ? 0 : 1);
  });
}
