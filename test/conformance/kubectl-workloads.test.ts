import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { promisify } from "node:util";
import { startCluster } from "../../src/embedded/index.ts";
import { createLogger, systemClock } from "../../src/runtime/index.ts";
import { findTool, skipWithout } from "../support/tools.ts";

const options = { skip: skipWithout("kubectl"), timeout: 180_000 };
const DEADLINE_MS = 60_000;
const SERVER = `require("node:http").createServer((q, r) => r.end(process.env.VERSION))
  .listen(process.env.PORT, process.env.HOST, () => console.log("serves " + process.env.VERSION));`;

type Kubectl = (...args: readonly string[]) => Promise<string>;

/** A whole cluster and the real kubectl; images `web:v1`, `web:v2`, … are one small server. */
async function cluster(
  t: TestContext,
): Promise<{ kubectl: Kubectl; apply: (yaml: string) => Promise<string> }> {
  const dir = mkdtempSync(join(tmpdir(), "serin-workloads-"));
  process.on("exit", () => rmSync(dir, { recursive: true, force: true }));
  const server = join(dir, "server.cjs");
  writeFileSync(server, SERVER);
  const running = await startCluster({
    dataDir: join(dir, "data"),
    apiPort: 0,
    imageMap: ["v1", "v2", "v3"].map((version) => ({
      image: `web:${version}`,
      command: ["node", server],
      env: { VERSION: version },
    })),
    network: "loopback",
    logger: createLogger("test", "silent"),
    clock: systemClock,
  });
  t.after(() => running.stop());
  const env = { PATH: process.env["PATH"] ?? "", HOME: dir, KUBECONFIG: running.kubeconfigPath };
  const kubectl: Kubectl = async (...args) => {
    const found = findTool("kubectl") ?? "kubectl";
    const { stdout } = await promisify(execFile)(found, [...args], { env, timeout: DEADLINE_MS });
    return stdout;
  };
  return {
    kubectl,
    apply(yaml) {
      const file = join(dir, "manifest.yaml");
      writeFileSync(file, yaml);
      return kubectl("apply", "-f", file);
    },
  };
}

const deployment = (replicas: number, more = ""): string => `apiVersion: apps/v1
kind: Deployment
metadata: { name: web, namespace: default, labels: { app: web } }
spec:
  replicas: ${replicas}
${more}
  selector: { matchLabels: { app: web } }
  template:
    metadata: { labels: { app: web } }
    spec:
      terminationGracePeriodSeconds: 2
      containers:
      - { name: web, image: "web:v1", ports: [{ name: http, containerPort: 8080 }] }
---
apiVersion: v1
kind: Service
metadata: { name: web, namespace: default }
spec: { selector: { app: web }, ports: [{ name: http, port: 80, targetPort: http }] }
`;

const IMAGE = "jsonpath={.spec.template.spec.containers[0].image}";

test("a Deployment is rolled out, scaled, changed, undone and restarted", options, async (t) => {
  const { kubectl, apply } = await cluster(t);
  await apply(deployment(2));
  assert.match(await kubectl("rollout", "status", "deploy/web"), /successfully rolled out/);
  await kubectl("wait", "--for=condition=Available", "deploy/web", "--timeout=30s");
  assert.match(await kubectl("get", "deploy", "web"), /^web +2\/2 +2 +2 /m);

  await kubectl("scale", "deploy/web", "--replicas=4");
  await kubectl("rollout", "status", "deploy/web");
  assert.equal((await podNames(kubectl)).length, 4);
  assert.match(
    await kubectl("get", "endpointslices", "-o", "wide"),
    /^web-\S+ +IPv4 +8080 +127\./m,
  );
  const slices = await kubectl(
    "get",
    "endpointslices",
    "-o",
    "jsonpath={.items[0].endpoints[*].conditions.ready}",
  );
  assert.equal(slices, "true true true true");

  await kubectl("set", "image", "deploy/web", "web=web:v2");
  assert.match(await kubectl("rollout", "status", "deploy/web"), /successfully rolled out/);
  await kubectl("annotate", "deploy/web", "kubernetes.io/change-cause=to v2");
  assert.equal(await kubectl("get", "deploy/web", "-o", IMAGE), "web:v2");
  assert.match(await kubectl("logs", "deploy/web"), /serves v2/);
  const history = await kubectl("rollout", "history", "deploy/web");
  assert.match(history, /^1 +<none>$/m);
  assert.match(await kubectl("rollout", "history", "deploy/web", "--revision=2"), /web:v2/);

  await kubectl("rollout", "undo", "deploy/web");
  await kubectl("rollout", "status", "deploy/web");
  assert.equal(await kubectl("get", "deploy/web", "-o", IMAGE), "web:v1");
  const after = await kubectl("rollout", "history", "deploy/web");
  assert.match(after, /^3 /m);
  assert.doesNotMatch(after, /^1 /m, "the revision that came back has a new number");

  const before = await podNames(kubectl);
  await kubectl("rollout", "restart", "deploy/web");
  await kubectl("rollout", "status", "deploy/web");
  await eventually("the old pods are gone", async () => {
    const now = await podNames(kubectl);
    return now.length === 4 && !now.some((name) => before.includes(name));
  });
  const described = await kubectl("describe", "deploy/web");
  assert.match(described, /NewReplicaSet: +web-\S+ \(4\/4 replicas created\)/);
  assert.match(described, /Normal +ScalingReplicaSet .* Scaled up replica set web-\S+ from 0 to 2/);
  assert.match(await kubectl("events", "--for", "deploy/web"), /ScalingReplicaSet/);
});

test(
  "a rolling update keeps enough pods, one that cannot start stops and says so",
  options,
  async (t) => {
    const { kubectl, apply } = await cluster(t);
    await apply(
      deployment(
        3,
        "  progressDeadlineSeconds: 3\n  strategy: { rollingUpdate: { maxSurge: 1, maxUnavailable: 0 } }",
      ),
    );
    await kubectl("rollout", "status", "deploy/web");
    await kubectl("set", "image", "deploy/web", "web=nobody/knows:1");
    await assert.rejects(
      kubectl("rollout", "status", "deploy/web"),
      /exceeded its progress deadline/,
    );
    const status = await kubectl(
      "get",
      "deploy/web",
      "-o",
      "jsonpath={.status.availableReplicas}/{.status.updatedReplicas}",
    );
    assert.equal(status, "3/1", "the old pods stay, one new one was tried");
    assert.match(await kubectl("get", "pods"), /ErrImagePull|ImagePullBackOff/);
    await kubectl("rollout", "undo", "deploy/web");
    await kubectl("rollout", "status", "deploy/web");
  },
);

test("Recreate ends all old pods before the first new one", options, async (t) => {
  const { kubectl, apply } = await cluster(t);
  await apply(deployment(2, "  strategy: { type: Recreate }"));
  await kubectl("rollout", "status", "deploy/web");
  const before = await podNames(kubectl);
  await kubectl("set", "image", "deploy/web", "web=web:v2");
  await eventually("new pods", async () => {
    const now = await podNames(kubectl);
    const [olds, news] = [
      now.filter((n) => before.includes(n)),
      now.filter((n) => !before.includes(n)),
    ];
    assert.ok(olds.length === 0 || news.length === 0, `both at once: ${now.join(" ")}`);
    return news.length === 2;
  });
});

test("deletion cascades as asked: background, foreground, orphan", options, async (t) => {
  const { kubectl, apply } = await cluster(t);
  const gone = (kind: string) =>
    eventually(`no ${kind}`, async () => (await kubectl("get", kind, "-o", "name")).trim() === "");
  await apply(deployment(1));
  await kubectl("rollout", "status", "deploy/web");
  await kubectl("delete", "deploy/web");
  await gone("replicasets");
  await gone("pods");

  await apply(deployment(1));
  await kubectl("rollout", "status", "deploy/web");
  await kubectl("delete", "deploy/web", "--cascade=foreground", "--timeout=30s");
  assert.equal((await kubectl("get", "replicasets,pods", "-o", "name")).trim(), "", "all at once");

  await apply(deployment(1));
  await kubectl("rollout", "status", "deploy/web");
  await kubectl("delete", "deploy/web", "--cascade=orphan");
  const [pod] = await podNames(kubectl);
  assert.ok(pod !== undefined);
  await apply(deployment(1));
  await kubectl("rollout", "status", "deploy/web");
  assert.deepEqual(await podNames(kubectl), [pod], "the new Deployment adopts what was left");
});

test("Recreate is not available while nothing runs", options, async (t) => {
  const { kubectl, apply } = await cluster(t);
  await apply(
    deployment(1, "  strategy: { type: Recreate }").replaceAll("web:v1", "nobody/knows:1"),
  );
  await eventually("the pod waits", async () => /ImagePull/.test(await kubectl("get", "pods")));
  await assert.rejects(
    kubectl("wait", "--for=condition=Available", "deploy/web", "--timeout=1s"),
    /timed out/,
  );
});

test(
  "what the last custom resource of a kind owned goes with it; a second owner keeps it",
  options,
  async (t) => {
    const { kubectl, apply } = await cluster(t);
    await apply(`apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: { name: things.test.dev }
spec:
  group: test.dev
  scope: Namespaced
  names: { kind: Thing, plural: things, singular: thing }
  versions: [{ name: v1, served: true, storage: true, schema: { openAPIV3Schema: { type: object } } }]
`);
    await kubectl("wait", "--for=condition=Established", "crd/things.test.dev", "--timeout=10s");
    await apply(
      "apiVersion: test.dev/v1\nkind: Thing\nmetadata: { name: only, namespace: default }\n",
    );
    const uidOf = (what: string) => kubectl("get", what, "-o", "jsonpath={.metadata.uid}");
    const owned = (name: string, owners: readonly string[]): string => `apiVersion: v1
kind: ConfigMap
metadata:
  name: ${name}
  namespace: default
  ownerReferences: [${owners.join(", ")}]
`;
    const thing = `{ apiVersion: test.dev/v1, kind: Thing, name: only, uid: ${await uidOf("thing/only")} }`;
    await apply(owned("owned", [thing]));
    await kubectl("delete", "thing", "only");
    const names = () => kubectl("get", "configmaps", "-o", "name");
    await eventually(
      "the dependent is gone",
      async () => !(await names()).includes("configmap/owned"),
    );

    for (const name of ["o1", "o2"]) await apply(owned(name, []));
    const by = async (name: string, more = "") =>
      `{ apiVersion: v1, kind: ConfigMap, name: ${name}, uid: ${await uidOf(`cm/${name}`)}${more} }`;
    await apply(owned("shared", [await by("o1", ", blockOwnerDeletion: true"), await by("o2")]));
    await kubectl("delete", "cm", "o1", "--cascade=foreground", "--timeout=20s");
    assert.match(await names(), /configmap\/shared/);
    await kubectl("delete", "cm", "o2");
    await eventually("no owner left", async () => !(await names()).includes("configmap/shared"));
  },
);

test("a namespace goes with everything in it", options, async (t) => {
  const { kubectl, apply } = await cluster(t);
  await apply("apiVersion: v1\nkind: Namespace\nmetadata: { name: shop }\n");
  await apply(deployment(2).replaceAll("namespace: default", "namespace: shop"));
  await kubectl("-n", "shop", "rollout", "status", "deploy/web");
  await kubectl("delete", "namespace", "shop", "--timeout=40s");
  await assert.rejects(kubectl("get", "namespace", "shop"), /NotFound/);
  assert.equal(
    (await kubectl("get", "pods,deploy,rs,svc,endpointslices", "-n", "shop", "-o", "name")).trim(),
    "",
  );
});

async function podNames(kubectl: Kubectl): Promise<readonly string[]> {
  const names = await kubectl("get", "pods", "-l", "app=web", "-o", "name");
  return names.split("\n").filter((name) => name !== "");
}

async function eventually(what: string, holds: () => Promise<boolean>): Promise<void> {
  const deadlineMs = performance.now() + DEADLINE_MS;
  while (!(await holds())) {
    if (performance.now() > deadlineMs) throw new Error(`gave up waiting for: ${what}`);
    await sleep(50);
  }
}
