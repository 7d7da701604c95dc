import assert from "node:assert/strict";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { type KubeObject, RESOURCES } from "../../src/api/index.ts";
import { objectAt } from "../../src/controller/core/json.ts";
import { startController } from "../../src/controller/index.ts";
import { createLogger, systemClock } from "../../src/runtime/index.ts";
import { MemoryStore } from "../support/memory-store.ts";
import { canary, deployment, namespace } from "./world.ts";

const DEADLINE_MS = 20_000;

async function until(claim: string, holds: () => Promise<boolean>): Promise<void> {
  const deadlineMs = Date.now() + DEADLINE_MS;
  while (!(await holds())) {
    assert.ok(Date.now() < deadlineMs, `not within ${DEADLINE_MS} ms: ${claim}`);
    await sleep(20);
  }
}

for (const type of [RESOURCES.canary, RESOURCES.flaggerCanary]) {
  test(`the running controller follows watches, from ${type.group} Canary to promotion`, async (t) => {
    const store = new MemoryStore();
    const stopping = new AbortController();
    const workloads = runDeployments(store, stopping.signal);
    const controller = await startController({
      ...{ store, clock: systemClock, awaitProxyAcks: false },
      metrics: { query: async () => ({ value: 100 }) },
      logger: createLogger("test", "silent"),
    });
    t.after(async () => {
      await controller.stop();
      stopping.abort();
      await workloads;
    });
    const phase = async (): Promise<unknown> =>
      objectAt(await store.get(type, { namespace, name: "cart" }), "status")["phase"];
    await store.create(RESOURCES.deployment, deployment("cart:v1"));
    await store.create(type, canary({ interval: "50ms", stepWeights: [10, 50, 100] }));
    await until("Initialized", async () => (await phase()) === "Initialized");
    const spec = { template: objectAt(deployment("cart:v2"), "spec")["template"] };
    await store.patch(
      RESOURCES.deployment,
      { namespace, name: "cart" },
      { spec },
      { kind: "merge" },
    );
    await until("Succeeded", async () => (await phase()) === "Succeeded");
    const texts = (await store.list(RESOURCES.event)).items.map((e) => String(e["message"]));
    const advances = texts.filter((text) => text.startsWith("Advance"));
    assert.deepEqual(
      advances,
      [10, 50, 100].map((w) => `Advance cart.${namespace} canary weight ${w}`),
    );
    assert.match(await controller.metricsText(), /flagger_canary_successes_total\{[^}]*\} 1/);
  });
}

/** Makes every Deployment ready as soon as it is seen. */
async function runDeployments(store: MemoryStore, signal: AbortSignal): Promise<void> {
  const watch = store.watch(RESOURCES.deployment, { resourceVersion: "0", signal });
  for await (const { object } of watch) {
    const { generation = 1, name } = object.metadata;
    if (objectAt(object, "status")["observedGeneration"] === generation) continue;
    const now = await store.get(RESOURCES.deployment, { namespace, name });
    if (now !== undefined) await setReady(store, now);
  }
}

async function setReady(store: MemoryStore, object: KubeObject): Promise<void> {
  const replicas = Number(objectAt(object, "spec")["replicas"] ?? 1);
  const observedGeneration = object.metadata.generation;
  const status = {
    observedGeneration,
    replicas,
    updatedReplicas: replicas,
    availableReplicas: replicas,
  };
  await store.update(RESOURCES.deployment, { ...object, status }, { subresource: "status" });
}
