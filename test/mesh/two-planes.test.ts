import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { RESOURCES } from "../../src/api/index.ts";
import { startApiServer } from "../../src/embedded/api-server/index.ts";
import { createClientStore } from "../../src/kube/index.ts";
import type { KubeStore } from "../../src/kube/store.ts";
import { type ControlPlane, startControlPlane } from "../../src/mesh/index.ts";
import { createLogger, systemClock } from "../../src/runtime/index.ts";
import { ROUTE_TYPE, SECRET_TYPE, XDS_TYPES } from "../../src/xds/index.ts";
import { connectProxy, type ProxyClient, until } from "./ads/proxy-client.ts";
import { destinationRule, service, virtualService } from "./core/support/objects.ts";
import { meshDefinitions } from "./definitions.ts";

const logger = createLogger("test", "silent");
const LEASE = { namespace: "istio-system", name: "serin-control-plane-leader" };
const REVIEWS = { name: "reviews" };
const KEY = { namespace: "default", name: "reviews" };

/** Two control planes over one API; every write of a VirtualService's status is counted. */
async function world(t: TestContext) {
  const dataDir = mkdtempSync(join(tmpdir(), "serin-planes-"));
  t.after(() => rmSync(dataDir, { recursive: true, force: true }));
  const api = await startApiServer({ dataDir, port: 0, logger, clock: systemClock });
  t.after(() => api.stop());
  const store = createClientStore({ kubeconfigPath: api.kubeconfigPath });
  for (const definition of meshDefinitions()) {
    await store.create(RESOURCES.customResourceDefinition, definition);
  }
  const metadata = { name: "istio-system" };
  await store.create(RESOURCES.namespace, { apiVersion: "v1", kind: "Namespace", metadata });
  const writes: Record<string, number> = {};
  const start = async (name: string): Promise<ControlPlane> => {
    const own = createClientStore({ kubeconfigPath: api.kubeconfigPath });
    const counting: KubeStore = {
      ...own,
      patch(type, ...rest) {
        if (type === RESOURCES.virtualService) writes[name] = (writes[name] ?? 0) + 1;
        return own.patch(type, ...rest);
      },
    };
    const plane = await startControlPlane({
      ...{ store: counting, name, logger, clock: systemClock, host: "127.0.0.1" },
      telemetry: { ingest: () => {}, forget: () => {} },
      ports: { xds: 0, debug: 0, webhook: 0 },
      rootNamespace: "istio-system",
      trustDomain: "cluster.local",
      interceptionMode: "NONE",
      accessLog: false,
    });
    t.after(() => plane.stop());
    return plane;
  };
  return { store, start, writes };
}

async function apply(store: KubeStore): Promise<void> {
  const made = service({
    name: "reviews",
    ports: [{ port: 9080, name: "http" }],
    pods: ["v1", "v2"].map((version, i) => ({
      name: `reviews-${version}-5d8f-abcd${i}`,
      ip: `127.16.0.${3 + i}`,
      labels: { app: "reviews", version },
    })),
  });
  for (const object of made.services ?? []) await store.create(RESOURCES.service, object);
  for (const object of made.endpointSlices ?? []) {
    await store.create(RESOURCES.endpointSlice, object);
  }
  const subsets = ["v1", "v2"].map((version) => ({ name: version, labels: { version } }));
  const rule = destinationRule(REVIEWS, { host: "reviews", subsets });
  await store.create(RESOURCES.destinationRule, rule);
  await store.create(RESOURCES.virtualService, route(90, 10));
}

const route = (v1: number, v2: number) =>
  virtualService(REVIEWS, {
    hosts: ["reviews"],
    http: [
      {
        route: [
          { destination: { host: "reviews", subset: "v1" }, weight: v1 },
          { destination: { host: "reviews", subset: "v2" }, weight: v2 },
        ],
      },
    ],
  });

const versionsOf = ({ store }: ProxyClient) =>
  XDS_TYPES.filter((type) => type !== SECRET_TYPE).map((type) => store.versions(type));

test("two control planes serve the same; one of them writes, and the other when it is gone", async (t) => {
  const { store, start, writes } = await world(t);
  await apply(store);
  const one = await start("plane-1");
  const two = await start("plane-2");
  const holder = async (): Promise<unknown> => {
    const lease = await store.get(RESOURCES.lease, LEASE);
    return (lease?.["spec"] as { holderIdentity?: string } | undefined)?.holderIdentity;
  };
  const webhookUrl = async (): Promise<string> => {
    const name = "istio-validator-istio-system";
    const found = await store.get(RESOURCES.validatingWebhookConfiguration, { name });
    const [webhook] = (found?.["webhooks"] ?? []) as { clientConfig: { url: string } }[];
    return webhook?.clientConfig.url ?? "";
  };
  assert.equal(await holder(), "plane-1");
  assert.match(await webhookUrl(), new RegExp(`:${one.ports.webhook}/`));
  // The same proxy to both: what it gets must not depend on whom it asks.
  const [a, b] = [connectProxy(one.ports.xds), connectProxy(two.ports.xds)];
  t.after(() => a.stop());
  t.after(() => b.stop());
  const same = async (what: string): Promise<void> => {
    await until(what, () => Object.keys(a.store.versions(ROUTE_TYPE)).length > 0);
    await until(what, () => {
      const [left, right] = [versionsOf(a), versionsOf(b)];
      return JSON.stringify(left) === JSON.stringify(right);
    });
  };
  await same("the same resources");
  const before = a.store.versions(ROUTE_TYPE)["http_proxy"];
  const generation = async () =>
    (await store.get(RESOURCES.virtualService, KEY))?.metadata.generation;
  const observed = async () => {
    const object = await store.get(RESOURCES.virtualService, KEY);
    return (object?.["status"] as { observedGeneration?: number } | undefined)?.observedGeneration;
  };
  const change = async (v1: number, v2: number): Promise<void> => {
    const patch = { spec: route(v1, v2)["spec"] };
    await store.patch(RESOURCES.virtualService, KEY, patch, { kind: "merge" });
    await until("the status", async () => (await observed()) === (await generation()));
  };
  await change(50, 50);
  await until("the change", () => a.store.versions(ROUTE_TYPE)["http_proxy"] !== before);
  await same("the same after a change");
  assert.equal(writes["plane-2"] ?? 0, 0, "who does not lead writes nothing");
  assert.ok((writes["plane-1"] ?? 0) > 0);

  await one.stop();
  await until("the other leads", async () => (await holder()) === "plane-2");
  await until("webhooks follow", async () =>
    (await webhookUrl()).includes(`:${two.ports.webhook}/`),
  );
  await change(10, 90);
  assert.ok((writes["plane-2"] ?? 0) > 0);
  const third = await start("plane-1");
  assert.equal(await holder(), "plane-2", "who comes back waits");
  const c = connectProxy(third.ports.xds);
  t.after(() => c.stop());
  await until("the newcomer serves the same", () => {
    return JSON.stringify(versionsOf(c)) === JSON.stringify(versionsOf(b));
  });
});
