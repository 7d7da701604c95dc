import assert from "node:assert/strict";
import { test } from "node:test";
import { type KubeObject, RESOURCES } from "../../../src/api/index.ts";
import { configMap, deployment, pod } from "./manifests.ts";
import { at, startTestServer } from "./test-server.ts";
import { startWebhookServer } from "./webhook-server.ts";

const object = (json: unknown): KubeObject => {
  const { metadata, ...rest } = json as KubeObject;
  return { ...rest, metadata: { namespace: "default", ...metadata } } as KubeObject;
};

test("the local API and HTTP are two doors to the same objects", async (t) => {
  const server = await startTestServer(t);
  const { local } = server.api;
  const created = await local.create(RESOURCES.deployment, object(deployment("web")));
  assert.equal(at(created, "spec", "progressDeadlineSeconds"), 600);
  assert.deepEqual(
    await server.ok("GET", "/apis/apps/v1/namespaces/default/deployments/web"),
    created,
  );
  const key = { namespace: "default", name: "web" };
  const status = { ...created, status: { replicas: 2 } };
  const updated = await local.update(RESOURCES.deployment, status, { subresource: "status" });
  assert.equal(at(updated, "status", "replicas"), 2);
  await assert.rejects(local.update(RESOURCES.deployment, created), {
    code: "SERIN_CONFLICT",
    retry: "yes",
  });
  await assert.rejects(local.create(RESOURCES.deployment, object(deployment("web"))), {
    code: "SERIN_CONFLICT",
  });
  await assert.rejects(
    local.patch(RESOURCES.deployment, key, { spec: { replicas: -1 } }, { kind: "merge" }),
    {
      code: "SERIN_INVALID_RESOURCE",
      message: /spec\.replicas: Invalid value: -1/,
    },
  );
  const uid = { uid: "another" };
  await assert.rejects(local.delete(RESOURCES.deployment, key, uid), { code: "SERIN_CONFLICT" });
  await local.delete(RESOURCES.deployment, key);
  assert.equal(await local.get(RESOURCES.deployment, key), undefined);
  await assert.rejects(local.delete(RESOURCES.deployment, key), { code: "SERIN_NOT_FOUND" });
});

test("a list is cut by namespace and selector", async (t) => {
  const { local } = (await startTestServer(t)).api;
  for (const [name, app] of [
    ["a", "x"],
    ["b", "y"],
  ] as const) {
    await local.create(
      RESOURCES.pod,
      object({ ...pod(name), metadata: { name, labels: { app } } }),
    );
  }
  const found = await local.list(RESOURCES.pod, {
    namespace: "default",
    labelSelector: { matchLabels: { app: "y" } },
  });
  assert.deepEqual(
    found.map((p) => p.metadata.name),
    ["b"],
  );
  assert.deepEqual(await local.list(RESOURCES.pod, { namespace: "kube-system" }), []);
});

test("a watch hears what is there, then every change in order, even of its own handler's making", async (t) => {
  const { local } = (await startTestServer(t)).api;
  await local.create(RESOURCES.configMap, object(configMap("first")));
  const heard: string[] = [];
  const writes: Promise<unknown>[] = [];
  const stop = local.watch(RESOURCES.configMap, ({ type, object: { metadata } }) => {
    heard.push(`${type} ${metadata.name}`);
    // The write happens inside the delivery of another change.
    if (metadata.name === "cause") {
      writes.push(local.create(RESOURCES.configMap, object(configMap("effect"))));
    }
  });
  const second: string[] = [];
  const stopSecond = local.watch(RESOURCES.configMap, ({ type, object: { metadata } }) => {
    second.push(`${type} ${metadata.name}`);
  });
  await local.create(RESOURCES.configMap, object(configMap("cause")));
  await Promise.all(writes);
  assert.deepEqual(heard, ["ADDED first", "ADDED cause", "ADDED effect"]);
  assert.deepEqual(second, heard, "every listener hears the same order");
  stop();
  stopSecond();
  await local.delete(RESOURCES.configMap, { namespace: "default", name: "effect" });
  assert.equal(heard.length, 3);
});

test("a handler that throws neither breaks the write nor loses later events", async (t) => {
  const { local } = (await startTestServer(t)).api;
  let calls = 0;
  t.after(
    local.watch(RESOURCES.configMap, () => {
      calls += 1;
      throw new Error("handler");
    }),
  );
  await local.create(RESOURCES.configMap, object(configMap("a")));
  await local.create(RESOURCES.configMap, object(configMap("b")));
  assert.equal(calls, 2);
});

test("local writes pass the webhooks too", async (t) => {
  const server = await startTestServer(t);
  const hook = await startWebhookServer(t, () => ({
    allowed: false,
    status: { message: "no pods today" },
  }));
  await server.ok("POST", "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations", {
    body: {
      metadata: { name: "v" },
      webhooks: [
        {
          name: "pods.example.com",
          clientConfig: { url: hook.url, caBundle: hook.caBundle },
          rules: [
            { apiGroups: [""], apiVersions: ["v1"], resources: ["pods"], operations: ["CREATE"] },
          ],
          admissionReviewVersions: ["v1"],
          sideEffects: "None",
        },
      ],
    },
  });
  await assert.rejects(server.api.local.create(RESOURCES.pod, object(pod("p"))), {
    code: "SERIN_INVALID_RESOURCE",
    message: 'admission webhook "pods.example.com" denied the request: no pods today',
  });
});

test("concurrent patches of one object all take effect", async (t) => {
  const { local } = (await startTestServer(t)).api;
  await local.create(RESOURCES.configMap, object(configMap("shared")));
  const key = { namespace: "default", name: "shared" };
  await Promise.all(
    Array.from({ length: 20 }, (_, i) =>
      local.patch(RESOURCES.configMap, key, { data: { [`k${i}`]: "1" } }, { kind: "merge" }),
    ),
  );
  const found = await local.get(RESOURCES.configMap, key);
  assert.equal(Object.keys(found?.["data"] as object).length, 20);
});

test("a namespace is finalized by a plain update", async (t) => {
  const server = await startTestServer(t);
  const { local } = server.api;
  const namespace = { apiVersion: "v1", kind: "Namespace", metadata: { name: "team" } };
  await local.create(RESOURCES.namespace, namespace);
  await local.delete(RESOURCES.namespace, { name: "team" });
  const going = await local.get(RESOURCES.namespace, { name: "team" });
  assert.equal(at(going, "status", "phase"), "Terminating");
  assert.ok(going);
  await local.update(RESOURCES.namespace, { ...going, spec: { finalizers: [] } });
  assert.equal(await local.get(RESOURCES.namespace, { name: "team" }), undefined);
});

test("logs are streamed from whoever runs the pods", async (t) => {
  const server = await startTestServer(t);
  const spec = {
    containers: [
      { name: "main", image: "a" },
      { name: "side", image: "b" },
    ],
  };
  await server.ok("POST", "/api/v1/namespaces/default/pods", { body: pod("p", spec) });
  const log = "/api/v1/namespaces/default/pods/p/log";
  assert.equal((await server.call("GET", `${log}?container=main`)).code, 503);
  const asked: unknown[] = [];
  server.api.setPodLogs({
    async *read(where, { signal: _signal, ...options }) {
      asked.push([where.container, options]);
      yield Buffer.from("line 1\n");
      yield Buffer.from("line 2\n");
    },
  });
  const unnamed = await server.call("GET", log);
  assert.equal(unnamed.code, 400);
  assert.match(
    unnamed.text,
    /a container name must be specified for pod p, choose one of: \[main side\]/,
  );
  const wrong = await server.call("GET", `${log}?container=nope`);
  assert.match(wrong.text, /container nope is not valid for pod p/);
  const answer = await server.call("GET", `${log}?container=side&tailLines=5&timestamps=true`);
  assert.equal(answer.text, "line 1\nline 2\n");
  assert.equal(answer.headers["content-type"], "text/plain");
  assert.deepEqual(asked, [
    ["side", { follow: false, previous: false, timestamps: true, tailLines: 5 }],
  ]);
});
