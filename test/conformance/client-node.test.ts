import assert from "node:assert/strict";
import { test } from "node:test";
import * as k8s from "@kubernetes/client-node";
import { startTestServer } from "../embedded/api-server/test-server.ts";

test("the official Node client creates, patches, watches and deletes", async (t) => {
  const server = await startTestServer(t);
  const config = new k8s.KubeConfig();
  config.loadFromFile(server.api.kubeconfigPath);
  const core = config.makeApiClient(k8s.CoreV1Api);
  const apps = config.makeApiClient(k8s.AppsV1Api);
  const namespace = "default";

  const created = await core.createNamespacedConfigMap({
    namespace,
    body: { metadata: { name: "one" }, data: { a: "1" } },
  });
  assert.ok(created.metadata?.creationTimestamp instanceof Date);

  const heard: string[] = [];
  const { promise: deleted, resolve } = Promise.withResolvers<void>();
  const watch = await new k8s.Watch(config).watch(
    `/api/v1/namespaces/${namespace}/configmaps`,
    { resourceVersion: created.metadata?.resourceVersion },
    (phase: string, object: k8s.V1ConfigMap) => {
      heard.push(`${phase} ${object.data?.["a"]}`);
      if (phase === "DELETED") resolve();
    },
    () => undefined,
  );
  t.after(() => watch.abort());
  await core.patchNamespacedConfigMap({
    namespace,
    name: "one",
    body: [{ op: "replace", path: "/data/a", value: "2" }],
  });
  await core.deleteNamespacedConfigMap({ namespace, name: "one" });
  await deleted;
  assert.deepEqual(heard, ["MODIFIED 2", "DELETED 2"]);

  const labels = { app: "web" };
  const container = { name: "main", image: "web:1", resources: { limits: { cpu: "1" } } };
  await apps.createNamespacedDeployment({
    namespace,
    body: {
      metadata: { name: "web" },
      spec: {
        selector: { matchLabels: labels },
        template: { metadata: { labels }, spec: { containers: [container] } },
      },
    },
  });
  const scale = await apps.readNamespacedDeploymentScale({ namespace, name: "web" });
  assert.equal(scale.spec?.replicas, 1);
  scale.spec = { replicas: 3 };
  await apps.replaceNamespacedDeploymentScale({ namespace, name: "web", body: scale });
  const found = await apps.readNamespacedDeployment({ namespace, name: "web" });
  assert.equal(found.spec?.replicas, 3);
  await assert.rejects(core.readNamespacedPod({ namespace, name: "none" }), { code: 404 });

  const objects = k8s.KubernetesObjectApi.makeApiClient(config);
  const listed = await objects.list("apps/v1", "Deployment", namespace);
  assert.deepEqual(
    listed.items.map((item) => item.metadata?.name),
    ["web"],
  );
});
