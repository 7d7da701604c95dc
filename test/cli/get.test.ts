import assert from "node:assert/strict";
import { test } from "node:test";
import { RESOURCES } from "../../src/api/index.ts";
import { eventually, startTestServer } from "../embedded/api-server/test-server.ts";
import { findTool, skipWithout } from "../support/tools.ts";
import { canaryObject, serin, setStatus, start, startCluster } from "./cluster.ts";

const skip = skipWithout("kubectl");
const kubectl = findTool("kubectl") ?? "kubectl";
const trimmed = (text: string): string[] => text.split("\n").map((line) => line.trimEnd());

test("get prints what kubectl prints", { skip, timeout: 120_000 }, async (t) => {
  const cluster = await startCluster(t);
  const env = { ...process.env, KUBECONFIG: cluster.kubeconfigPath };
  await cluster.store.create(RESOURCES.canary, canaryObject("cart", "default", { tier: "web" }));
  await cluster.store.create(RESOURCES.canary, canaryObject("a-rather-long-name"));
  await cluster.store.create(RESOURCES.namespace, {
    ...{ apiVersion: "v1", kind: "Namespace", metadata: { name: "shop" } },
  });
  await cluster.store.create(RESOURCES.canary, canaryObject("basket", "shop"));
  await setStatus(cluster, "cart", "Progressing", 50);
  for (const args of [
    ["canary"],
    ["canaries"],
    ["canaries.serin.dev"],
    ["canary", "cart"],
    ["canary/cart"],
    ["canary", "-A"],
    ["canary", "-n", "shop"],
    ["canary", "--namespace=shop"],
    ["canary", "-l", "tier=web"],
    ["canary", "-o", "wide"],
    ["canary", "-A", "-o", "wide"],
    ["canary", "cart", "-o", "yaml"],
    ["canary", "-o", "yaml"],
    ["canary", "-n", "nowhere"],
    ["canary", "-n", "nowhere", "-o", "yaml"],
    ["canary", "nobody"],
  ]) {
    const [ours, theirs] = await Promise.all([
      serin(t, ["get", ...args], env).done,
      start(t, kubectl, ["get", ...args], env).done,
    ]);
    const what = `get ${args.join(" ")}`;
    assert.deepEqual(trimmed(ours.stdout), trimmed(theirs.stdout), what);
    assert.equal(ours.stderr, theirs.stderr, what);
    assert.equal(ours.code, theirs.code, what);
  }
  for (const args of [["canary", "cart"], ["canary"]]) {
    const json = async (program: typeof serin) =>
      JSON.parse((await program(t, ["get", ...args, "-o", "json"], env).done).stdout) as unknown;
    const theirs = await start(t, kubectl, ["get", ...args, "-o", "json"], env).done;
    assert.deepEqual(await json(serin), JSON.parse(theirs.stdout));
  }
});

test("get -w prints every change in the first table's columns, until interrupted", {
  timeout: 60_000,
}, async (t) => {
  const cluster = await startCluster(t);
  await cluster.store.create(RESOURCES.canary, canaryObject("cart"));
  await cluster.store.create(RESOURCES.canary, canaryObject("other"));
  await setStatus(cluster, "cart", "Initialized", 0);
  const env = { ...process.env, KUBECONFIG: cluster.kubeconfigPath };
  for (const name of [undefined, "cart"]) {
    await setStatus(cluster, "cart", "Initialized", 0);
    const args = name === undefined ? [] : [name];
    const watching = serin(t, ["get", "canary", ...args, "-w"], env);
    await eventually("the table", async () => /^cart /m.test(watching.stdout()));
    await setStatus(cluster, "other", "Failed", 0);
    await setStatus(cluster, "cart", "Progressing", 10);
    await setStatus(cluster, "cart", "Progressing", 50);
    await eventually("the last change", async () => /Progressing +50/.test(watching.stdout()));
    watching.child.kill("SIGINT");
    const { code, stdout, stderr } = await watching.done;
    assert.deepEqual([code, stderr], [0, ""]);
    const lines = stdout.trimEnd().split("\n");
    assert.match(lines[0] ?? "", /^NAME +STATUS +WEIGHT +LASTTRANSITIONTIME$/);
    assert.equal(lines.filter((line) => line.startsWith("NAME")).length, 1);
    const weights = lines.flatMap((line) => /^cart +Progressing +(\d+)/.exec(line)?.[1] ?? []);
    assert.deepEqual(weights, ["10", "50"]);
    assert.equal(stdout.includes("other"), name === undefined);
  }
});

test("get -w on nothing waits for the first canary", { timeout: 60_000 }, async (t) => {
  const cluster = await startCluster(t);
  const watching = serin(t, ["get", "canary", "-w", "--kubeconfig", cluster.kubeconfigPath]);
  await cluster.store.create(RESOURCES.canary, canaryObject("cart"));
  await eventually("the canary", async () => watching.stdout().includes("cart"));
  watching.child.kill("SIGTERM");
  const { code, stdout } = await watching.done;
  assert.equal(code, 0);
  assert.match(stdout, /^NAME /);
});

test("an API that cannot be reached is one sentence and exit code 1", async (t) => {
  const cluster = await startCluster(t);
  await cluster.stop();
  const args = ["get", "canary", "--kubeconfig", cluster.kubeconfigPath];
  const { code, stdout, stderr } = await serin(t, args).done;
  assert.deepEqual([code, stdout], [1, ""]);
  assert.match(stderr, /^serin: the Kubernetes API at https:\/\/127\.0\.0\.1:\d+: .*ECONNREFUSED/);
  assert.equal(stderr.trimEnd().split("\n").length, 1);
});

test("an API without the CRDs is one sentence and exit code 1", async (t) => {
  const { api } = await startTestServer(t);
  const { code, stderr } = await serin(t, ["get", "canary", "--kubeconfig", api.kubeconfigPath])
    .done;
  assert.equal(code, 1);
  assert.equal(stderr.trimEnd().split("\n").length, 1, stderr);
});

for (const [args, message] of [
  [[], /what to get is missing: serin get canary \[NAME\]/],
  [["pods"], /unknown resource "pods" \(known: canary\)/],
  [["canary", "a", "b"], /unexpected argument "b"/],
  [["canary/a", "b"], /unexpected argument "b"/],
  [["canary/"], /the canary's name is empty/],
  [["canary", "a", "-A"], /cannot be retrieved by name across all namespaces/],
  [["canary", "a", "-l", "x=y"], /give either a name or --selector/],
  [["canary", "-o", "xml"], /--output must be table, wide, json, yaml \(found xml\)/],
  [["canary", "--nonsense"], /Unknown option '--nonsense'/],
  [["canary", "--kubeconfig", "/does/not/exist"], /cannot read the kubeconfig \/does\/not\/exist/],
] as const) {
  test(`wrong usage exits 2: serin get ${args.join(" ")}`, async (t) => {
    const { code, stdout, stderr } = await serin(t, ["get", ...args]).done;
    assert.deepEqual([code, stdout], [2, ""]);
    assert.match(stderr, message);
    assert.doesNotMatch(stderr, /\n\s+at /);
  });
}
