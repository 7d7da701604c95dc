import assert from "node:assert/strict";
import { test } from "node:test";
import { RESOURCES } from "../../src/api/index.ts";
import { objectAt } from "../../src/controller/core/json.ts";
import { canary, namespace, World } from "./world.ts";

const LADDER = { stepWeights: [10, 100] };
const DISABLED = { "flagger.app/config-tracking": "disabled" };
/** Every way a container reads a config; volumes are beside the container and tested in the core. */
const READS = {
  envFrom: [{ configMapRef: { name: "settings" } }, { secretRef: { name: "tokens" } }],
  env: [
    { name: "A", valueFrom: { configMapKeyRef: { name: "single", key: "a" } } },
    { name: "B", valueFrom: { configMapKeyRef: { name: "untracked", key: "b" } } },
    { name: "C", valueFrom: { secretKeyRef: { name: "account", key: "token" } } },
  ],
};

async function initialised(extra: Readonly<Record<string, unknown>> = {}): Promise<World> {
  const world = new World();
  const configMap = (name: string, data: object, annotations = {}) =>
    world.store.create(RESOURCES.configMap, {
      ...{ apiVersion: "v1", kind: "ConfigMap", metadata: { name, namespace, annotations }, data },
    });
  const secret = (name: string, type: string) =>
    world.store.create(RESOURCES.secret, {
      ...{ apiVersion: "v1", kind: "Secret", metadata: { name, namespace } },
      ...{ type, data: { token: "eA==" } },
    });
  await configMap("settings", { color: "blue", size: "1" });
  await configMap("single", { a: "1" });
  await configMap("untracked", { b: "1" }, DISABLED);
  await secret("tokens", "Opaque");
  await secret("account", "kubernetes.io/service-account-token");
  await world.start(canary(LADDER, extra), "cart:v1", READS);
  assert.ok(await world.runUntil(["Initialized"]));
  return world;
}

async function replaceData(world: World, name: string, data: object): Promise<void> {
  const object = await world.get(RESOURCES.configMap, name);
  await world.store.update(RESOURCES.configMap, { ...object, data });
}

async function data(world: World, name: string): Promise<unknown> {
  return (await world.get(RESOURCES.configMap, name))["data"];
}

test("the primary reads copies of its own of every tracked config, and only of those", async () => {
  const world = await initialised();
  const primary = await world.get(RESOURCES.deployment, "cart-primary");
  const text = JSON.stringify(objectAt(primary, "spec")["template"]);
  for (const name of ["settings-primary", "tokens-primary", "single-primary"]) {
    assert.ok(text.includes(`"name":"${name}"`), `${name} in ${text}`);
  }
  for (const name of ["untracked", "account"]) assert.ok(text.includes(`"name":"${name}"`), text);
  assert.deepEqual(await data(world, "settings-primary"), { color: "blue", size: "1" });
  const copy = await world.get(RESOURCES.secret, "tokens-primary");
  assert.deepEqual([copy["type"], copy["data"]], ["Opaque", { token: "eA==" }]);
  const copies = (await world.store.list(RESOURCES.configMap)).items.map((o) => o.metadata.name);
  assert.ok(!copies.includes("untracked-primary"));
  assert.deepEqual(Object.keys((await world.status())["trackedConfigs"] as object).sort(), [
    "configmap/settings",
    "configmap/single",
    "secret/tokens",
  ]);
});

test("a changed ConfigMap alone is a revision: analysed, and promoted to the copy with the pods", async () => {
  const world = await initialised();
  const before = await world.get(RESOURCES.deployment, "cart-primary");
  await replaceData(world, "settings", { color: "green", size: "1" });
  assert.ok(await world.runUntil(["Progressing"]));
  assert.deepEqual(await data(world, "settings-primary"), { color: "blue", size: "1" });
  assert.ok(await world.runUntil(["Succeeded"]));
  assert.deepEqual(world.weights, [10, 100, 0]);
  assert.deepEqual(await data(world, "settings-primary"), { color: "green", size: "1" });
  const after = await world.get(RESOURCES.deployment, "cart-primary");
  assert.notDeepEqual(
    objectAt(after, "spec")["template"],
    objectAt(before, "spec")["template"],
    "the primary's pods roll, else they would go on with the old values",
  );
});

test("a key that left a ConfigMap leaves the primary's copy too", async () => {
  const world = await initialised();
  await replaceData(world, "settings", { color: "blue" });
  assert.ok(await world.runUntil(["Succeeded"]));
  assert.deepEqual(await data(world, "settings-primary"), { color: "blue" });
});

test("a changed config that is rolled back never reaches the primary", async () => {
  const world = await initialised();
  world.answer = 0;
  await replaceData(world, "settings", { color: "red", size: "1" });
  assert.ok(await world.runUntil(["Failed"]));
  await world.turns(5);
  assert.deepEqual(await data(world, "settings-primary"), { color: "blue", size: "1" });
  assert.equal((await world.status())["phase"], "Failed", "and is not analysed again by itself");
});

test("a config that opted out of tracking starts nothing", async () => {
  const world = await initialised();
  await replaceData(world, "untracked", { b: "2" });
  const idle = world.writes;
  await world.turns(10);
  assert.equal(world.writes, idle);
  assert.equal((await world.status())["phase"], "Initialized");
});

test("a config that changes during the analysis takes the traffic away and starts again", async () => {
  const world = await initialised();
  await world.store.patch(
    RESOURCES.deployment,
    { namespace, name: "cart" },
    {
      spec: { template: { spec: { containers: [{ name: "cart", image: "cart:v2", ...READS }] } } },
    },
    { kind: "merge" },
  );
  await world.runUntilWeight(10);
  await replaceData(world, "settings", { color: "green" });
  await world.pass();
  assert.equal(world.weights.at(-1), 0);
  assert.ok(await world.runUntil(["Succeeded"]));
  assert.deepEqual(await data(world, "settings-primary"), { color: "green" });
});

test("skipAnalysis promotes a changed config without traffic", async () => {
  const world = await initialised({ skipAnalysis: true });
  await replaceData(world, "settings", { color: "green" });
  assert.ok(await world.runUntil(["Succeeded"]));
  assert.deepEqual(world.weights, []);
  assert.deepEqual(await data(world, "settings-primary"), { color: "green" });
});
