import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import {
  allCustomResourceDefinitions,
  type KubeObject,
  RESOURCES,
  type ResourceType,
} from "../../src/api/index.ts";
import { startApiServer } from "../../src/embedded/api-server/index.ts";
import { createClientStore } from "../../src/kube/index.ts";
import type { KubeStore } from "../../src/kube/store.ts";
import { condition } from "../../src/mesh/core/gateway-api/conditions.ts";
import type { WantedDeployment } from "../../src/mesh/core/gateway-api/convert.ts";
import type { WantedStatus } from "../../src/mesh/core/gateway-api/wanted-status.ts";
import { createGatewayDeployer } from "../../src/mesh/gateway-deployer.ts";
import { createGatewayStatusWriter } from "../../src/mesh/gateway-status.ts";
import { createLogger, systemClock } from "../../src/runtime/index.ts";
import { gatewayApi, mesh } from "./core/support/objects.ts";

const DEADLINE_MS = 30_000;
const logger = createLogger("test", "silent");
const KEY = { namespace: "default", name: "web" };

/** An API server with Gateway API's definitions, and how often it was written to. */
async function world(t: TestContext): Promise<{ store: KubeStore; writes: string[] }> {
  const dataDir = mkdtempSync(join(tmpdir(), "serin-gateway-"));
  t.after(() => rmSync(dataDir, { recursive: true, force: true }));
  const server = await startApiServer({ dataDir, port: 0, logger, clock: systemClock });
  t.after(() => server.stop());
  const client = createClientStore({ kubeconfigPath: server.kubeconfigPath });
  for (const definition of allCustomResourceDefinitions()) {
    await client.create(RESOURCES.customResourceDefinition, definition);
  }
  const writes: string[] = [];
  const patch: KubeStore["patch"] = (type, key, body, options) => {
    writes.push(`${type.kind} ${key.name}`);
    return client.patch(type, key, body, options);
  };
  return { store: Object.assign(Object.create(client), { patch }) as KubeStore, writes };
}

async function until(what: string, holds: () => Promise<boolean> | boolean): Promise<void> {
  const deadlineMs = Date.now() + DEADLINE_MS;
  while (!(await holds())) {
    if (Date.now() > deadlineMs) throw new Error(`gave up waiting until ${what}`);
    await sleep(10);
  }
}

const parent = (controllerName: string) => ({ controllerName, parentRef: { name: "x" } });
const wanted = (reason: string): WantedStatus => ({
  kind: "HTTPRoute",
  ...KEY,
  body: {
    kind: "route",
    parents: [
      {
        ...parent("serin.dev/gateway-controller"),
        conditions: [condition("Accepted", 1, { reason, message: "" }, undefined)],
      },
    ],
  },
});

test("a status is written once, and again when it is another; what others wrote meanwhile stays", async (t) => {
  const { store, writes } = await world(t);
  const seen = await store.create(RESOURCES.httpRoute, gatewayApi("HTTPRoute", KEY, { rules: [] }));
  const writer = createGatewayStatusWriter({ store, clock: systemClock, logger, random: () => 0 });
  t.after(() => writer.stop());
  const read = async () => {
    const found = await store.get(RESOURCES.httpRoute, KEY);
    return (found?.["status"] ?? { parents: [] }) as {
      readonly parents: readonly {
        readonly controllerName: string;
        readonly conditions?: readonly { readonly reason: string }[];
      }[];
    };
  };
  const reasons = async () =>
    (await read()).parents.map(({ conditions }) => conditions?.[0]?.reason);
  const objects = (object: KubeObject) => mesh({ httpRoutes: [object] });
  const first = wanted("First");
  writer.apply([first], objects(seen));
  await until("it is written", async () => (await reasons())[0] === "First");
  const now = await store.get(RESOURCES.httpRoute, KEY);
  assert.ok(now);
  for (const status of [first, wanted("First")]) writer.apply([status], objects(now));
  // Another controller writes; the writer has not seen that.
  const { parents } = await read();
  await store.patch(
    RESOURCES.httpRoute,
    KEY,
    { status: { parents: [...parents, { ...parent("x.io/y"), conditions: [] }] } },
    { kind: "merge", subresource: "status" },
  );
  writes.length = 0;
  writer.apply([wanted("Second")], objects(now));
  await until("it is another", async () => (await reasons()).includes("Second"));
  assert.deepEqual((await read()).parents.map(({ controllerName }) => controllerName).sort(), [
    "serin.dev/gateway-controller",
    "x.io/y",
  ]);
  assert.deepEqual(writes, ["HTTPRoute web", "HTTPRoute web"], "refused once, then written");
  // One that is gone is forgotten.
  await store.delete(RESOURCES.httpRoute, KEY);
  writer.apply([wanted("Third")], objects(now));
  writer.apply([], mesh());
});

const deployment = (more: Partial<WantedDeployment> = {}): WantedDeployment => ({
  ...{ name: "web-serin", namespace: "default", gateway: "web", className: "serin" },
  ports: [
    { name: "http-80", number: 80 },
    { name: "tcp-8080", number: 8080 },
  ],
  ...{ labels: { team: "x" }, annotations: {} },
  ...more,
});

test("a Gateway's proxies: created, changed, taken away; what is somebody else's is left alone", async (t) => {
  const { store } = await world(t);
  const gateway = await store.create(
    RESOURCES.kubernetesGateway,
    gatewayApi("Gateway", KEY, {
      gatewayClassName: "serin",
      listeners: [{ name: "http", port: 80, protocol: "HTTP" }],
    }),
  );
  const serviceType = { "networking.istio.io/service-type": "ClusterIP" };
  const annotated = {
    ...gateway,
    metadata: { ...gateway.metadata, annotations: serviceType },
  };
  const deployer = createGatewayDeployer({ store, clock: systemClock, logger, random: () => 0 });
  t.after(() => deployer.stop());
  const get = (type: ResourceType, name = "web-serin") =>
    store.get(type, { namespace: "default", name });
  const specOf = async (type: ResourceType) =>
    ((await get(type))?.["spec"] ?? {}) as {
      readonly type?: string;
      readonly ports?: readonly { readonly port: number; readonly targetPort: number }[];
    };
  const apply = async (...all: readonly WantedDeployment[]): Promise<void> => {
    const { items } = await store.list(RESOURCES.service);
    deployer.apply(all, mesh({ kubernetesGateways: [annotated], services: items }));
  };
  await apply(deployment());
  await until("it is there", async () => (await get(RESOURCES.deployment)) !== undefined);
  await until("the classes are there", async () => {
    const { items } = await store.list(RESOURCES.gatewayClass);
    return (
      items
        .map(({ metadata }) => metadata.name)
        .sort()
        .join() === "istio,serin"
    );
  });
  const service = await specOf(RESOURCES.service);
  assert.equal(service.type, "ClusterIP");
  assert.deepEqual(
    service.ports?.map(({ port, targetPort }) => [port, targetPort]),
    // A port without privileges that no listener has.
    [
      [15_021, 15_021],
      [80, 8081],
      [8080, 8080],
    ],
  );
  const { metadata } = (await get(RESOURCES.deployment)) ?? {};
  assert.equal(metadata?.ownerReferences?.[0]?.uid, gateway.metadata.uid);
  assert.equal(metadata?.labels?.["team"], "x");

  // Scaling is somebody else's business.
  const key = { namespace: "default", name: "web-serin" };
  await store.patch(RESOURCES.deployment, key, { spec: { replicas: 3 } }, { kind: "merge" });
  await apply(deployment({ ports: [{ name: "http-81", number: 81 }] }));
  await until("the ports are others", async () => {
    return (await specOf(RESOURCES.service)).ports?.[1]?.port === 81;
  });
  await until("it is labelled", async () => (await get(RESOURCES.deployment)) !== undefined);
  const { replicas } = (await specOf(RESOURCES.deployment)) as { readonly replicas?: number };
  assert.equal(replicas, 3);

  const own: KubeObject = {
    apiVersion: "v1",
    kind: "Service",
    metadata: { name: "mine-serin", namespace: "default" },
    spec: { ports: [{ port: 1 }] },
  };
  await store.create(RESOURCES.service, own);
  await apply(
    deployment({ ports: [{ name: "http-81", number: 81 }] }),
    deployment({ name: "mine-serin" }),
  );
  await until("the other one is deployed", async () => {
    return (await get(RESOURCES.deployment, "mine-serin")) !== undefined;
  });
  const left = await get(RESOURCES.service, "mine-serin");
  assert.equal(left?.metadata.labels, undefined);

  await apply();
  await until("it is taken away", async () => (await get(RESOURCES.service)) === undefined);
  assert.equal(await get(RESOURCES.deployment), undefined);
  assert.notEqual(await get(RESOURCES.service, "mine-serin"), undefined);
});
