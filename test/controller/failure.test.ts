import assert from "node:assert/strict";
import { test } from "node:test";
import { RESOURCES } from "../../src/api/index.ts";
import { objectAt } from "../../src/controller/core/json.ts";
import { canary, World } from "./world.ts";

const LADDER = { stepWeights: [10, 50] };
const EXCEEDED = [{ type: "Progressing", status: "False", reason: "ProgressDeadlineExceeded" }];

async function initialised(extra: Readonly<Record<string, unknown>> = {}): Promise<World> {
  const world = new World();
  await world.start(canary(LADDER, extra));
  assert.ok(await world.runUntil(["Initialized"]));
  return world;
}

async function replicas(world: World, name: string): Promise<unknown> {
  return objectAt(await world.get(RESOURCES.deployment, name), "spec")["replicas"];
}

test("a canary Deployment beyond its progress deadline is rolled back before it gets traffic", async () => {
  const world = await initialised();
  world.isTargetHealthy = false;
  await world.setImage("cart:crashing");
  await world.turns(3);
  assert.equal((await world.status())["phase"], "Progressing", "waiting is no failure");
  assert.equal((await world.status())["failedChecks"], 0);
  world.conditions.set("cart", EXCEEDED);
  assert.ok(await world.runUntil(["Failed"]));
  assert.match(String((await world.status())["message"]), /exceeded its progress deadline/);
  await world.turns(5);
  assert.deepEqual(world.weights, []);
  assert.equal(await replicas(world, "cart"), 0);
});

test("a canary that loses its pods during a step for too long is rolled back", async () => {
  const world = await initialised({ progressDeadlineSeconds: 60 });
  await world.setImage("cart:v2");
  await world.runUntilWeight(10);
  world.isTargetHealthy = false;
  const lastTransitionTime = Temporal.Instant.fromEpochMilliseconds(world.clock.nowMs()).toString();
  const reason = "MinimumReplicasUnavailable";
  world.conditions.set("cart", [
    { type: "Available", status: "False", reason, lastTransitionTime },
  ]);
  await world.turns(10);
  assert.equal((await world.status())["phase"], "Progressing");
  assert.deepEqual(world.weights, [10], "held, not advanced");
  assert.ok(await world.runUntil(["Failed"]));
  assert.match(String((await world.status())["message"]), /not available for more than 60s/);
  assert.equal(world.weights.at(-1), 0);
});

test("a primary that does not start keeps the target serving; a repaired target initialises", async () => {
  const world = new World();
  world.isPrimaryHealthy = false;
  world.conditions.set("cart-primary", EXCEEDED);
  await world.start(canary(LADDER), "cart:typo");
  await world.turns(10);
  assert.equal((await world.status())["phase"], "Initializing");
  assert.match(String((await world.status())["message"]), /cart-primary.*progress deadline/);
  assert.equal(await replicas(world, "cart"), 2);
  assert.equal(
    (await world.store.list(RESOURCES.virtualService)).items.length,
    0,
    "no route to a primary that does not run",
  );
  const idle = world.writes;
  await world.turns(5);
  assert.equal(world.writes, idle, "waiting writes nothing");

  await world.setImage("cart:v1");
  await world.turns(2);
  const { template } = objectAt(await world.get(RESOURCES.deployment, "cart-primary"), "spec");
  assert.match(JSON.stringify(template), /cart:v1/, "the primary gets the repaired template");
  world.conditions.clear();
  world.isPrimaryHealthy = true;
  assert.ok(await world.runUntil(["Initialized"]));
});

test("an analysis waits for a primary that is not ready, without a failed check", async () => {
  const world = await initialised();
  await world.setImage("cart:v2");
  await world.runUntilWeight(10);
  world.isPrimaryHealthy = false;
  world.answer = 0;
  await world.turns(20);
  const { phase, failedChecks, message } = await world.status();
  assert.deepEqual([phase, failedChecks], ["Progressing", 0]);
  assert.match(String(message), /cart-primary/);
  world.isPrimaryHealthy = true;
  assert.ok(await world.runUntil(["Failed"]));
});

test("a promotion waits for the primary with the traffic where it is", async () => {
  const world = await initialised();
  await world.setImage("cart:v2");
  await world.runUntilWeight(50);
  assert.ok(await world.runUntil(["Promoting"]));
  world.isPrimaryHealthy = false;
  await world.turns(20);
  assert.equal((await world.status())["phase"], "Promoting");
  assert.deepEqual(world.weights, [10, 50]);
  world.isPrimaryHealthy = true;
  assert.ok(await world.runUntil(["Succeeded"]));
  assert.deepEqual(world.weights, [10, 50, 0]);
});

test("a primary that cannot run the promoted revision leaves the traffic with the canary", async () => {
  const world = await initialised();
  await world.setImage("cart:v2");
  assert.ok(await world.runUntil(["Promoting"]));
  world.isPrimaryHealthy = false;
  world.conditions.set("cart-primary", EXCEEDED);
  assert.ok(await world.runUntil(["Failed"]));
  await world.turns(10);
  assert.deepEqual(world.weights, [10, 50, 100]);
  assert.equal((await world.status())["canaryWeight"], 100);
  assert.equal(await replicas(world, "cart"), 2, "what serves is not scaled down");
  assert.ok(
    (await world.eventTexts()).some((text) => text.startsWith("Promotion failed, routing all")),
  );
});

test("a canary deleted during an analysis is left alone", async () => {
  const world = await initialised();
  await world.setImage("cart:v2");
  await world.runUntilWeight(10);
  await world.store.delete(RESOURCES.canary, { namespace: "shop", name: "cart" });
  const before = world.writes;
  for (let pass = 0; pass < 5; pass += 1) await world.pass();
  assert.equal(world.writes, before);
});
