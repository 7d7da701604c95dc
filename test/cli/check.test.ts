import assert from "node:assert/strict";
import { test } from "node:test";
import { RESOURCES } from "../../src/api/index.ts";
import { startCluster } from "./cluster.ts";
import { runCommand } from "./run-command.ts";

interface Check {
  readonly name: string;
  readonly result: string;
  readonly message: string;
}

test("a cluster without a mesh is fit for one, and says what it lacks", async (t) => {
  const { store, kubeconfigPath, stop } = await startCluster(t);
  const check = async (...args: readonly string[]) => {
    const flags = ["--kubeconfig", kubeconfigPath, "-o", "json", ...args];
    const { code, stdout, stderr } = await runCommand(["check", ...flags]);
    const found = JSON.parse(stdout || "[]") as readonly Check[];
    const failed = found.filter(({ result }) => result === "failed");
    return { code, stderr, found, failed: failed.map(({ name }) => name) };
  };
  const before = await check("--pre");
  assert.deepEqual([before.code, before.failed], [0, []], JSON.stringify(before.found));
  const all = await check();
  assert.equal(all.code, 1);
  assert.deepEqual(all.failed, [
    "Webhook istio-sidecar-injector",
    "Webhook istio-validator-istio-system",
    "Control plane",
  ]);
  const name = "gateways.networking.istio.io";
  await store.delete(RESOURCES.customResourceDefinition, { name });
  const less = await check();
  const message = less.found.find((each) => each.name === "Custom resources")?.message;
  assert.equal(message, `not defined: ${name}`);
  await stop();
  const away = await check();
  assert.deepEqual([away.code, away.failed], [1, ["Kubernetes API"]]);
});

test("wrong usage exits 2", async () => {
  assert.equal((await runCommand(["check", "-o", "table"])).code, 2);
  for (const args of [[], ["kiali"], ["proxy"], ["grafana", "x"], ["grafana", "--port", "x"]]) {
    const { code, stderr } = await runCommand(["dashboard", ...args, "--no-browser"]);
    assert.equal(code, 2, `${args.join(" ")}: ${stderr}`);
  }
});
