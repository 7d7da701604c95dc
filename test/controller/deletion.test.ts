import assert from "node:assert/strict";
import { test } from "node:test";
import { type KubeObject, RESOURCES } from "../../src/api/index.ts";
import { objectAt } from "../../src/controller/core/json.ts";
import { canary, namespace, World } from "./world.ts";

const FINALIZER = "finalizer.flagger.app";
const key = { namespace, name: "cart" };
const ROUTE = {
  hosts: ["cart.example.com"],
  http: [{ route: [{ destination: { host: "cart" } }] }],
};
const applied = (spec: object) => ({
  "kubectl.kubernetes.io/last-applied-configuration": JSON.stringify({ spec }),
});

async function midRollout(existing: readonly KubeObject[] = []): Promise<World> {
  const world = new World();
  for (const object of existing) {
    const type = object.kind === "Service" ? RESOURCES.service : RESOURCES.virtualService;
    await world.store.create(type, object);
  }
  const object = canary({ stepWeights: [10, 100] }, { revertOnDeletion: true });
  await world.start({ ...object, metadata: { ...object.metadata, finalizers: ["other/one"] } });
  assert.ok(await world.runUntil(["Initialized"]));
  assert.deepEqual(await finalizers(world), ["other/one", FINALIZER]);
  return world;
}

/** As the API server does while finalizers are left: the object stays, marked. */
async function markDeleted(world: World): Promise<void> {
  const deletionTimestamp = Temporal.Instant.fromEpochMilliseconds(world.clock.nowMs()).toString();
  await world.store.patch(
    RESOURCES.canary,
    key,
    { metadata: { deletionTimestamp } },
    { kind: "merge" },
  );
}

async function finalizers(world: World): Promise<unknown> {
  return (await world.get(RESOURCES.canary, "cart")).metadata.finalizers;
}

async function spec(world: World, type: "service" | "virtualService" | "deployment") {
  return objectAt(await world.get(RESOURCES[type], "cart"), "spec");
}

for (const [where, image] of [
  ["at rest", undefined],
  ["in the middle of a rollout", "cart:v2"],
] as const) {
  test(`revertOnDeletion, deleted ${where}: everything is given back, the target first`, async () => {
    const world = await midRollout([
      {
        ...{ apiVersion: "networking.istio.io/v1beta1", kind: "VirtualService" },
        ...{ metadata: key, spec: ROUTE },
      },
    ]);
    if (image !== undefined) {
      await world.setImage(image);
      await world.runUntilWeight(10);
    }
    world.isTargetHealthy = false;
    await world.settle();
    await markDeleted(world);
    await world.turns(5);
    assert.equal((await world.status())["phase"], "Terminating");
    assert.equal((await spec(world, "deployment"))["replicas"], 2);
    assert.deepEqual((await spec(world, "service"))["selector"], { app: "cart-primary" });
    assert.deepEqual(await finalizers(world), ["other/one", FINALIZER], "not before it runs");
    world.isTargetHealthy = true;
    world.isRouteChecked = false;
    await world.turns(5);
    assert.deepEqual((await spec(world, "service"))["selector"], { app: "cart" });
    assert.deepEqual(await spec(world, "virtualService"), ROUTE);
    const { annotations = {} } = (await world.get(RESOURCES.virtualService, "cart")).metadata;
    assert.deepEqual(annotations, {}, "neither what was kept nor Flux's switch");
    assert.deepEqual(await finalizers(world), ["other/one"]);
    const texts = await world.eventTexts();
    for (const text of ["Terminating canary cart.shop", "Terminated canary cart.shop"]) {
      assert.equal(texts.filter((t) => t === text).length, 1, text);
    }
    const idle = world.writes;
    await world.turns(5);
    assert.equal(world.writes, idle, "others' finalizers are others' business");
  });
}

test("what kubectl applied wins over what was seen", async () => {
  const selector = { app: "cart", tier: "web" };
  const world = await midRollout([
    {
      ...{ apiVersion: "v1", kind: "Service" },
      metadata: { ...key, annotations: applied({ selector }) },
      spec: { selector: { app: "cart" }, ports: [{ port: 80 }] },
    },
  ]);
  await markDeleted(world);
  await world.turns(6);
  assert.deepEqual((await spec(world, "service"))["selector"], selector);
});

test("a target that cannot run does not hold the deletion beyond the progress deadline", async () => {
  const world = await midRollout();
  await world.patchSpec({ progressDeadlineSeconds: 30 });
  world.isTargetHealthy = false;
  await markDeleted(world);
  await world.turns(8);
  assert.deepEqual(await finalizers(world), ["other/one", FINALIZER]);
  await world.turns(10);
  assert.deepEqual(await finalizers(world), ["other/one"]);
  assert.ok((await world.eventTexts()).some((text) => text.endsWith("terminating anyway")));
});

test("without revertOnDeletion there is no finalizer, and taking the field away takes it away", async () => {
  const world = await midRollout();
  await world.patchSpec({ revertOnDeletion: false });
  await world.turns(2);
  assert.deepEqual(await finalizers(world), ["other/one"]);
});

test("a crash before any write of a deletion gives everything back all the same", async () => {
  const run = async (crashAfter: number): Promise<number> => {
    const world = await midRollout();
    const before = world.writes;
    world.crashAtWrite = before + crashAfter;
    await markDeleted(world);
    await world.turns(10);
    assert.deepEqual(await finalizers(world), ["other/one"], `crash at write ${crashAfter}`);
    assert.deepEqual((await spec(world, "service"))["selector"], { app: "cart" });
    return world.writes - before;
  };
  const writes = await run(Number.POSITIVE_INFINITY);
  assert.ok(writes >= 4, `${writes} writes`);
  for (let k = 1; k <= writes; k += 1) await run(k);
});
