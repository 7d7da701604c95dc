import assert from "node:assert/strict";
import { request } from "node:https";
import { type TestContext, test } from "node:test";
import { type KubeObject, RESOURCES } from "../../../src/api/index.ts";
import { createCertificateAuthority } from "../../../src/mesh/certificate-authority.ts";
import { startWebhooks } from "../../../src/mesh/webhook-server.ts";
import { systemClock } from "../../../src/runtime/index.ts";
import { ROOT_NAMESPACE, silent, startWorld, TRUST_DOMAIN } from "./world.ts";

async function start(t: TestContext) {
  const { store } = await startWorld(t);
  const authority = await createCertificateAuthority({
    ...{ store, rootNamespace: ROOT_NAMESPACE, trustDomain: TRUST_DOMAIN, clock: systemClock },
  });
  const webhooks = await startWebhooks({
    ...{ store, authority, host: "127.0.0.1", port: 0, logger: silent, clock: systemClock },
    injection: {
      proxyImage: "proxy:1",
      xdsAddress: "127.0.0.1:1",
      interceptionMode: "NONE",
      clusterId: "Kubernetes",
      audience: "istio-ca",
    },
  });
  t.after(() => webhooks.stop());
  await webhooks.register();
  const post = (path: string, body: string, method = "POST"): Promise<number> =>
    new Promise((resolve, reject) => {
      const outgoing = request(
        {
          ...{ host: "127.0.0.1", port: webhooks.port, path, method },
          ca: authority.rootCertificatePem,
        },
        (response) => {
          response.resume();
          resolve(response.statusCode ?? 0);
        },
      );
      outgoing.on("error", reject);
      outgoing.end(body);
    });
  return { store, post };
}

const pod = (namespace: string, labels: Record<string, string> = {}): KubeObject => ({
  apiVersion: "v1",
  kind: "Pod",
  metadata: { name: "web", namespace, labels },
  spec: { containers: [{ name: "web", image: "web" }] },
});
const containerNames = (object: KubeObject): readonly string[] =>
  (object["spec"] as { containers: readonly { name: string }[] }).containers.map(
    ({ name }) => name,
  );

test("a pod of a labelled namespace gets its sidecar, another only when it asks", async (t) => {
  const { store } = await start(t);
  await store.create(RESOURCES.namespace, {
    apiVersion: "v1",
    kind: "Namespace",
    metadata: { name: "shop", labels: { "istio-injection": "enabled" } },
  });
  assert.deepEqual(containerNames(await store.create(RESOURCES.pod, pod("shop"))), [
    "web",
    "istio-proxy",
  ]);
  assert.deepEqual(containerNames(await store.create(RESOURCES.pod, pod("default"))), ["web"]);
  const asking = pod("default", { "sidecar.istio.io/inject": "true" });
  const named = { ...asking, metadata: { ...asking.metadata, name: "asking" } };
  assert.equal(containerNames(await store.create(RESOURCES.pod, named)).length, 2);
});

const REFUSED: readonly (readonly [keyof typeof RESOURCES, unknown, readonly RegExp[]])[] = [
  [
    "virtualService",
    {
      hosts: ["a"],
      http: [
        { route: [{ destination: { host: "a" } }], redirect: { uri: "/" } },
        { match: [{ uri: { regex: "(" } }], route: [{ destination: { host: "a" } }] },
      ],
    },
    [/spec\.http\[0\]/, /spec\.http\[1\]\.match\[0\]\.uri/],
  ],
  [
    "destinationRule",
    { host: "a", subsets: [{ name: "v1" }, { name: "v1" }] },
    [/spec\.subsets\[1\]\.name/],
  ],
  ["peerAuthentication", { portLevelMtls: { "80": { mode: "STRICT" } } }, [/spec\.portLevelMtls/]],
  ["alertProvider", { type: "slack" }, [/address or secretRef/]],
];
test("what nobody could use is refused by the API server, with every bad path", async (t) => {
  const { store } = await start(t);
  for (const [kind, spec, paths] of REFUSED) {
    const type = RESOURCES[kind];
    const object = {
      apiVersion: `${type.group}/${type.version}`,
      kind: type.kind,
      metadata: { namespace: "default", name: "broken" },
      spec,
    } as KubeObject;
    await assert.rejects(store.create(type, object), (error: Error) => {
      for (const path of paths) assert.match(error.message, path);
      return true;
    });
    assert.equal(await store.get(type, { namespace: "default", name: "broken" }), undefined);
  }
});

test("what is no review is answered as such", async (t) => {
  const { post } = await start(t);
  assert.equal(await post("/inject", "junk"), 400);
  assert.equal(await post("/validate", JSON.stringify({ kind: "AdmissionReview" })), 400);
  assert.equal(await post("/elsewhere", "{}"), 404);
  assert.equal(await post("/inject", "", "GET"), 405);
  assert.equal(await post("/inject", "x".repeat(5 * 1024 * 1024)), 413);
});
