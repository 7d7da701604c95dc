import assert from "node:assert/strict";
import { test } from "node:test";
import { type KubeObject, RESOURCES } from "../../src/api/index.ts";
import { objectAt } from "../../src/controller/core/json.ts";
import { canary, namespace, World } from "./world.ts";

const LADDER = { stepWeights: [10, 100] };
const ORIGINAL = "flagger.kubernetes.io/original-configuration";
const LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration";

function service(extra: Readonly<Record<string, unknown>> = {}): KubeObject {
  return {
    apiVersion: "v1",
    kind: "Service",
    metadata: { name: "cart", namespace, labels: { team: "shop" }, annotations: { note: "mine" } },
    spec: {
      type: "NodePort",
      sessionAffinity: "ClientIP",
      selector: { app: "cart" },
      ports: [{ name: "web", port: 80, targetPort: 8080, nodePort: 30_080 }],
      ...extra,
    },
  };
}

function virtualService(annotations = {}): KubeObject {
  return {
    apiVersion: "networking.istio.io/v1beta1",
    kind: "VirtualService",
    metadata: { name: "cart", namespace, annotations },
    spec: { hosts: ["cart.example.com"], http: [{ route: [{ destination: { host: "cart" } }] }] },
  };
}

async function takenOver(...existing: readonly KubeObject[]): Promise<World> {
  const world = new World();
  for (const object of existing) {
    const type = object.kind === "Service" ? RESOURCES.service : RESOURCES.virtualService;
    await world.store.create(type, object);
  }
  await world.start(canary(LADDER));
  assert.ok(await world.runUntil(["Initialized"]));
  const idle = world.writes;
  await world.turns(5);
  assert.equal(world.writes, idle, "what was taken over is not repaired again and again");
  return world;
}

test("an existing Service keeps its type, node port, labels and owner; ports and selector are enforced", async () => {
  const world = await takenOver(service());
  const { metadata, spec } = await world.get(RESOURCES.service, "cart");
  assert.deepEqual(metadata.labels, { team: "shop" });
  assert.deepEqual(metadata.annotations, { note: "mine" });
  assert.equal(metadata.ownerReferences, undefined);
  assert.deepEqual(spec, {
    type: "NodePort",
    sessionAffinity: "ClientIP",
    selector: { app: "cart-primary" },
    ports: [{ name: "http", protocol: "TCP", port: 80, targetPort: 80, nodePort: 30_080 }],
  });
});

test("an existing VirtualService keeps its words in an annotation, and no owner that would delete it", async () => {
  const world = await takenOver(virtualService());
  const { metadata } = await world.get(RESOURCES.virtualService, "cart");
  assert.deepEqual(JSON.parse(metadata.annotations?.[ORIGINAL] ?? ""), virtualService()["spec"]);
  assert.equal(metadata.ownerReferences, undefined);
  await world.setImage("cart:v2");
  assert.ok(await world.runUntil(["Succeeded"]));
  const after = (await world.get(RESOURCES.virtualService, "cart")).metadata;
  assert.deepEqual(
    JSON.parse(after.annotations?.[ORIGINAL] ?? ""),
    virtualService()["spec"],
    "the first words, not Serin's own",
  );
});

test("a VirtualService that kubectl applied is remembered by kubectl's annotation alone", async () => {
  const applied = JSON.stringify(virtualService());
  const world = await takenOver(virtualService({ [LAST_APPLIED]: applied }));
  const { annotations } = (await world.get(RESOURCES.virtualService, "cart")).metadata;
  assert.equal(annotations?.[LAST_APPLIED], applied);
  assert.equal(annotations?.[ORIGINAL], undefined);
});

test("drift is repaired: a selector, a route and a field nobody asked for", async () => {
  const world = await takenOver();
  const key = { namespace, name: "cart" };
  const merge = { kind: "merge" } as const;
  await world.store.patch(RESOURCES.service, key, { spec: { selector: { app: "x" } } }, merge);
  const route = await world.get(RESOURCES.virtualService, "cart");
  const before = route["spec"];
  const [http] = objectAt(route, "spec")["http"] as [object];
  const spec = { ...objectAt(route, "spec"), http: [{ ...http, fault: { abort: {} } }] };
  await world.store.update(RESOURCES.virtualService, { ...route, spec });
  await world.turns(3);
  assert.deepEqual((await world.get(RESOURCES.virtualService, "cart"))["spec"], before);
  const { selector } = objectAt(await world.get(RESOURCES.service, "cart"), "spec");
  assert.deepEqual(selector, { app: "cart-primary" });
});

test("an option taken out of the Canary leaves the route and the DestinationRules", async () => {
  const world = await takenOver();
  const trafficPolicy = { tls: { mode: "ISTIO_MUTUAL" } };
  await world.patchSpec({ service: { port: 80, timeout: "5s", trafficPolicy } });
  await world.turns(3);
  const texts = async () =>
    JSON.stringify([
      (await world.get(RESOURCES.virtualService, "cart"))["spec"],
      (await world.get(RESOURCES.destinationRule, "cart-canary"))["spec"],
    ]);
  assert.match(await texts(), /"timeout":"5s".*ISTIO_MUTUAL/);
  await world.patchSpec({ service: { timeout: null, trafficPolicy: null } });
  await world.turns(3);
  assert.doesNotMatch(await texts(), /timeout|ISTIO_MUTUAL/);
});
