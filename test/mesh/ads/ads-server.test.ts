import assert from "node:assert/strict";
import { type TestContext, test } from "node:test";
import {
  type Ads,
  type AdsEvent,
  type AdsOptions,
  createAds,
} from "../../../src/mesh/ads-server.ts";
import type { MeshObjects } from "../../../src/mesh/core/mesh-objects.ts";
import { buildModel } from "../../../src/mesh/core/model.ts";
import { createTranslator } from "../../../src/mesh/core/translate.ts";
import { startGrpcServer } from "../../../src/mesh/grpc-server.ts";
import { createLogger } from "../../../src/runtime/index.ts";
import { ROUTE_TYPE, SECRET_TYPE } from "../../../src/xds/index.ts";
import { bookinfo, mesh, reviewsSubsets, virtualService } from "../core/support/objects.ts";
import { createIdentities } from "./identities.ts";
import { connectProxy, type ProxyClient, until } from "./proxy-client.ts";

const OPTIONS = { trustDomain: "cluster.local", rootNamespace: "istio-system" };

interface Server {
  readonly ads: Ads;
  readonly port: number;
  readonly events: AdsEvent[];
  publish(objects: MeshObjects): number;
}

async function start(t: TestContext, options: Partial<AdsOptions> = {}): Promise<Server> {
  const events: AdsEvent[] = [];
  const logger = createLogger("test", "silent");
  const ads = createAds({ logger, onEvent: (event) => void events.push(event), ...options });
  const server = await startGrpcServer({ host: "127.0.0.1", port: 0, methods: ads.methods });
  t.after(async () => {
    ads.stop();
    await server.stop();
  });
  let number = 0;
  return {
    ads,
    port: server.port,
    events,
    publish(objects) {
      number += 1;
      const translator = createTranslator(buildModel(objects, OPTIONS), { accessLog: false });
      ads.publish({ number, resourcesFor: (node) => translator.resourcesFor(node) });
      return number;
    },
  };
}

function proxy(t: TestContext, server: Server, options: Parameters<typeof connectProxy>[1] = {}) {
  const client = connectProxy(server.port, options);
  t.after(() => client.stop());
  return client;
}

const split = (v1: number, v3: number) =>
  virtualService(
    { name: "reviews" },
    {
      hosts: ["reviews"],
      http: [
        {
          route: [
            { destination: { host: "reviews", subset: "v1" }, weight: v1 },
            { destination: { host: "reviews", subset: "v3" }, weight: v3 },
          ],
        },
      ],
    },
  );

function world(...parts: readonly Partial<MeshObjects>[]): MeshObjects {
  return mesh(bookinfo(), { destinationRules: [reviewsSubsets()] }, ...parts);
}

const isSynced = (server: Server, push: number): boolean => {
  const all = server.ads.connections();
  return all.length > 0 && all.every((each) => each.session.ackedPush() >= push);
};

const versionOf = (client: ProxyClient, type: typeof ROUTE_TYPE, name: string) =>
  client.store.versions(type)[name];

for (const protocol of ["delta", "sotw"] as const) {
  test(`${protocol}: our proxy becomes warm, and follows a change of weights`, async (t) => {
    const server = await start(t, await createIdentities());
    const first = server.publish(world({ virtualServices: [split(100, 0)] }));
    const client = proxy(t, server, { protocol, token: "good" });
    await until("the first push acknowledged", () => isSynced(server, first));
    await until("warm", () => client.store.isWarm());
    assert.ok(client.store.current().listeners.has("127.16.0.2_15001"));
    assert.ok(client.store.current().cluster("outbound|9080|v3|reviews.default.svc.cluster.local"));
    const before = versionOf(client, ROUTE_TYPE, "http_proxy");
    assert.ok(before !== undefined);
    const answered = client.answers.length;
    const second = server.publish(world({ virtualServices: [split(90, 10)] }));
    await until("the second push acknowledged", () => isSynced(server, second));
    assert.notEqual(versionOf(client, ROUTE_TYPE, "http_proxy"), before);
    assert.deepEqual(client.answers.slice(answered), [[ROUTE_TYPE, undefined]], "only routes went");
  });
}

test("secrets go to the owner of the node id only, and again when they rotate", async (t) => {
  const identities = await createIdentities();
  const server = await start(t, identities);
  const push = server.publish(world());
  const owner = proxy(t, server, { token: "good" });
  const foreign = proxy(t, server, { token: "foreign" });
  await until("both have their configuration", () => {
    return server.ads.connections().length === 2 && isSynced(server, push);
  });
  await until("the owner's secrets", () => owner.store.secrets.size === 2);
  assert.equal(foreign.store.secrets.size, 0);
  const before = owner.store.versions(SECRET_TYPE);
  identities.rotate();
  await until("the new certificate", () => {
    return owner.store.versions(SECRET_TYPE)["default"] !== before["default"];
  });
  assert.equal(owner.store.versions(SECRET_TYPE)["ROOTCA"], before["ROOTCA"]);
  assert.equal(foreign.store.secrets.size, 0);
});
