import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { type KubeObject, RESOURCES } from "../../src/api/index.ts";
import { startApiServer } from "../../src/embedded/api-server/index.ts";
import { createClientStore } from "../../src/kube/index.ts";
import type { KubeStore } from "../../src/kube/store.ts";
import { type ControlPlane, startControlPlane } from "../../src/mesh/index.ts";
import { createLogger, systemClock } from "../../src/runtime/index.ts";
import { ROUTE_TYPE } from "../../src/xds/index.ts";
import { connectProxy, until } from "./ads/proxy-client.ts";
import { connectRefusing } from "./ads/refusing-client.ts";
import { meshDefinitions } from "./definitions.ts";

const logger = createLogger("test", "silent");
const ANY_PORT = { xds: 0, debug: 0, webhook: 0 };

interface World {
  readonly store: KubeStore;
  readonly plane: ControlPlane;
  start(ports?: typeof ANY_PORT): Promise<ControlPlane>;
}

async function world(t: TestContext): Promise<World> {
  const dataDir = mkdtempSync(join(tmpdir(), "serin-mesh-"));
  t.after(() => rmSync(dataDir, { recursive: true, force: true }));
  const server = await startApiServer({ dataDir, port: 0, logger, clock: systemClock });
  t.after(() => server.stop());
  const store = createClientStore({ kubeconfigPath: server.kubeconfigPath });
  for (const definition of meshDefinitions()) {
    await store.create(RESOURCES.customResourceDefinition, definition);
  }
  await store.create(RESOURCES.namespace, {
    apiVersion: "v1",
    kind: "Namespace",
    metadata: { name: "istio-system" },
  });
  const start = async (ports = ANY_PORT): Promise<ControlPlane> => {
    const plane = await startControlPlane({
      store,
      telemetry: { ingest: () => {}, forget: () => {} },
      logger,
      clock: systemClock,
      host: "127.0.0.1",
      ports,
      rootNamespace: "istio-system",
      trustDomain: "cluster.local",
      interceptionMode: "NONE",
      accessLog: false,
    });
    t.after(() => plane.stop());
    return plane;
  };
  return { store, plane: await start(), start };
}

const service = (name: string): KubeObject => ({
  apiVersion: "v1",
  kind: "Service",
  metadata: { name, namespace: "default" },
  spec: { selector: { app: name }, ports: [{ name: "http", port: 9080, protocol: "TCP" }] },
});

const route = (primary: number, canary: number): KubeObject => ({
  apiVersion: "networking.istio.io/v1beta1",
  kind: "VirtualService",
  metadata: { name: "reviews", namespace: "default" },
  spec: {
    hosts: ["reviews"],
    http: [
      {
        route: [
          { destination: { host: "reviews-primary" }, weight: primary },
          { destination: { host: "reviews-canary" }, weight: canary },
        ],
      },
    ],
  },
});

const KEY = { namespace: "default", name: "reviews" };

interface Status {
  readonly observedGeneration?: number;
  readonly conditions?: readonly { type: string; status: string; message: string }[];
}

async function statusOf(store: KubeStore): Promise<Status> {
  const object = await store.get(RESOURCES.virtualService, KEY);
  return (object?.["status"] as Status | undefined) ?? {};
}

async function reconciled(store: KubeStore, generation: number, message: string): Promise<void> {
  let last: Status = {};
  await until(`generation ${generation}: ${message}`, async () => {
    last = await statusOf(store);
    const condition = last.conditions?.[0];
    return last.observedGeneration === generation && condition?.message === message;
  }).catch((error: unknown) => {
    throw new Error(`last status ${JSON.stringify(last)}`, { cause: error });
  });
  assert.equal(last.conditions?.[0]?.type, "Reconciled");
}

async function apply(store: KubeStore): Promise<void> {
  for (const name of ["reviews", "reviews-primary", "reviews-canary"]) {
    await store.create(RESOURCES.service, service(name));
  }
  await store.create(RESOURCES.virtualService, route(100, 0));
}

test("a VirtualService is reconciled once every connected proxy has it", async (t) => {
  const { store, plane } = await world(t);
  await apply(store);
  await reconciled(store, 1, "0/0 proxies up to date");
  const one = connectProxy(plane.ports.xds);
  const two = connectProxy(plane.ports.xds, { pod: "b-1-x", ip: "127.16.0.9", protocol: "sotw" });
  t.after(() => one.stop());
  t.after(() => two.stop());
  await reconciled(store, 1, "2/2 proxies up to date");
  const before = one.store.versions(ROUTE_TYPE)["http_proxy"];
  await store.patch(
    RESOURCES.virtualService,
    KEY,
    { spec: route(90, 10)["spec"] },
    { kind: "merge" },
  );
  await reconciled(store, 2, "2/2 proxies up to date");
  assert.equal((await statusOf(store)).conditions?.[0]?.status, "True");
  assert.notEqual(one.store.versions(ROUTE_TYPE)["http_proxy"], before);
  two.stop();
  await reconciled(store, 2, "1/1 proxies up to date");
  const metrics = await (await fetch(`http://127.0.0.1:${plane.ports.debug}/metrics`)).text();
  assert.match(metrics, /^pilot_xds 1$/m);
  assert.match(metrics, /^pilot_xds_pushes\{type="rds"\} [1-9]/m);
  assert.match(metrics, /^pilot_xds_push_time_count\{type="rds"\} [1-9]/m);
  assert.match(metrics, /^pilot_proxy_convergence_time_count [1-9]/m);
  assert.match(metrics, /^process_resident_memory_bytes [1-9]/m);
  assert.match(metrics, /^pilot_proxy_queue_time_count [1-9]/m);
  assert.match(metrics, /^pilot_push_triggers [1-9]/m);
  assert.match(metrics, /^pilot_services 3$/m);
  assert.match(metrics, /^pilot_virt_services 1$/m);
  assert.match(metrics, /^pilot_eds_no_instances 3$/m);
  assert.match(metrics, /^pilot_total_xds_internal_errors 0$/m);
  assert.match(metrics, /^pilot_xds_rds_reject 0$/m);
  assert.match(metrics, /^citadel_server_cert_chain_expiry_timestamp [1-9]/m);
  assert.match(metrics, /^citadel_server_root_cert_expiry_timestamp [1-9]/m);
  for (const name of ["csr", "success_cert_issuance", "authentication_failure"]) {
    assert.match(metrics, new RegExp(`^citadel_server_${name}_count 0$`, "m"));
  }
  const endpointz = await fetch(`http://127.0.0.1:${plane.ports.debug}/debug/endpointz`);
  assert.deepEqual(
    ((await endpointz.json()) as { svc: string }[]).map(({ svc }) => svc),
    [
      "reviews-canary.default.svc.cluster.local:http",
      "reviews-primary.default.svc.cluster.local:http",
      "reviews.default.svc.cluster.local:http",
    ],
  );
  const configz = await fetch(`http://127.0.0.1:${plane.ports.debug}/debug/configz`);
  const [config] = (await configz.json()) as KubeObject[];
  assert.deepEqual([config?.kind, config?.metadata.name], ["VirtualService", "reviews"]);
  const syncz = await fetch(`http://127.0.0.1:${plane.ports.debug}/debug/syncz`);
  const [proxy] = (await syncz.json()) as Record<string, string>[];
  assert.equal(proxy?.["proxy"], "productpage-v1-6b4c8d7f9-qwert.default");
  assert.equal(proxy?.["route_status"], "SYNCED");
  assert.equal(proxy?.["route_sent"], proxy?.["route_acked"]);
});

test("a VirtualService that is left out says why, and a repaired one is reconciled", async (t) => {
  const { store } = await world(t);
  await apply(store);
  await reconciled(store, 1, "0/0 proxies up to date");
  // As if it had been written while nobody validated.
  await store.delete(RESOURCES.validatingWebhookConfiguration, {
    name: "istio-validator-istio-system",
  });
  const patch = (spec: unknown) =>
    store.patch(RESOURCES.virtualService, KEY, { spec }, { kind: "merge" });
  await patch({ hosts: "reviews" });
  await until("the reason", async () => {
    const { observedGeneration, conditions } = await statusOf(store);
    const [condition] = conditions ?? [];
    return (
      observedGeneration === 2 &&
      condition?.status === "False" &&
      /^0\/0 proxies up to date; .*hosts/.test(condition.message)
    );
  });
  await patch({ hosts: ["reviews"] });
  await reconciled(store, 3, "0/0 proxies up to date");
});

test("a control plane that comes back finds its proxies, and takes a taken port by its code", async (t) => {
  const { store, plane, start } = await world(t);
  await apply(store);
  await assert.rejects(start({ ...ANY_PORT, xds: plane.ports.xds }), { code: "SERIN_PORT_IN_USE" });
  await assert.rejects(start({ ...ANY_PORT, debug: plane.ports.debug }), {
    code: "SERIN_PORT_IN_USE",
  });
  const proxy = connectProxy(plane.ports.xds);
  t.after(() => proxy.stop());
  await reconciled(store, 1, "1/1 proxies up to date");
  const before = proxy.store.versions(ROUTE_TYPE);
  await plane.stop();
  await until("the loss noticed", () => !proxy.isConnected());
  assert.deepEqual(proxy.store.versions(ROUTE_TYPE), before, "the proxy keeps what it has");
  await start({ ...ANY_PORT, xds: plane.ports.xds });
  await until("the proxy back", () => proxy.isConnected());
  await store.patch(
    RESOURCES.virtualService,
    KEY,
    { spec: route(50, 50)["spec"] },
    { kind: "merge" },
  );
  await reconciled(store, 2, "1/1 proxies up to date");
});

test("after a start, sidecars that have not come back yet are waited for, but not for ever", async (t) => {
  const { store, plane, start } = await world(t);
  await apply(store);
  await reconciled(store, 1, "0/0 proxies up to date");
  await plane.stop();
  await store.delete(RESOURCES.validatingWebhookConfiguration, {
    name: "istio-validator-istio-system",
  });
  await store.create(RESOURCES.pod, {
    apiVersion: "v1",
    kind: "Pod",
    metadata: {
      name: "sleeper",
      namespace: "default",
      labels: { "security.istio.io/tlsMode": "istio" },
    },
    spec: { containers: [{ name: "istio-proxy", image: "proxy" }] },
  });
  const changed = { spec: route(90, 10)["spec"] };
  await store.patch(RESOURCES.virtualService, KEY, changed, { kind: "merge" });
  await start();
  await reconciled(store, 2, "0/1 proxies up to date");
  assert.equal((await statusOf(store)).conditions?.[0]?.status, "False");
  await reconciled(store, 2, "0/0 proxies up to date");
  assert.equal((await statusOf(store)).conditions?.[0]?.status, "True");
});

test("a refusal is told in the status and in one Event of the VirtualService", async (t) => {
  const { store, plane } = await world(t);
  await apply(store);
  const proxy = connectProxy(plane.ports.xds);
  t.after(() => proxy.stop());
  await reconciled(store, 1, "1/1 proxies up to date");
  const reason = "http_proxy: reviews.default.svc.cluster.local: no such thing";
  const refuser = connectRefusing(plane.ports.xds, reason);
  t.after(() => refuser.stop());
  const id = "sidecar~127.16.0.8~refuser.default~default.svc.cluster.local";
  await reconciled(store, 1, `1/2 proxies up to date; ${id}: rds: ${reason}`);
  assert.equal((await statusOf(store)).conditions?.[0]?.status, "False");
  const metrics = await (await fetch(`http://127.0.0.1:${plane.ports.debug}/metrics`)).text();
  assert.match(metrics, /^pilot_xds_rds_reject 1$/m);
  assert.match(metrics, /^pilot_total_xds_rejects\{type="rds"\} 1$/m);
  let events: readonly KubeObject[] = [];
  await until("the Event", async () => {
    events = (await store.list(RESOURCES.event, { namespace: "default" })).items;
    return events.length > 0;
  });
  assert.equal(events.length, 1);
  assert.equal(events[0]?.["reason"], "ProxyRejected");
  assert.equal(events[0]?.["message"], `rds refused by ${id}: ${reason}`);
  const involved = events[0]?.["involvedObject"] as { readonly name: string } | undefined;
  assert.equal(involved?.name, "reviews");
  refuser.stop();
  await reconciled(store, 1, "1/1 proxies up to date");
});
