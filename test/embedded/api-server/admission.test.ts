import assert from "node:assert/strict";
import { test } from "node:test";
import { configMap, deployment } from "./manifests.ts";
import { at, type Json, startTestServer, type TestServer } from "./test-server.ts";
import { startWebhookServer, type WebhookServer } from "./webhook-server.ts";

const ADMISSION = "/apis/admissionregistration.k8s.io/v1";
const CONFIG_MAPS = "/api/v1/namespaces/default/configmaps";

async function register(
  server: TestServer,
  kind: "Mutating" | "Validating",
  hook: { readonly url: string; readonly caBundle?: string },
  extra: Json = {},
): Promise<void> {
  await server.ok("POST", `${ADMISSION}/${kind.toLowerCase()}webhookconfigurations`, {
    body: {
      metadata: { name: `${kind.toLowerCase()}-test` },
      webhooks: [
        {
          name: "check.example.com",
          clientConfig: {
            url: hook.url,
            ...(hook.caBundle === undefined ? {} : { caBundle: hook.caBundle }),
          },
          rules: [
            {
              apiGroups: [""],
              apiVersions: ["v1"],
              resources: ["configmaps"],
              operations: ["CREATE", "UPDATE", "DELETE"],
            },
          ],
          admissionReviewVersions: ["v1"],
          sideEffects: "None",
          ...extra,
        },
      ],
    },
  });
}

const jsonPatch = (operations: unknown): Json => ({
  allowed: true,
  patchType: "JSONPatch",
  patch: Buffer.from(JSON.stringify(operations)).toString("base64"),
});

test("a mutating webhook changes the object before it is checked and stored", async (t) => {
  const hook = await startWebhookServer(t, () => ({
    ...jsonPatch([{ op: "add", path: "/data", value: { injected: "yes" } }]),
    warnings: ["injected by test"],
  }));
  const server = await startTestServer(t);
  await register(server, "Mutating", hook);
  const answer = await server.call("POST", CONFIG_MAPS, { body: configMap("one") });
  assert.deepEqual(answer.json["data"], { injected: "yes" });
  assert.equal(answer.headers["warning"], '299 - "injected by test"');
  const [request] = hook.requests;
  assert.equal(request?.["operation"], "CREATE");
  assert.deepEqual(request?.["kind"], { group: "", version: "v1", kind: "ConfigMap" });
  assert.deepEqual(request?.["resource"], { group: "", version: "v1", resource: "configmaps" });
  assert.equal(request?.["namespace"], "default");
  assert.equal(at(request, "object", "metadata", "name"), "one");
  assert.equal(at(request, "userInfo", "username"), "kubernetes-admin");
});

test("a denial is worded as kube-apiserver words it, with its code", async (t) => {
  const hook = await startWebhookServer(t, (request) => ({
    allowed:
      at(request, "oldObject", "metadata", "name") === undefined &&
      at(request, "object", "data", "bad") === undefined,
    status: { code: 403, reason: "Forbidden", message: "not that" },
  }));
  const server = await startTestServer(t);
  await register(server, "Validating", hook);
  await server.ok("POST", CONFIG_MAPS, { body: configMap("fine") });
  const denied = await server.call("POST", CONFIG_MAPS, { body: configMap("one", { bad: "1" }) });
  assert.equal(denied.code, 403);
  assert.equal(
    denied.json["message"],
    'admission webhook "check.example.com" denied the request: not that',
  );
  assert.equal(
    (await server.call("DELETE", `${CONFIG_MAPS}/fine`)).code,
    403,
    "deletions are asked about",
  );
  await server.ok("GET", `${CONFIG_MAPS}/fine`);
});

test("only what the rules and selectors name reaches the webhook", async (t) => {
  const hook = await startWebhookServer(t, () => ({ allowed: true }));
  const server = await startTestServer(t);
  await register(server, "Validating", hook, {
    namespaceSelector: { matchLabels: { watched: "yes" } },
    objectSelector: { matchExpressions: [{ key: "skip", operator: "DoesNotExist" }] },
  });
  const maps = "/api/v1/namespaces/team/configmaps";
  await server.ok("POST", "/api/v1/namespaces", {
    body: { metadata: { name: "team", labels: { watched: "yes" } } },
  });
  await server.ok("POST", CONFIG_MAPS, { body: configMap("elsewhere") });
  await server.ok("POST", "/apis/apps/v1/namespaces/team/deployments", {
    body: deployment("other-kind"),
  });
  await server.ok("POST", maps, { body: { metadata: { name: "skipped", labels: { skip: "1" } } } });
  await server.ok("POST", maps, { body: configMap("seen") });
  assert.deepEqual(
    hook.requests.map((r) => r["name"]),
    ["seen"],
  );
});

test("a webhook that cannot be trusted or reached fails the request, or is ignored as told", async (t) => {
  const hook = await startWebhookServer(t, () => ({ allowed: true }));
  const silent = await startWebhookServer(t, () => undefined);
  const otherCa = silent.caBundle;
  const cases: readonly (readonly [string, Pick<WebhookServer, "url" | "caBundle">, RegExp])[] = [
    [
      "wrong CA",
      { url: hook.url, caBundle: otherCa },
      /failed calling webhook "check.example.com": Post "https:.*(certificate|signature)/,
    ],
    [
      "nobody listens",
      { url: "https://127.0.0.1:1/x", caBundle: otherCa },
      /failed calling webhook .*ECONNREFUSED/,
    ],
    ["no answer", silent, /failed calling webhook .*context deadline exceeded/],
  ];
  for (const [name, target, message] of cases) {
    await t.test(name, async (st) => {
      const server = await startTestServer(st);
      await register(server, "Validating", target, { timeoutSeconds: 1 });
      const failed = await server.call("POST", CONFIG_MAPS, { body: configMap("one") });
      assert.equal(failed.code, 500);
      assert.match(String(failed.json["message"]), message);
      const configurations = `${ADMISSION}/validatingwebhookconfigurations/validating-test`;
      await server.ok("PATCH", configurations, {
        type: "application/json-patch+json",
        body: [{ op: "replace", path: "/webhooks/0/failurePolicy", value: "Ignore" }],
      });
      await server.ok("POST", CONFIG_MAPS, { body: configMap("one") });
    });
  }
});

test("what a webhook breaks is refused like any bad object", async (t) => {
  const hook = await startWebhookServer(t, () =>
    jsonPatch([{ op: "add", path: "/data", value: { "bad key": "x" } }]),
  );
  const server = await startTestServer(t);
  await register(server, "Mutating", hook);
  const answer = await server.call("POST", CONFIG_MAPS, { body: configMap("one") });
  assert.equal(answer.code, 422);
  assert.match(String(answer.json["message"]), /data\[bad key\]: Invalid value/);
});
