import assert from "node:assert/strict";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { type KubeObject, RESOURCES } from "../../../src/api/index.ts";
import { startApiServer } from "../../../src/embedded/api-server/index.ts";
import { type ControlPlane, startControlPlane } from "../../../src/mesh/index.ts";
import { systemClock } from "../../../src/runtime/index.ts";
import { ENDPOINT_TYPE, ROUTE_TYPE, XDS_TYPES } from "../../../src/xds/index.ts";
import { connectProxy, until } from "../ads/proxy-client.ts";
import { ROOT_NAMESPACE, silent, startWorld, TRUST_DOMAIN, type World } from "../security/world.ts";

const service = (name: string): KubeObject => ({
  apiVersion: "v1",
  kind: "Service",
  metadata: { name, namespace: "default" },
  spec: { selector: { app: name }, ports: [{ name: "http", port: 9080, protocol: "TCP" }] },
});
const clusterOf = (name: string): string => `outbound|9080||${name}.default.svc.cluster.local`;

async function start(t: TestContext, { store }: World): Promise<ControlPlane> {
  const plane = await startControlPlane({
    ...{ store, logger: silent, clock: systemClock },
    telemetry: { ingest: () => {}, forget: () => {} },
    host: "127.0.0.1",
    ports: { xds: 0, debug: 0, webhook: 0 },
    ...{ rootNamespace: ROOT_NAMESPACE, trustDomain: TRUST_DOMAIN },
    ...{ interceptionMode: "NONE", accessLog: false },
  });
  t.after(() => plane.stop());
  return plane;
}

/** Responses sent to proxies so far, all types. */
async function pushesOf(plane: ControlPlane): Promise<number> {
  const text = await (await fetch(`http://127.0.0.1:${plane.ports.debug}/metrics`)).text();
  const counts = [...text.matchAll(/^pilot_xds_pushes\{[^}]*\} (\d+)$/gm)];
  return counts.reduce((sum, [, count]) => sum + Number(count), 0);
}

test("the API server goes away: the last model serves; it comes back: nothing is sent that is the same", async (t) => {
  const world = await startWorld(t);
  await world.store.create(RESOURCES.service, service("one"));
  const plane = await start(t, world);
  const proxy = connectProxy(plane.ports.xds);
  t.after(() => proxy.stop());
  const hasCluster = (name: string) => clusterOf(name) in proxy.store.versions(ENDPOINT_TYPE);
  await until("the first model", () => hasCluster("one"));
  await until("routes", () => "http_proxy" in proxy.store.versions(ROUTE_TYPE));
  const { port } = world.api;
  await world.api.stop();
  const late = connectProxy(plane.ports.xds, { pod: "late-1-x", ip: "127.16.0.9" });
  t.after(() => late.stop());
  await until("a proxy that comes now is served", () =>
    Object.hasOwn(late.store.versions(ROUTE_TYPE), "http_proxy"),
  );
  const before = XDS_TYPES.map((type) => proxy.store.versions(type));
  const pushes = await pushesOf(plane);
  const dataDir = join(world.dir, "data");
  const again = await startApiServer({ dataDir, port, logger: silent, clock: systemClock });
  t.after(() => again.stop());
  // Watches come back after their back-off, one kind after the other; a change tells when.
  await world.store.create(RESOURCES.service, service("two"));
  await until("the change after it", () => hasCluster("two"));
  assert.ok(proxy.isConnected() && late.isConnected());
  await until("both have it all", () =>
    [proxy, late].every((each) => clusterOf("two") in each.store.versions(ENDPOINT_TYPE)),
  );
  // The new service: clusters, endpoints and routes to each of two proxies, and nothing else.
  const sent = (await pushesOf(plane)) - pushes;
  assert.ok(sent <= 6, `${sent} responses`);
  assert.equal(
    proxy.store.versions(ENDPOINT_TYPE)[clusterOf("one")],
    before[XDS_TYPES.indexOf(ENDPOINT_TYPE)]?.[clusterOf("one")],
  );
});

test("two control planes at once serve the same, version by version", async (t) => {
  const world = await startWorld(t);
  for (const name of ["one", "two"]) await world.store.create(RESOURCES.service, service(name));
  const [first, second] = await Promise.all([start(t, world), start(t, world)]);
  const proxies = [first, second].map(({ ports }) => connectProxy(ports.xds));
  for (const proxy of proxies) t.after(() => proxy.stop());
  const isSame = (): boolean => {
    const [a, b] = proxies.map(({ store }) => XDS_TYPES.map((type) => store.versions(type)));
    return (
      Object.hasOwn(a?.[XDS_TYPES.indexOf(ROUTE_TYPE)] ?? {}, "http_proxy") &&
      JSON.stringify(sorted(a)) === JSON.stringify(sorted(b))
    );
  };
  await until("the same", isSame);
  await world.store.create(RESOURCES.service, service("three"));
  await until("the same after a change", () => {
    const haveIt = proxies.every(
      ({ store }) => clusterOf("three") in store.versions(ENDPOINT_TYPE),
    );
    return haveIt && isSame();
  });
});

const sorted = (all: readonly Readonly<Record<string, string>>[] = []) =>
  all.map((each) => Object.entries(each).sort());
