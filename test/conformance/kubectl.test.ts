import assert from "node:assert/strict";
import { chmodSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { RESOURCES } from "../../src/api/index.ts";
import { skipWithout } from "../support/tools.ts";
import { type KubectlCluster, startKubectlCluster } from "./kubectl-cluster.ts";

/** The real kubectl against the embedded API server: each daily verb, its output and exit code. */
const options = { skip: skipWithout("kubectl"), timeout: 120_000 };

const WEB = `
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, labels: {app: web}}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers:
      - name: main
        image: web:1
        ports: [{containerPort: 8080}]
        env: [{name: A, value: "1"}, {name: B, value: "2"}]
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {selector: {app: web}, ports: [{name: http, port: 80, targetPort: 8080}]}
`;

const CRONTAB = `
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: crontabs.stable.example.com}
spec:
  group: stable.example.com
  scope: Namespaced
  names: {plural: crontabs, singular: crontab, kind: CronTab, shortNames: [ct], categories: [all]}
  versions:
  - name: v1
    served: true
    storage: true
    subresources:
      status: {}
      scale: {specReplicasPath: .spec.replicas, statusReplicasPath: .status.replicas}
    additionalPrinterColumns:
    - {name: Schedule, type: string, jsonPath: .spec.schedule}
    - {name: Replicas, type: integer, jsonPath: .spec.replicas, priority: 1}
    schema:
      openAPIV3Schema:
        type: object
        properties:
          spec:
            type: object
            required: [schedule]
            properties:
              schedule: {type: string}
              replicas: {type: integer, minimum: 1, default: 1}
          status: {type: object, properties: {replicas: {type: integer}}}
`;

/** Fields of a line of a table. */
const cells = (table: string, line: number): string[] =>
  (table.split("\n")[line] ?? "").trim().split(/\s{2,}/);

async function podNamed(cluster: KubectlCluster, name: string, phase: string): Promise<void> {
  const created = await cluster.api.local.create(RESOURCES.pod, {
    apiVersion: "v1",
    kind: "Pod",
    metadata: { name, namespace: "default", labels: { run: name } },
    spec: { nodeName: "local", containers: [{ name: "main", image: "app:1" }] },
  });
  const running = phase === "Running";
  await cluster.api.local.update(
    RESOURCES.pod,
    {
      ...created,
      status: {
        phase,
        podIP: "127.16.0.7",
        conditions: [{ type: "Ready", status: running ? "True" : "False" }],
        containerStatuses: [
          {
            name: "main",
            ready: running,
            restartCount: 3,
            image: "app:1",
            imageID: "",
            state: running ? { running: {} } : { waiting: { reason: "CrashLoopBackOff" } },
          },
        ],
      },
    },
    { subresource: "status" },
  );
}

test("version and api-resources", options, async (t) => {
  const cluster = await startKubectlCluster(t);
  assert.match(await cluster.ok(["version"]), /Server Version: v1\.32\./);
  const resources = await cluster.ok(["api-resources"]);
  for (const line of [
    /^pods +po +v1 +true +Pod$/m,
    /^deployments +deploy +apps\/v1 +true +Deployment$/m,
    /^customresourcedefinitions +crd,crds +apiextensions\.k8s\.io\/v1 +false +CustomResourceDefinition$/m,
    /^endpointslices +discovery\.k8s\.io\/v1 +true +EndpointSlice$/m,
  ]) {
    assert.match(resources, line);
  }
  assert.match(await cluster.ok(["api-versions"]), /^apps\/v1$/m);
});

test(
  "apply creates, changes nothing the second time, and merges what others set",
  options,
  async (t) => {
    const cluster = await startKubectlCluster(t);
    assert.equal(await cluster.apply(WEB), "deployment.apps/web created\nservice/web created\n");
    assert.equal(
      await cluster.apply(WEB),
      "deployment.apps/web unchanged\nservice/web unchanged\n",
    );
    await cluster.ok([
      "patch",
      "deploy",
      "web",
      "-p",
      '{"spec":{"template":{"spec":{"containers":[{"name":"sidecar","image":"proxy:1"}]}}}}',
    ]);
    const changed = WEB.replace("web:1", "web:2").replace(
      '{name: B, value: "2"}',
      '{name: C, value: "3"}',
    );
    assert.match(await cluster.apply(changed), /deployment.apps\/web configured/);
    const path = "{range .spec.template.spec.containers[*]}{.name}={.image} {.env[*].name};{end}";
    const containers = await cluster.ok(["get", "deploy", "web", "-o", `jsonpath=${path}`]);
    assert.deepEqual(
      containers
        .split(";")
        .filter((c) => c !== "")
        .sort(),
      ["main=web:2 A C", "sidecar=proxy:1 "],
    );
    const dry = await cluster.ok(["apply", "--dry-run=server", "-f", "-"], { stdin: WEB });
    assert.match(dry, /deployment.apps\/web configured \(server dry run\)/);
    assert.match(await cluster.ok(["get", "deploy", "web", "-o", "yaml"]), /image: web:2/);
  },
);

test("apply refuses a bad manifest and names the field", options, async (t) => {
  const cluster = await startKubectlCluster(t);
  const rows = [
    [
      WEB.replace("image: web:1", "imagee: web:1"),
      /unknown field "spec\.template\.spec\.containers\[0\]\.imagee"/,
    ],
    [
      WEB.replace("replicas: 2", "replicas: two"),
      /cannot unmarshal string into Go struct field DeploymentSpec\.spec\.replicas of type int32/,
    ],
    [
      WEB.replace("replicas: 2", "replicas: -2"),
      /spec\.replicas: Invalid value: -2: must be greater than or equal to 0/,
    ],
    [
      WEB.replace("containerPort: 8080", "containerPort: 99999"),
      /spec\.template\.spec\.containers\[0\]\.ports\[0\]\.containerPort: Invalid value: 99999/,
    ],
    [
      WEB.replace("{name: web, labels", "{name: Web!, labels"),
      /metadata\.name: Invalid value: "Web!": a lowercase RFC 1123 subdomain/,
    ],
    [
      WEB.replace("port: 80,", "port: 0,"),
      /spec\.ports\[0\]\.port: Invalid value: 0: must be between 1 and 65535/,
    ],
  ] as const;
  for (const [manifest, message] of rows) {
    const { code, stderr } = await cluster.run(["apply", "-f", "-"], { stdin: manifest });
    assert.equal(code, 1, String(message));
    assert.match(stderr, message);
  }
  await cluster.apply(WEB);
  const update = WEB.replace("image: web:1", "imagee: web:1");
  const { code, stderr } = await cluster.run(["apply", "-f", "-"], { stdin: update });
  assert.equal(code, 1);
  assert.match(stderr, /unknown field "spec\.template\.spec\.containers\[0\]\.imagee"/);
});

test("get in every form", options, async (t) => {
  const cluster = await startKubectlCluster(t);
  await cluster.apply(WEB);
  await podNamed(cluster, "good", "Running");
  await podNamed(cluster, "bad", "Pending");
  const table = await cluster.ok(["get", "pods"]);
  assert.deepEqual(cells(table, 0), ["NAME", "READY", "STATUS", "RESTARTS", "AGE"]);
  assert.deepEqual(cells(table, 1).slice(0, 4), ["bad", "0/1", "CrashLoopBackOff", "3"]);
  assert.deepEqual(cells(table, 2).slice(0, 4), ["good", "1/1", "Running", "3"]);
  assert.match(cells(table, 2)[4] ?? "", /^\d+s$/);
  const wide = await cluster.ok([
    "get",
    "pods",
    "-o",
    "wide",
    "--field-selector",
    "status.phase=Running",
  ]);
  assert.deepEqual(cells(wide, 0).slice(5), ["IP", "NODE", "NOMINATED NODE", "READINESS GATES"]);
  assert.deepEqual(cells(wide, 1).slice(5), ["127.16.0.7", "local", "<none>", "<none>"]);
  assert.equal(wide.trim().split("\n").length, 2);
  assert.equal(
    await cluster.ok(["get", "pods", "-l", "run in (good)", "-o", "name"]),
    "pod/good\n",
  );
  const list = JSON.parse(await cluster.ok(["get", "pods", "-o", "json"])) as { items: unknown[] };
  assert.equal(list.items.length, 2);
  const columns = await cluster.ok([
    "get",
    "svc",
    "web",
    "-o",
    "custom-columns=N:.metadata.name,P:.spec.ports[0].port",
  ]);
  assert.deepEqual(cells(columns, 1), ["web", "80"]);
  assert.match(
    await cluster.ok(["get", "svc"]),
    /^web +ClusterIP +10\.96\.\d+\.\d+ +<none> +80\/TCP +\d+s$/m,
  );
  assert.match(
    await cluster.ok(["get", "deploy", "-o", "wide"]),
    /^web +0\/2 +0 +0 +\d+s +main +web:1 +app=web$/m,
  );
  assert.match(await cluster.ok(["get", "ns", "--chunk-size=1"]), /kube-system +Active/);
  assert.match(
    await cluster.ok(["get", "sa", "-A", "--sort-by=.metadata.namespace"]),
    /^kube-system +default/m,
  );
  const all = await cluster.ok(["get", "all"]);
  for (const name of ["pod/good", "service/web", "deployment.apps/web"])
    assert.ok(all.includes(name), name);
  const missing = await cluster.run(["get", "deploy", "none"]);
  assert.deepEqual(missing, {
    code: 1,
    stdout: "",
    stderr: 'Error from server (NotFound): deployments.apps "none" not found\n',
  });
  const unknown = await cluster.run(["get", "widgets"]);
  assert.match(unknown.stderr, /the server doesn't have a resource type "widgets"/);
});

test("get -w shows changes as they happen", options, async (t) => {
  const cluster = await startKubectlCluster(t);
  await podNamed(cluster, "one", "Running");
  const watching = await cluster.until(["get", "pods", "-w"], "one ");
  await podNamed(cluster, "two", "Pending");
  await cluster.ok(["delete", "pod", "one", "--now", "--wait=false"]);
  const selected = await cluster.until(["get", "pods", "-w", "-l", "run=two"], "two ");
  assert.ok(!selected.output().includes("one"));
  selected.stop();
  const deadlineMs = performance.now() + 10_000;
  while (
    !/two .*CrashLoopBackOff/.test(watching.output()) ||
    !/one .*Terminating/.test(watching.output())
  ) {
    assert.ok(performance.now() < deadlineMs, watching.output());
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  assert.equal(watching.output().match(/NAME/g)?.length, 1, "one header");
  watching.stop();
});

test("the three kinds of patch", options, async (t) => {
  const cluster = await startKubectlCluster(t);
  await cluster.apply(WEB);
  const get = (path: string): Promise<string> =>
    cluster.ok(["get", "deploy", "web", "-o", `jsonpath=${path}`]);
  await cluster.ok([
    "patch",
    "deploy",
    "web",
    "-p",
    '{"spec":{"template":{"spec":{"containers":[{"name":"main","env":[{"name":"A","$patch":"delete"},{"name":"D","value":"4"}]}]}}}}',
  ]);
  assert.deepEqual(
    (await get("{.spec.template.spec.containers[0].env[*].name}")).split(" ").sort(),
    ["B", "D"],
  );
  assert.equal(await get("{.spec.template.spec.containers[0].image}"), "web:1");
  await cluster.ok([
    "patch",
    "deploy",
    "web",
    "--type=merge",
    "-p",
    '{"metadata":{"labels":{"tier":"front","app":null}}}',
  ]);
  assert.equal(await get("{.metadata.labels}"), '{"tier":"front"}');
  await cluster.ok([
    "patch",
    "deploy",
    "web",
    "--type=json",
    "-p",
    '[{"op":"test","path":"/spec/replicas","value":2},{"op":"replace","path":"/spec/replicas","value":7}]',
  ]);
  assert.equal(await get("{.spec.replicas}"), "7");
  const failing = await cluster.run([
    "patch",
    "deploy",
    "web",
    "--type=json",
    "-p",
    '[{"op":"test","path":"/spec/replicas","value":2}]',
  ]);
  assert.equal(failing.code, 1);
  await cluster.ok([
    "patch",
    "deploy",
    "web",
    "--subresource=status",
    "--type=merge",
    "-p",
    '{"status":{"readyReplicas":1,"replicas":1}}',
  ]);
  assert.equal(await get("{.status.readyReplicas}/{.spec.replicas}"), "1/7");
});

test("edit, label, annotate, scale, set image, rollout restart", options, async (t) => {
  const cluster = await startKubectlCluster(t);
  await cluster.apply(WEB);
  const editor = join(cluster.dir, "editor.sh");
  writeFileSync(editor, '#!/bin/sh\nsed -i "s/replicas: 2/replicas: 3/" "$1"\n');
  chmodSync(editor, 0o755);
  assert.equal(
    await cluster.ok(["edit", "deploy", "web"], { env: { EDITOR: editor } }),
    "deployment.apps/web edited\n",
  );
  assert.equal(
    await cluster.ok(["label", "deploy", "web", "tier=front"]),
    "deployment.apps/web labeled\n",
  );
  assert.equal(
    (await cluster.run(["label", "deploy", "web", "tier=back"])).code,
    1,
    "needs --overwrite",
  );
  await cluster.ok(["label", "deploy", "web", "tier-"]);
  await cluster.ok(["annotate", "deploy", "web", "note=hello"]);
  const get = (path: string): Promise<string> =>
    cluster.ok(["get", "deploy", "web", "-o", `jsonpath=${path}`]);
  assert.equal(
    await get("{.spec.replicas} {.metadata.labels.tier} {.metadata.annotations.note}"),
    "3  hello",
  );
  assert.equal(
    await cluster.ok(["scale", "deploy/web", "--replicas=5"]),
    "deployment.apps/web scaled\n",
  );
  assert.equal(
    (await cluster.run(["scale", "deploy/web", "--current-replicas=9", "--replicas=1"])).code,
    1,
  );
  assert.equal(
    await cluster.ok(["set", "image", "deploy/web", "main=web:9"]),
    "deployment.apps/web image updated\n",
  );
  await cluster.ok(["set", "env", "deploy/web", "A-", "E=5"]);
  await cluster.ok(["rollout", "restart", "deploy/web"]);
  assert.match(
    await get(
      "{.spec.replicas} {.spec.template.spec.containers[0].image} {.spec.template.metadata.annotations}",
    ),
    /^5 web:9 \{"kubectl.kubernetes.io\/restartedAt":"/,
  );
  await cluster.ok(["rollout", "pause", "deploy/web"]);
  assert.equal(await get("{.spec.paused}"), "true");
  await cluster.ok(["rollout", "resume", "deploy/web"]);
});

test("describe and events", options, async (t) => {
  const cluster = await startKubectlCluster(t);
  await cluster.apply(WEB);
  const deployment = await cluster.api.local.get(RESOURCES.deployment, {
    namespace: "default",
    name: "web",
  });
  const now = new Date().toISOString();
  await cluster.api.local.create(RESOURCES.event, {
    apiVersion: "v1",
    kind: "Event",
    metadata: { name: "web.1", namespace: "default" },
    involvedObject: {
      apiVersion: "apps/v1",
      kind: "Deployment",
      name: "web",
      namespace: "default",
      uid: deployment?.metadata.uid,
    },
    reason: "ScalingReplicaSet",
    message: "Scaled up replica set web-1 to 2",
    type: "Normal",
    source: { component: "deployment-controller" },
    firstTimestamp: now,
    lastTimestamp: now,
    count: 1,
  });
  const described = await cluster.ok(["describe", "deploy", "web"]);
  assert.match(described, /^Replicas: +2 desired/m);
  assert.match(
    described,
    /Normal +ScalingReplicaSet +\S+ +deployment-controller +Scaled up replica set web-1 to 2/,
  );
  assert.match(await cluster.ok(["describe", "svc", "web"]), /^Port: +http +80\/TCP$/m);
  assert.match(await cluster.ok(["describe", "ns", "default"]), /^Status: +Active$/m);
  assert.match(
    await cluster.ok(["events"]),
    /Normal +ScalingReplicaSet +Deployment\/web +Scaled up/,
  );
  assert.match(await cluster.ok(["events", "--for", "deployment/web"]), /ScalingReplicaSet/);
  assert.match(
    await cluster.ok(["get", "events"]),
    /ScalingReplicaSet +deployment\/web +Scaled up/,
  );
});

test("wait ends when the condition holds, and says when it does not", options, async (t) => {
  const cluster = await startKubectlCluster(t);
  await cluster.apply(WEB);
  const impatient = await cluster.run([
    "wait",
    "deploy/web",
    "--for=condition=Available",
    "--timeout=1s",
  ]);
  assert.equal(impatient.code, 1);
  assert.match(impatient.stderr, /timed out waiting for the condition on deployments\/web/);
  const waiting = cluster.ok(["wait", "deploy/web", "--for=condition=Available", "--timeout=20s"]);
  await cluster.api.local.patch(
    RESOURCES.deployment,
    { namespace: "default", name: "web" },
    { status: { conditions: [{ type: "Available", status: "True" }] } },
    { kind: "merge", subresource: "status" },
  );
  assert.equal(await waiting, "deployment.apps/web condition met\n");
  const gone = cluster.ok(["wait", "svc/web", "--for=delete", "--timeout=20s"]);
  await cluster.ok(["delete", "svc", "web"]);
  // Nothing is printed when the deletion was faster than kubectl's start.
  assert.match(await gone, /^(service\/web condition met\n)?$/);
});

test("delete: by name, by selector, by file, with each cascade", options, async (t) => {
  const cluster = await startKubectlCluster(t);
  await cluster.apply(WEB);
  assert.equal(await cluster.ok(["delete", "svc", "web"]), 'service "web" deleted\n');
  assert.equal((await cluster.run(["delete", "svc", "web"])).code, 1);
  assert.equal(await cluster.ok(["delete", "svc", "web", "--ignore-not-found"]), "");
  const finalizers = (): Promise<string> =>
    cluster.ok(["get", "deploy", "web", "-o", "jsonpath={.metadata.finalizers}"]);
  await cluster.ok(["delete", "deploy", "web", "--cascade=foreground", "--wait=false"]);
  assert.equal(await finalizers(), '["foregroundDeletion"]');
  await cluster.ok([
    "patch",
    "deploy",
    "web",
    "--type=merge",
    "-p",
    '{"metadata":{"finalizers":null}}',
  ]);
  await cluster.apply(WEB);
  await cluster.ok(["delete", "deploy", "web", "--cascade=orphan", "--wait=false"]);
  assert.equal(await finalizers(), '["orphan"]');
  await cluster.ok([
    "patch",
    "deploy",
    "web",
    "--type=merge",
    "-p",
    '{"metadata":{"finalizers":null}}',
  ]);
  await cluster.apply(WEB);
  assert.equal(
    await cluster.ok(["delete", "deploy", "-l", "app=web"]),
    'deployment.apps "web" deleted\n',
  );
  assert.equal(
    await cluster.ok(["delete", "-f", "-", "--ignore-not-found"], { stdin: WEB }),
    'service "web" deleted\n',
  );
  await cluster.apply("apiVersion: v1\nkind: Namespace\nmetadata: {name: team}\n");
  await cluster.ok(["delete", "ns", "team", "--wait=false"]);
  assert.match(await cluster.ok(["get", "ns", "team"]), /team +Terminating/);
});

test("logs, followed and of one container", options, async (t) => {
  const cluster = await startKubectlCluster(t);
  await podNamed(cluster, "one", "Running");
  const more = Promise.withResolvers<void>();
  cluster.api.setPodLogs({
    async *read(_where, { follow }) {
      yield Buffer.from("first\n");
      if (!follow) return;
      await more.promise;
      yield Buffer.from("second\n");
    },
  });
  assert.equal(await cluster.ok(["logs", "one"]), "first\n");
  assert.equal(await cluster.ok(["logs", "one", "-c", "main", "--tail=5"]), "first\n");
  const wrong = await cluster.run(["logs", "one", "-c", "nope"]);
  assert.equal(wrong.code, 1);
  assert.match(wrong.stderr, /container nope is not valid for pod one/);
  const following = cluster.ok(["logs", "one", "-f"]);
  more.resolve();
  assert.equal(await following, "first\nsecond\n");
});

test("custom resources: every verb, with their own columns", options, async (t) => {
  const cluster = await startKubectlCluster(t);
  await cluster.apply(CRONTAB);
  await cluster.ok([
    "wait",
    "crd/crontabs.stable.example.com",
    "--for=condition=Established",
    "--timeout=10s",
  ]);
  const one =
    "apiVersion: stable.example.com/v1\nkind: CronTab\nmetadata: {name: one}\nspec: {schedule: hourly}\n";
  assert.equal(await cluster.apply(one), "crontab.stable.example.com/one created\n");
  assert.equal(await cluster.apply(one), "crontab.stable.example.com/one unchanged\n");
  assert.equal(
    await cluster.apply(one.replace("hourly", "daily")),
    "crontab.stable.example.com/one configured\n",
  );
  assert.deepEqual(cells(await cluster.ok(["get", "ct"]), 1), ["one", "daily"]);
  assert.deepEqual(cells(await cluster.ok(["get", "ct", "-o", "wide"]), 1), ["one", "daily", "1"]);
  await cluster.ok(["scale", "ct/one", "--replicas=4"]);
  assert.equal(await cluster.ok(["get", "ct", "one", "-o", "jsonpath={.spec.replicas}"]), "4");
  const refused = await cluster.run([
    "patch",
    "ct",
    "one",
    "--type=merge",
    "-p",
    '{"spec":{"replicas":0}}',
  ]);
  assert.match(
    refused.stderr,
    /spec\.replicas: Invalid value: 0: spec\.replicas in body should be greater than or equal to 1/,
  );
  const typo = await cluster.run(["apply", "-f", "-"], {
    stdin: one.replace("schedule: hourly", "schedule: hourly, scedule: x"),
  });
  assert.equal(typo.code, 1);
  assert.match(typo.stderr, /unknown field "spec\.scedule"/);
  const missing = await cluster.run(["apply", "-f", "-"], {
    stdin: one.replace("schedule: hourly", "replicas: 2").replace("one", "two"),
  });
  assert.match(missing.stderr, /spec\.schedule: Required value/);
  assert.match(await cluster.ok(["get", "all"]), /crontab\.stable\.example\.com\/one/);
  await cluster.ok(["delete", "crd", "crontabs.stable.example.com"]);
  assert.equal((await cluster.run(["get", "ct", "one"])).code, 1);
});

test("what comes later is refused in plain words", options, async (t) => {
  const cluster = await startKubectlCluster(t);
  const serverSide = await cluster.run(["apply", "--server-side", "-f", "-"], { stdin: WEB });
  assert.equal(serverSide.code, 1);
  assert.match(serverSide.stderr, /Server-side apply not available on the server/);
  const protobuf = await cluster.run(["create", "namespace", "team"]);
  assert.equal(protobuf.code, 1);
  assert.match(protobuf.stderr, /UnsupportedMediaType.*application\/vnd\.kubernetes\.protobuf/);
});
