import assert from "node:assert/strict";
import { existsSync, readFileSync } from "node:fs";
import { test } from "node:test";
import { RESOURCES } from "../../../src/api/index.ts";
import { at } from "../api-server/test-server.ts";
import { isReady, startTestNode, statusOf, type TestNode } from "./test-node.ts";

/** Prints what it got as one line of JSON and stays. */
const REPORT = `
import { readFileSync } from "node:fs";
const files = Object.fromEntries((process.env.READ ?? "").split(",").filter(Boolean)
  .map((path) => [path.split("/").at(-1), readFileSync(path, "utf8")]));
console.log(JSON.stringify({ argv: process.argv.slice(2), env: process.env, cwd: process.cwd(), files }));
setInterval(() => undefined, 1000);
`;

interface Report {
  readonly argv: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  readonly cwd: string;
  readonly files: Readonly<Record<string, string>>;
}

async function report(node: TestNode, name: string): Promise<Report> {
  const log = await node.logged(name, "}\n");
  return JSON.parse(log) as Report;
}

async function createConfig(node: TestNode): Promise<void> {
  const metadata = { name: "settings", namespace: "default" };
  await node.api.create(RESOURCES.configMap, {
    apiVersion: "v1",
    kind: "ConfigMap",
    metadata,
    data: { COLOUR: "green", "app.yaml": "a: 1\n" },
  });
  await node.api.create(RESOURCES.secret, {
    apiVersion: "v1",
    kind: "Secret",
    metadata,
    stringData: { PASSWORD: "s3cret" },
  });
}

test("environment comes from values, fields, ConfigMaps and Secrets, with $(VAR) expanded", async (t) => {
  const node = await startTestNode(t);
  await createConfig(node);
  await node.pod("env", {
    labels: { app: "shop" },
    annotations: { "example.com/note": "hi" },
    containers: [
      {
        name: "app",
        command: [...node.program("report", REPORT), "--colour=$(COLOUR)"],
        args: ["$(NAME)/$(UNKNOWN)", "$$(NAME)"],
        ports: [{ containerPort: 7000 }, { containerPort: 7001 }],
        resources: { limits: { cpu: "1500m" } },
        envFrom: [
          { configMapRef: { name: "settings" } },
          { prefix: "X_", secretRef: { name: "settings" } },
        ],
        env: [
          { name: "NAME", valueFrom: { fieldRef: { fieldPath: "metadata.name" } } },
          { name: "APP", valueFrom: { fieldRef: { fieldPath: "metadata.labels['app']" } } },
          {
            name: "NOTE",
            valueFrom: { fieldRef: { fieldPath: "metadata.annotations['example.com/note']" } },
          },
          { name: "ACCOUNT", valueFrom: { fieldRef: { fieldPath: "spec.serviceAccountName" } } },
          { name: "IP", valueFrom: { fieldRef: { fieldPath: "status.podIP" } } },
          { name: "CPUS", valueFrom: { resourceFieldRef: { resource: "limits.cpu" } } },
          { name: "URL", value: "http://$(IP):$(PORT)/$(LATER)" },
          { name: "LATER", value: "x" },
          {
            name: "COLOUR2",
            valueFrom: { configMapKeyRef: { name: "settings", key: "COLOUR" } },
          },
          {
            name: "ABSENT",
            valueFrom: { secretKeyRef: { name: "none", key: "none", optional: true } },
          },
          { name: "HOSTNAME", value: "mine" },
        ],
      },
    ],
  });
  const { argv, env } = await report(node, "env");
  const pod = await node.get("env");
  const podIp = String(at(pod, "status", "podIP"));
  assert.deepEqual(argv, ["--colour=green", "env/$(UNKNOWN)", "$(NAME)"]);
  assert.equal(env["X_PASSWORD"], "s3cret");
  assert.equal(env["APP"], "shop");
  assert.equal(env["NOTE"], "hi");
  assert.equal(env["ACCOUNT"], "default");
  assert.equal(env["IP"], podIp);
  assert.equal(env["HOST"], podIp);
  assert.equal(env["PORT"], "7000");
  assert.equal(env["CPUS"], "2");
  assert.equal(env["URL"], `http://${podIp}:7000/$(LATER)`);
  assert.equal(env["COLOUR2"], "green");
  assert.equal("ABSENT" in env, false);
  assert.equal(env["HOSTNAME"], "mine", "the pod's own variables win");
});

test("volumes are real files, found through SERIN_VOLUME_*, replaced mount paths and SERIN_TOKEN_PATH", async (t) => {
  const node = await startTestNode(t);
  await createConfig(node);
  await node.pod("files", {
    labels: { app: "shop" },
    containers: [
      {
        name: "app",
        command: [
          ...node.program("report", REPORT),
          "--config=/etc/app/app.yaml",
          "/etc/application",
        ],
        env: [
          { name: "READ", value: "/etc/app/app.yaml,/etc/pod/labels,/var/run/tokens/istio-token" },
        ],
        volumeMounts: [
          { name: "config", mountPath: "/etc/app" },
          { name: "pod-info", mountPath: "/etc/pod/" },
          { name: "token", mountPath: "/var/run/tokens" },
          { name: "scratch", mountPath: "/scratch" },
        ],
      },
    ],
    volumes: [
      {
        name: "config",
        configMap: { name: "settings", items: [{ key: "app.yaml", path: "app.yaml" }] },
      },
      {
        name: "pod-info",
        downwardAPI: { items: [{ path: "labels", fieldRef: { fieldPath: "metadata.labels" } }] },
      },
      {
        name: "token",
        projected: {
          sources: [
            {
              serviceAccountToken: {
                path: "istio-token",
                audience: "istio-ca",
                expirationSeconds: 3600,
              },
            },
          ],
        },
      },
      { name: "scratch", emptyDir: {} },
    ],
  });
  const { argv, env, files } = await report(node, "files");
  assert.equal(files["app.yaml"], "a: 1\n");
  assert.equal(files["labels"], 'app="shop"');
  assert.equal(argv[0], `--config=${env["SERIN_VOLUME_CONFIG"]}/app.yaml`);
  assert.equal(argv[1], "/etc/application", "only whole path segments are replaced");
  assert.ok(existsSync(env["SERIN_VOLUME_SCRATCH"] ?? ""));
  const token = readFileSync(env["SERIN_TOKEN_PATH"] ?? "", "utf8");
  const claims = JSON.parse(
    Buffer.from(token.split(".")[1] ?? "", "base64url").toString(),
  ) as Record<string, unknown>;
  assert.deepEqual(claims["aud"], ["istio-ca"]);
  assert.equal(claims["sub"], "system:serviceaccount:default:default");

  const config = { namespace: "default", name: "settings" };
  const path = `${env["SERIN_VOLUME_CONFIG"]}/app.yaml`;
  await node.api.patch(
    RESOURCES.configMap,
    config,
    { data: { "app.yaml": "a: 2\n" } },
    { kind: "merge" },
  );
  const deadlineMs = performance.now() + 10_000;
  while (readFileSync(path, "utf8") !== "a: 2\n") {
    assert.ok(performance.now() < deadlineMs, "the mounted file follows the ConfigMap");
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
});

test("a missing ConfigMap is CreateContainerConfigError, and the container starts once it is there", async (t) => {
  const node = await startTestNode(t);
  await node.pod("early", {
    containers: [
      {
        name: "app",
        command: node.program("report", REPORT),
        env: [{ name: "X", valueFrom: { configMapKeyRef: { name: "settings", key: "COLOUR" } } }],
      },
    ],
  });
  const isWaiting = (pod: unknown): boolean =>
    at(statusOf(pod as never), "state", "waiting", "reason") === "CreateContainerConfigError";
  const pod = await node.until("early", "the container waits for its configuration", isWaiting);
  assert.equal(at(statusOf(pod), "state", "waiting", "message"), 'configmap "settings" not found');
  await createConfig(node);
  await node.until("early", "it is ready", isReady);
  assert.equal((await report(node, "early")).env["X"], "green");
});

test("an unknown image without a command names the image and --image-map", async (t) => {
  const node = await startTestNode(t);
  await node.pod("unknown", { containers: [{ name: "app", image: "example.com/none:7" }] });
  const pod = await node.until("unknown", "the image is refused", (each) =>
    /^ErrImagePull|ImagePullBackOff$/.test(
      String(at(statusOf(each), "state", "waiting", "reason")),
    ),
  );
  const message = String(at(statusOf(pod), "state", "waiting", "message"));
  assert.match(message, /"example\.com\/none:7"/);
  assert.match(message, /--image-map/);
  assert.equal(at(pod, "status", "phase"), "Pending");
});

test("the image map gives program and environment; args are added, command replaces", async (t) => {
  const map = { image: "docker.io/shop/*", command: ["placeholder"], env: { FLAVOUR: "map" } };
  const imageMap = [{ ...map, command: [] as string[] }];
  const node = await startTestNode(t, { imageMap });
  imageMap[0]?.command.push(...node.program("report", REPORT), "from-map");
  const image = "shop/web:1";
  await node.pod("mapped", { containers: [{ name: "app", image, args: ["a"] }] });
  const mapped = await report(node, "mapped");
  assert.deepEqual(mapped.argv, ["from-map", "a"]);
  assert.equal(mapped.env["FLAVOUR"], "map");
  const command = [...node.program("report", REPORT), "own"];
  const env = [{ name: "FLAVOUR", value: "pod" }];
  await node.pod("replaced", { containers: [{ name: "app", image, command, args: ["a"], env }] });
  const replaced = await report(node, "replaced");
  assert.deepEqual(replaced.argv, ["own", "a"]);
  assert.equal(replaced.env["FLAVOUR"], "pod");
});

test("a changed image restarts the container at once; changed labels reach the files", async (t) => {
  const rows = ["v1", "v2"].map((version) => ({
    image: `shop/web:${version}`,
    command: [] as string[],
    env: { VERSION: version },
  }));
  const node = await startTestNode(t, { imageMap: rows });
  for (const { command } of rows) command.push(...node.program("report", REPORT));
  const labels = [{ path: "labels", fieldRef: { fieldPath: "metadata.labels" } }];
  await node.pod("web", {
    restartPolicy: "Never",
    labels: { app: "web" },
    volumes: [{ name: "info", downwardAPI: { items: labels } }],
    containers: [
      { name: "app", image: "shop/web:v1", volumeMounts: [{ name: "info", mountPath: "/info" }] },
    ],
  });
  const { env } = await report(node, "web");
  assert.equal(env["VERSION"], "v1");
  const patch = {
    metadata: { labels: { tier: "front" } },
    spec: { containers: [{ name: "app", image: "shop/web:v2" }] },
  };
  const key = { namespace: "default", name: "web" };
  await node.api.patch(RESOURCES.pod, key, patch, { kind: "strategic" });
  const pod = await node.until(
    "web",
    "it runs anew",
    (p) => statusOf(p)["restartCount"] === 1 && isReady(p),
  );
  assert.equal(statusOf(pod)["image"], "shop/web:v2");
  assert.equal((await report(node, "web")).env["VERSION"], "v2");
  const path = `${env["SERIN_VOLUME_INFO"]}/labels`;
  const deadlineMs = performance.now() + 10_000;
  while (!readFileSync(path, "utf8").includes('tier="front"')) {
    assert.ok(performance.now() < deadlineMs, "the file follows the labels");
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
});
