import assert from "node:assert/strict";
import { type TestContext, test } from "node:test";
import {
  allCustomResourceDefinitions,
  type KubeObject,
  RESOURCES,
  type ResourceType,
} from "../../src/api/index.ts";
import { objectAt } from "../../src/controller/core/json.ts";
import { createPublisher } from "../../src/controller/publish.ts";
import { reconcile } from "../../src/controller/reconcile.ts";
import { createClientStore } from "../../src/kube/index.ts";
import type { KubeStore } from "../../src/kube/store.ts";
import { createLogger } from "../../src/runtime/index.ts";
import { eventually, startTestServer } from "../embedded/api-server/test-server.ts";
import { ManualClock } from "../support/manual-clock.ts";
import { canary, deployment, namespace } from "./world.ts";

const key = { namespace, name: "cart" };
/** Every option of spec.service that is written into a generated object. */
const EVERYTHING = {
  port: 80,
  targetPort: "http",
  portName: "http",
  appProtocol: "http",
  gateways: ["mesh", "shop/public"],
  hosts: ["cart.example.com"],
  timeout: "15s",
  retries: { attempts: 3, perTryTimeout: "1s", retryOn: "5xx" },
  match: [{ uri: { prefix: "/" }, headers: { "x-user": { exact: "a" } } }],
  rewrite: { uri: "/" },
  headers: { request: { add: { "x-a": "1" }, remove: ["x-b"] } },
  corsPolicy: { allowOrigins: [{ exact: "*" }], allowMethods: ["GET"], maxAge: "24h" },
  trafficPolicy: {
    tls: { mode: "ISTIO_MUTUAL" },
    connectionPool: { http: { http1MaxPendingRequests: 10 } },
    outlierDetection: { consecutive5xxErrors: 5, interval: "30s" },
  },
  apex: { labels: { team: "shop" }, annotations: { note: "apex" } },
  primary: { labels: { team: "shop" } },
  canary: { annotations: { note: "canary" } },
};

/** One Canary on the real embedded API server, through the real client. */
async function startWorld(t: TestContext, service: object) {
  const { api } = await startTestServer(t);
  const client = createClientStore({ kubeconfigPath: api.kubeconfigPath });
  for (const definition of allCustomResourceDefinitions()) {
    await client.create(RESOURCES.customResourceDefinition, definition as unknown as KubeObject);
  }
  for (const type of [RESOURCES.canary, RESOURCES.virtualService, RESOURCES.destinationRule]) {
    await eventually(`${type.plural} are served`, () =>
      client.list(type).then(
        () => true,
        () => false,
      ),
    );
  }
  const writes: string[] = [];
  const clock = new ManualClock();
  const context = {
    ...{ store: recording(client, writes), clock, awaitProxyAcks: false },
    metrics: { query: async () => ({ value: 100 }) },
    publisher: createPublisher(client, createLogger("test", "silent")),
  };
  const meta = { name: namespace };
  await client.create(RESOURCES.namespace, { apiVersion: "v1", kind: "Namespace", metadata: meta });
  await client.create(RESOURCES.configMap, {
    ...{ apiVersion: "v1", kind: "ConfigMap", metadata: { name: "settings", namespace } },
    ...{ data: { color: "blue" }, binaryData: { logo: "AAEC" } },
  });
  await client.create(RESOURCES.secret, {
    ...{ apiVersion: "v1", kind: "Secret", metadata: { name: "tokens", namespace } },
    stringData: { token: "x" },
  });
  await client.create(
    RESOURCES.deployment,
    deployment("cart:v1", {
      ports: [{ name: "http", containerPort: 8080 }],
      envFrom: [{ configMapRef: { name: "settings" } }, { secretRef: { name: "tokens" } }],
      readinessProbe: { httpGet: { path: "/", port: 8080 } },
    }),
  );
  const spec = { service, revertOnDeletion: true };
  await client.create(RESOURCES.canary, canary({ stepWeights: [10, 100] }, spec));
  const pass = async (): Promise<void> => {
    await reconcile(context, RESOURCES.canary, key);
    for (const { metadata } of (await client.list(RESOURCES.deployment)).items) {
      await setReady(client, metadata.name);
    }
    clock.advance(2500);
  };
  const phase = async (): Promise<unknown> =>
    objectAt(await client.get(RESOURCES.canary, key), "status")["phase"];
  return {
    client,
    writes,
    pass,
    async runUntil(wanted: string): Promise<void> {
      for (let n = 0; n < 80; n += 1) {
        await pass();
        if ((await phase()) === wanted) return;
      }
      assert.fail(`still ${await phase()}; writes:\n${writes.slice(-10).join("\n")}`);
    },
    async idles(where: string): Promise<void> {
      await pass();
      await pass();
      writes.length = 0;
      for (let n = 0; n < 6; n += 1) await pass();
      assert.deepEqual(writes, [], where);
    },
  };
}

/** The same store, noting every write that reaches it. */
function recording(store: KubeStore, writes: string[]): KubeStore {
  const note = (verb: string, { kind }: ResourceType, { metadata: { name } }: KubeObject): void => {
    writes.push(`${verb} ${kind} ${name}`);
  };
  return {
    get: store.get,
    list: store.list,
    watch: store.watch,
    delete: store.delete,
    create(type, object) {
      note("create", type, object);
      return store.create(type, object);
    },
    update(type, object, options) {
      note(`update ${options?.subresource ?? ""}`.trimEnd(), type, object);
      return store.update(type, object, options);
    },
    patch(type, name, patch, options) {
      writes.push(`patch ${type.kind} ${name.name}`);
      return store.patch(type, name, patch, options);
    },
  };
}

async function setReady(store: KubeStore, name: string): Promise<void> {
  const object = await store.get(RESOURCES.deployment, { namespace, name });
  assert.ok(object !== undefined);
  const replicas = Number(objectAt(object, "spec")["replicas"] ?? 1);
  const observedGeneration = object.metadata.generation;
  const counts = { replicas, updatedReplicas: replicas, availableReplicas: replicas };
  const status = { observedGeneration, ...counts };
  await store.update(RESOURCES.deployment, { ...object, status }, { subresource: "status" });
}

for (const [what, service] of [
  ["the smallest service", { port: 80 }],
  ["every option of the service", EVERYTHING],
] as const) {
  test(`writes nothing while there is nothing to do, on a real API: ${what}`, {
    timeout: 60_000,
  }, async (t) => {
    const world = await startWorld(t, service);
    await world.runUntil("Initialized");
    await world.idles("after initialisation");
    const object = await world.client.get(RESOURCES.service, key);
    assert.equal(
      objectAt(object, "spec")["sessionAffinity"],
      "None",
      "the server fills in what the controller does not say: else this test proves nothing",
    );
    await world.client.patch(
      RESOURCES.configMap,
      { namespace, name: "settings" },
      { data: { color: "green" } },
      { kind: "merge" },
    );
    await world.runUntil("Succeeded");
    await world.idles("after a promotion");
    const copy = await world.client.get(RESOURCES.configMap, {
      namespace,
      name: "settings-primary",
    });
    assert.deepEqual(copy?.["data"], { color: "green" });
    assert.deepEqual(copy?.["binaryData"], { logo: "AAEC" });
  });
}

test("a Canary with revertOnDeletion leaves a real API only after its target runs again", {
  timeout: 60_000,
}, async (t) => {
  const world = await startWorld(t, { port: 80 });
  await world.runUntil("Initialized");
  await world.client.delete(RESOURCES.canary, key);
  const left = await world.client.get(RESOURCES.canary, key);
  assert.notEqual(left?.metadata.deletionTimestamp, undefined, "held by the finalizer");
  for (let n = 0; n < 10; n += 1) await world.pass();
  assert.equal(await world.client.get(RESOURCES.canary, key), undefined);
  const target = await world.client.get(RESOURCES.deployment, key);
  assert.equal(objectAt(target, "spec")["replicas"], 2);
});
