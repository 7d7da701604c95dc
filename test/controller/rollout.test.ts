import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { RESOURCES } from "../../src/api/index.ts";
import { objectAt } from "../../src/controller/core/json.ts";
import { canary, World } from "./world.ts";

const LADDER = { stepWeights: [10, 50, 100] };

async function initialised(
  analysis: Readonly<Record<string, unknown>>,
  extra = {},
): Promise<World> {
  const world = new World();
  await world.start(canary(analysis, extra));
  assert.ok(await world.runUntil(["Initialized"]));
  return world;
}

test("initialises: primary takes over, the target is scaled to zero", async () => {
  const world = await initialised(LADDER);
  const primary = await world.get(RESOURCES.deployment, "cart-primary");
  assert.deepEqual(objectAt(primary, "spec")["selector"], { matchLabels: { app: "cart-primary" } });
  assert.equal(objectAt(await world.get(RESOURCES.deployment, "cart"), "spec")["replicas"], 0);
  const service = await world.get(RESOURCES.service, "cart");
  assert.deepEqual(objectAt(service, "spec")["selector"], { app: "cart-primary" });
  assert.deepEqual(world.violations, []);
});

test("promotes a good revision through every step and leaves no pass unfinished", async () => {
  const world = await initialised(LADDER);
  await world.setImage("cart:v2");
  assert.ok(await world.runUntil(["Succeeded"]));
  assert.deepEqual(world.weights, [10, 50, 100, 0]);
  assert.deepEqual(world.phases, [
    "Initializing",
    "Initialized",
    "Progressing",
    "Promoting",
    "Finalising",
    "Succeeded",
  ]);
  const { template } = objectAt(await world.get(RESOURCES.deployment, "cart-primary"), "spec");
  assert.match(JSON.stringify(template), /cart:v2/);
  assert.equal(objectAt(await world.get(RESOURCES.deployment, "cart"), "spec")["replicas"], 0);
  const events = await world.eventTexts();
  assert.ok(events.includes("Advance cart.shop canary weight 50"), events.join("\n"));
  const idle = world.writes;
  await world.turns(5);
  assert.equal(world.writes, idle, "an idle canary writes nothing");
});

test("rolls back in the pass in which the failed checks reach the threshold", async () => {
  const world = await initialised(LADDER);
  await world.setImage("cart:bad");
  world.answer = 42;
  assert.ok(await world.runUntil(["Failed"]));
  await world.turns(5);
  assert.deepEqual(world.weights, [10, 0]);
  const halts = (await world.eventTexts()).filter((text) => text.startsWith("Halt"));
  assert.equal(halts.length, 2, "threshold 2: two failed checks, no further tick");
  assert.deepEqual(world.violations, []);
  assert.equal(objectAt(await world.get(RESOURCES.deployment, "cart"), "spec")["replicas"], 0);
});

test("a threshold lowered to the failed checks there are rolls back without another check", async () => {
  const world = await initialised({ ...LADDER, threshold: 5 });
  await world.setImage("cart:bad");
  world.answer = 42;
  const failedChecks = async () => Number((await world.status())["failedChecks"] ?? 0);
  for (let turn = 0; turn < 50 && (await failedChecks()) === 0; turn += 1) await world.turns(1);
  assert.equal(await failedChecks(), 1);
  world.answer = 100;
  await world.patchSpec({ analysis: { threshold: 1 } });
  await world.pass();
  assert.equal((await world.status())["phase"], "Failed");
  assert.equal(world.weights.at(-1), 0);
});

test("overshoots maxWeight as Flagger does", async () => {
  const world = await initialised({ stepWeight: 20, maxWeight: 50 });
  await world.setImage("cart:v2");
  assert.ok(await world.runUntil(["Succeeded"]));
  assert.deepEqual(world.weights, [20, 40, 60, 0]);
});

test("goes back to the primary in steps of stepWeightPromotion", async () => {
  const world = await initialised({ stepWeights: [10, 50], stepWeightPromotion: 20 });
  await world.setImage("cart:v2");
  assert.ok(await world.runUntil(["Promoting"]));
  world.answer = 0;
  assert.ok(await world.runUntil(["Succeeded"]), "nothing is judged any more");
  assert.deepEqual(world.weights, [10, 50, 30, 10, 0]);
  const texts = (await world.eventTexts()).filter((text) => text.includes("primary weight"));
  assert.deepEqual(
    texts,
    [70, 90].map((weight) => `Advance cart.shop primary weight ${weight}`),
  );
});

test("mirrors before the first weight when asked to, and clears the mirror after", async () => {
  const world = await initialised({ ...LADDER, mirror: true, mirrorWeight: 30 });
  await world.setImage("cart:v2");
  let isMirrored = false;
  for (let turn = 0; turn < 100 && !isMirrored; turn += 1) {
    await world.turns(1);
    const [http] = objectAt(await world.get(RESOURCES.virtualService, "cart"), "spec")[
      "http"
    ] as Record<string, unknown>[];
    isMirrored = JSON.stringify(http?.["mirrorPercentage"]) === '{"value":30}';
  }
  assert.ok(isMirrored);
  assert.deepEqual(world.weights, []);
  assert.ok(await world.runUntil(["Succeeded"]));
  assert.doesNotMatch(JSON.stringify(await world.get(RESOURCES.virtualService, "cart")), /mirror/);
});

test("a new revision during the analysis gets no traffic and starts again", async () => {
  const world = await initialised(LADDER);
  await world.setImage("cart:v2");
  await world.runUntilWeight(50);
  await world.setImage("cart:v3");
  await world.pass();
  assert.equal(world.weights.at(-1), 0);
  assert.ok(await world.runUntil(["Succeeded"]));
  assert.deepEqual(world.weights, [10, 50, 0, 10, 50, 100, 0]);
});

test("a provider that cannot be asked holds the step without a failed check", async () => {
  const world = await initialised(LADDER, { progressDeadlineSeconds: 60 });
  await world.setImage("cart:v2");
  await world.runUntilWeight(10);
  world.answer = new Error("connection refused");
  await world.turns(15);
  const status = await world.status();
  assert.equal(status["phase"], "Progressing");
  assert.equal(status["failedChecks"], 0);
  assert.match(String(status["message"]), /connection refused/);
  assert.ok(await world.runUntil(["Failed"]), "but not for ever");
});

test("no data counts as a failed check", async () => {
  const world = await initialised(LADDER);
  await world.setImage("cart:v2");
  world.answer = undefined;
  assert.ok(await world.runUntil(["Failed"]));
});

test("a step's clock waits for the proxies, but not for ever", async () => {
  const world = await initialised(LADDER);
  await world.setImage("cart:v2");
  world.isMeshAnswering = false;
  await world.runUntilWeight(10);
  await world.turns(8);
  assert.match(String((await world.status())["message"]), /waiting for proxies/);
  await world.turns(12);
  assert.ok(
    (await world.eventTexts()).some((text) => text.startsWith("not every proxy acknowledged")),
  );
});

test("skipAnalysis promotes without giving the canary traffic", async () => {
  const world = await initialised(LADDER, { skipAnalysis: true });
  await world.setImage("cart:v2");
  assert.ok(await world.runUntil(["Succeeded"]));
  assert.deepEqual(world.weights, []);
});

test("suspend freezes everything", async () => {
  const world = await initialised(LADDER);
  await world.setSuspend(true);
  await world.setImage("cart:v2");
  await world.turns(10);
  assert.equal((await world.status())["phase"], "Initialized");
  await world.setSuspend(false);
  assert.ok(await world.runUntil(["Succeeded"]));
});

test("adopts a status that Flagger wrote instead of starting a rollout", async () => {
  const world = await initialised(LADDER);
  const object = await world.get(RESOURCES.canary, "cart");
  const status = {
    ...objectAt(object, "status"),
    lastAppliedSpec: "5d8b7c9f",
    lastPromotedSpec: "5d8b7c9f",
    rollout: undefined,
  };
  await world.store.update(RESOURCES.canary, { ...object, status }, { subresource: "status" });
  await world.turns(10);
  assert.equal((await world.status())["phase"], "Initialized");
  assert.match(String((await world.status())["lastAppliedSpec"]), /^v2:/);
  await world.setImage("cart:v2");
  assert.ok(await world.runUntil(["Succeeded"]));
});

const WEBHOOK = { name: "gate", url: "http://gate/", type: "confirm-rollout" };
for (const [field, analysis, extra] of [
  ["spec.analysis.iterations", { iterations: 5 }, {}],
  ["spec.analysis.match", { match: [{ headers: { a: { exact: "b" } } }] }, {}],
  ["spec.analysis.webhooks", { webhooks: [WEBHOOK] }, {}],
  ["spec.analysis.sessionAffinity", { sessionAffinity: { cookieName: "c" } }, {}],
  ["spec.service.delegation", {}, { service: { port: 80, delegation: true } }],
  ["spec.service.appProtocol: tcp", {}, { service: { port: 80, appProtocol: "TCP" } }],
  ["spec.provider: linkerd", {}, { provider: "linkerd" }],
] as const) {
  test(`says once that ${field} is not supported yet, and holds`, async () => {
    const world = new World();
    await world.start(canary({ ...LADDER, ...analysis }, extra));
    await world.turns(5);
    const { phase, message } = await world.status();
    assert.deepEqual(
      [phase, message],
      ["Initializing", `not supported yet: ${field}; the rollout is held`],
    );
    const texts = await world.eventTexts();
    assert.equal(texts.filter((text) => text.startsWith("not supported")).length, 1);
    assert.deepEqual((await world.store.list(RESOURCES.service)).items, [], "nothing is made");
  });
}

test("a webhook added during a rollout holds the step where it is", async () => {
  const world = await initialised(LADDER);
  await world.setImage("cart:v2");
  await world.runUntilWeight(10);
  await world.patchSpec({ analysis: { webhooks: [WEBHOOK] } });
  await world.turns(20);
  assert.deepEqual(world.weights, [10]);
  await world.patchSpec({ analysis: { webhooks: [] } });
  assert.ok(await world.runUntil(["Succeeded"]));
});

test("warns of fields that change nothing of the rollout", async () => {
  const service = { port: 80, portDiscovery: true };
  const world = await initialised(LADDER, { service });
  assert.ok(
    (await world.eventTexts()).some((text) => text.startsWith("spec.service.portDiscovery is not")),
  );
});

for (const [name, answer, end] of [
  ["good", 100, "Succeeded"],
  ["bad", 0, "Failed"],
] as const) {
  test(`a crash before any write of a ${name} rollout converges to the same end`, async () => {
    const run = async (crashAtWrite: number): Promise<World> => {
      const world = new World();
      world.crashAtWrite = crashAtWrite;
      await world.start(canary(LADDER));
      assert.ok(await world.runUntil(["Initialized"]), `crash at ${crashAtWrite}`);
      await world.setImage("cart:v2");
      world.answer = answer;
      assert.ok(await world.runUntil([end]), `crash at ${crashAtWrite}`);
      await world.turns(10);
      return world;
    };
    const reference = await run(Number.POSITIVE_INFINITY);
    const expected = await reference.endState();
    assert.ok(reference.writes > 20, `${reference.writes} writes`);
    for (let k = 1; k <= reference.writes; k += 1) {
      const world = await run(k);
      assert.deepEqual(await world.endState(), expected, `crash at write ${k}`);
      assert.deepEqual(world.violations, [], `crash at write ${k}`);
    }
  });
}

const MAY_FOLLOW: Readonly<Record<string, readonly string[]>> = {
  Initializing: ["Initialized"],
  Initialized: ["Progressing"],
  Progressing: ["Promoting", "Failed"],
  Promoting: ["Finalising", "Failed", "Progressing"],
  Finalising: ["Succeeded"],
  Succeeded: ["Progressing"],
  Failed: ["Progressing"],
};
const action = fc.oneof(
  { weight: 12, arbitrary: fc.constant({ do: "turn" } as const) },
  {
    weight: 2,
    arbitrary: fc.record({
      do: fc.constant("answer" as const),
      value: fc.constantFrom(100, 0, undefined, "error" as const),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      do: fc.constant("image" as const),
      tag: fc.integer({ min: 1, max: 4 }),
    }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("healthy" as const), value: fc.boolean() }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("suspend" as const), value: fc.boolean() }) },
  {
    weight: 1,
    arbitrary: fc.record({
      do: fc.constant("crash" as const),
      writes: fc.integer({ min: 1, max: 4 }),
    }),
  },
);
const analysis = fc.oneof(
  fc.record({
    stepWeight: fc.integer({ min: 10, max: 100 }),
    maxWeight: fc.integer({ min: 1, max: 100 }),
    mirror: fc.boolean(),
    stepWeightPromotion: fc.constantFrom(0, 0, 30, 100),
  }),
  fc.record({
    stepWeights: fc
      .uniqueArray(fc.integer({ min: 1, max: 100 }), { minLength: 1, maxLength: 4 })
      .map((w) => w.sort((a, b) => a - b)),
  }),
);

test("whatever happens: weights sum to 100, only a ready canary gets more, phases follow the table, a failing canary ends at 0", async (t) => {
  const seed = Number(process.env["SEED"] ?? Date.now() % 2 ** 31);
  t.diagnostic(`seed ${seed}`);
  const property = fc.asyncProperty(
    analysis,
    fc.array(action, { minLength: 10, maxLength: 60 }),
    async (spec, actions) => {
      const world = await initialised(spec);
      for (const step of actions) {
        if (step.do === "turn") await world.turns(1);
        if (step.do === "answer")
          world.answer = step.value === "error" ? new Error("down") : step.value;
        if (step.do === "image") await world.setImage(`cart:v${step.tag}`);
        if (step.do === "healthy") world.isTargetHealthy = step.value;
        if (step.do === "suspend") await world.setSuspend(step.value);
        if (step.do === "crash") world.crashAtWrite = world.writes + step.writes;
      }
      assert.deepEqual(world.violations, []);
      world.crashAtWrite = Number.POSITIVE_INFINITY;
      await world.setSuspend(false);
      world.isTargetHealthy = true;
      world.answer = 100;
      assert.ok(await world.runUntil(["Initialized", "Succeeded", "Failed"]));
      // A promotion in every run, through every phase: random turns alone rarely get that far.
      await world.setImage("cart:good");
      await world.turns(1);
      assert.ok(await world.runUntil(["Succeeded", "Failed"]));
      const rollout = ["Progressing", "Promoting", "Finalising", "Succeeded"];
      assert.deepEqual(world.phases.slice(-rollout.length), rollout);
      await world.setImage("cart:broken");
      world.answer = 0;
      await world.turns(1);
      assert.ok(await world.runUntil(["Failed", "Succeeded"]));
      await world.turns(5);
      const { phase, canaryWeight } = await world.status();
      assert.deepEqual(
        { phase, canaryWeight, routed: world.weights.at(-1) ?? 0 },
        { phase: "Failed", canaryWeight: 0, routed: 0 },
      );
      for (const [i, now] of world.phases.entries()) {
        const before = world.phases[i - 1];
        if (before !== undefined)
          assert.ok(MAY_FOLLOW[before]?.includes(now), `${before} → ${now}`);
      }
      assert.deepEqual(world.violations, []);
    },
  );
  await fc.assert(property, { seed, numRuns: Number(process.env["RUNS"] ?? 600) });
});
