import assert from "node:assert/strict";
import { type TestContext, test } from "node:test";
import { Client, credentials, Metadata } from "@grpc/grpc-js";
import {
  type Ads,
  type AdsEvent,
  type AdsOptions,
  createAds,
} from "../../../src/mesh/ads-server.ts";
import type { MeshObjects } from "../../../src/mesh/core/mesh-objects.ts";
import { buildModel } from "../../../src/mesh/core/model.ts";
import type { ProxyNode } from "../../../src/mesh/core/proxy-node.ts";
import { createTranslator } from "../../../src/mesh/core/translate.ts";
import type { ResourceSet, XdsResource } from "../../../src/mesh/core/xds-resource.ts";
import { startGrpcServer } from "../../../src/mesh/grpc-server.ts";
import { createLogger, systemClock } from "../../../src/runtime/index.ts";
import { CLUSTER_TYPE, encode, ROUTE_TYPE, SECRET_TYPE } from "../../../src/xds/index.ts";
import { bookinfo, mesh, reviewsSubsets, virtualService } from "../core/support/objects.ts";
import { createIdentities } from "./identities.ts";
import { connectProxy, type ProxyClient, until } from "./proxy-client.ts";

const OPTIONS = { trustDomain: "cluster.local", rootNamespace: "istio-system" };

interface Server {
  readonly ads: Ads;
  readonly port: number;
  readonly events: AdsEvent[];
  publish(objects: MeshObjects): number;
  /** What the newest published objects translate to. */
  translated(node: ProxyNode): ResourceSet;
}

async function start(t: TestContext, options: Partial<AdsOptions> = {}): Promise<Server> {
  const events: AdsEvent[] = [];
  const logger = createLogger("test", "silent");
  const onEvent = (event: AdsEvent) => void events.push(event);
  const ads = createAds({ logger, clock: systemClock, onEvent, ...options });
  const server = await startGrpcServer({ host: "127.0.0.1", port: 0, methods: ads.methods });
  t.after(async () => {
    ads.stop();
    await server.stop();
  });
  let number = 0;
  let translated = (_: ProxyNode): ResourceSet => new Map();
  return {
    ads,
    port: server.port,
    events,
    publish(objects) {
      number += 1;
      const translator = createTranslator(buildModel(objects, OPTIONS), { accessLog: false });
      translated = (node) => translator.resourcesFor(node);
      ads.publish({ number, resourcesFor: translated });
      return number;
    },
    translated: (node) => translated(node),
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

test("a bad token is UNAUTHENTICATED, a bad node INVALID_ARGUMENT with the field", async (t) => {
  const server = await start(t, await createIdentities());
  server.publish(world());
  assert.match(await refusal(server, { token: "stolen" }), /^16 UNAUTHENTICATED: /);
  assert.match(
    await refusal(server, { node: { id: "x" } }),
    /^3 INVALID_ARGUMENT: node\.id: must be role~ip/,
  );
  assert.match(await refusal(server, { bytes: Buffer.from([255]) }), /^3 INVALID_ARGUMENT: /);
  assert.deepEqual(server.ads.connections(), []);
});

test("a refused push keeps what the proxy has, and a good one ends the error", async (t) => {
  const server = await start(t);
  const first = server.publish(world());
  const client = proxy(t, server);
  await until("the first push acknowledged", () => isSynced(server, first));
  const before = versionOf(client, ROUTE_TYPE, "http_proxy");
  server.ads.publish({
    number: first + 1,
    resourcesFor: (node) => withBadRoutes(server.translated(node)),
  });
  await until("the refusal", () => server.events.some((event) => event.kind === "rejected"));
  const [connection] = server.ads.connections();
  const rds = connection?.session.progress().find((each) => each.typeUrl === ROUTE_TYPE);
  assert.match(rds?.rejected[0]?.message ?? "", /http_proxy: virtual_hosts\[0\]\.domains/);
  assert.equal(isSynced(server, first + 1), false);
  assert.equal(isSynced(server, first), true);
  assert.equal(versionOf(client, ROUTE_TYPE, "http_proxy"), before);
  server.ads.publish({
    number: first + 2,
    resourcesFor: (node) => server.translated(node),
  });
  await until("the good push acknowledged", () => isSynced(server, first + 2));
});

test("a push with a dangling reference is held back, with the name of what is missing", async (t) => {
  const server = await start(t);
  const first = server.publish(world());
  const client = proxy(t, server);
  await until("the first push acknowledged", () => isSynced(server, first));
  const clusters = Object.keys(client.store.versions(CLUSTER_TYPE));
  server.ads.publish({
    number: first + 1,
    resourcesFor: (node) => new Map([...server.translated(node), [CLUSTER_TYPE, NO_RESOURCES]]),
  });
  const [connection] = server.ads.connections();
  assert.match(connection?.problems[0]?.message ?? "", / names cluster .*, which does not exist/);
  assert.deepEqual(Object.keys(client.store.versions(CLUSTER_TYPE)), clusters);
  assert.equal(isSynced(server, first + 1), false);
});

const NO_RESOURCES: ReadonlyMap<string, XdsResource> = new Map();

/** The same resources, but with one domain twice, which every client refuses. */
function withBadRoutes(resources: ResourceSet): ResourceSet {
  const message = "envoy.config.route.v3.RouteConfiguration";
  const body = encode(message, {
    name: "http_proxy",
    virtual_hosts: [{ name: "a", domains: ["a", "a"], routes: [] }],
  });
  const bad = { typeUrl: ROUTE_TYPE, name: "http_proxy", version: "bad", body } as const;
  return new Map([...resources, [ROUTE_TYPE, new Map([["http_proxy", bad]])]]);
}

/** How the server ends a stream that opens with this. */
function refusal(
  server: Server,
  options: { readonly token?: string; readonly node?: object; readonly bytes?: Buffer },
): Promise<string> {
  const client = new Client(`127.0.0.1:${server.port}`, credentials.createInsecure());
  const metadata = new Metadata();
  if (options.token !== undefined) metadata.set("authorization", `Bearer ${options.token}`);
  const node = options.node ?? { id: "sidecar~127.0.0.1~a.default~default.svc.cluster.local" };
  const request = encode("envoy.service.discovery.v3.DiscoveryRequest", {
    node,
    type_url: CLUSTER_TYPE,
  });
  const same = (bytes: Buffer): Buffer => bytes;
  return new Promise((resolve) => {
    const stream = client.makeBidiStreamRequest(
      "/envoy.service.discovery.v3.AggregatedDiscoveryService/StreamAggregatedResources",
      same,
      same,
      metadata,
    );
    stream.on("data", () => {});
    stream.on("error", (error) => {
      client.close();
      resolve(error.message);
    });
    stream.write(options.bytes ?? Buffer.from(request));
  });
}
