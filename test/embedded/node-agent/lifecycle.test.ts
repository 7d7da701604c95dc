import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { type KubeObject, RESOURCES } from "../../../src/api/index.ts";
import { at, type Json } from "../api-server/test-server.ts";
import { ECHO, IDLE, isReady, startTestNode, statusOf, type TestNode } from "./test-node.ts";

const waitingFor = (reason: string, container?: string) => (pod: KubeObject) =>
  at(statusOf(pod, container), "state", "waiting", "reason") === reason;

async function messages(node: TestNode, reason: string): Promise<string[]> {
  const events = await node.api.list(RESOURCES.event, { namespace: "default" });
  return events.filter((e) => e["reason"] === reason).map((e) => String(e["message"]));
}

test("a crashing container restarts at once, then backs off, and its last run can be read", async (t) => {
  const node = await startTestNode(t);
  const command = node.program("crash", `console.log("run"); process.exit(3);`);
  await node.pod("crash", { containers: [{ name: "app", command }] });
  const pod = await node.until("crash", "it backs off", waitingFor("CrashLoopBackOff"));
  const status = statusOf(pod);
  assert.equal(status["restartCount"], 1, "the first restart comes without delay");
  assert.equal(at(status, "lastState", "terminated", "exitCode"), 3);
  assert.equal(at(status, "lastState", "terminated", "reason"), "Error");
  assert.match(
    String(at(status, "state", "waiting", "message")),
    /^back-off 10s restarting failed container=app pod=crash_default\(/,
  );
  assert.equal(at(pod, "status", "phase"), "Running");
  assert.equal(await node.logged("crash", "run"), "run\n");
  assert.equal(await node.logged("crash", "run", { previous: true }), "run\n");
});

test("a pod of restartPolicy Never ends as Succeeded or Failed with its exit codes", async (t) => {
  const node = await startTestNode(t);
  const ending = (code: number) => node.program(`end${code}`, `process.exit(${code});`);
  const restartPolicy = "Never";
  await node.pod("good", { restartPolicy, containers: [{ name: "app", command: ending(0) }] });
  await node.pod("bad", { restartPolicy, containers: [{ name: "app", command: ending(7) }] });
  const phase = (wanted: string) => (pod: KubeObject) => at(pod, "status", "phase") === wanted;
  const good = await node.until("good", "it succeeded", phase("Succeeded"));
  assert.equal(at(statusOf(good), "state", "terminated", "reason"), "Completed");
  const bad = await node.until("bad", "it failed", phase("Failed"));
  assert.equal(at(statusOf(bad), "state", "terminated", "exitCode"), 7);
});

test("init containers run in order before the containers; native sidecars stay", async (t) => {
  const node = await startTestNode(t);
  const say = (name: string) =>
    node.program(
      name,
      `import { appendFileSync } from "node:fs";
appendFileSync(process.env.SERIN_VOLUME_SHARED + "/order", "${name} ");`,
    );
  const volumeMounts = [{ name: "shared", mountPath: "/shared" }];
  const show = node.program(
    "show",
    `import { readFileSync } from "node:fs";
console.log(readFileSync(process.env.SERIN_VOLUME_SHARED + "/order", "utf8"));
setInterval(() => undefined, 1000);`,
  );
  await node.pod("init", {
    volumes: [{ name: "shared", emptyDir: {} }],
    initContainers: [
      { name: "one", command: say("one"), volumeMounts },
      { name: "helper", command: node.program("idle", IDLE), restartPolicy: "Always" },
      { name: "two", command: say("two"), volumeMounts },
    ],
    containers: [{ name: "app", command: show, volumeMounts }],
  });
  const pod = await node.until("init", "it is ready", isReady);
  assert.equal(await node.logged("init", "\n"), "one two \n");
  assert.equal(at(statusOf(pod, "one"), "state", "terminated", "exitCode"), 0);
  assert.notEqual(at(statusOf(pod, "helper"), "state", "running"), undefined);
});

test("a failing init container of restartPolicy Never fails the pod", async (t) => {
  const node = await startTestNode(t);
  await node.pod("init", {
    restartPolicy: "Never",
    initContainers: [{ name: "one", command: node.program("fail", "process.exit(1);") }],
    containers: [{ name: "app", command: node.program("idle", IDLE) }],
  });
  const pod = await node.until("init", "it failed", (p) => at(p, "status", "phase") === "Failed");
  assert.equal(at(statusOf(pod), "state", "waiting", "reason"), "PodInitializing");
});

const SWITCHED = `
import { createServer } from "node:http";
let isWell = true;
createServer((request, response) => {
  if (request.url === "/break") isWell = false;
  if (request.url === "/heal") isWell = true;
  response.statusCode = request.url === "/health" && !isWell ? 503 : 200;
  response.end(request.headers["x-probe"] ?? "");
}).listen(Number(process.env.PORT), process.env.HOST);
`;

test("readiness follows the probe both ways without a restart", async (t) => {
  const node = await startTestNode(t);
  await node.pod("web", {
    containers: [
      {
        name: "app",
        command: node.program("switched", SWITCHED),
        ports: [{ containerPort: 8080 }],
        readinessProbe: {
          httpGet: { path: "/health", port: 8080 },
          periodSeconds: 1,
          failureThreshold: 1,
        },
      },
    ],
  });
  const pod = await node.until("web", "it is ready", isReady);
  const url = `http://${at(pod, "status", "podIP")}:8080`;
  await (await fetch(`${url}/break`)).text();
  const broken = await node.until("web", "it is not ready", (p) => !isReady(p));
  assert.equal(statusOf(broken)["ready"], false);
  await (await fetch(`${url}/heal`)).text();
  const healed = await node.until("web", "it is ready again", isReady);
  assert.equal(statusOf(healed)["restartCount"], 0);
  assert.ok(
    (await messages(node, "Unhealthy")).includes(
      "Readiness probe failed: HTTP probe failed with statuscode: 503",
    ),
  );
});

test("a failing liveness probe restarts the container", async (t) => {
  const node = await startTestNode(t);
  await node.pod("web", {
    containers: [
      {
        name: "app",
        command: node.program("switched", SWITCHED),
        ports: [{ containerPort: 8080, name: "http" }],
        startupProbe: { tcpSocket: { port: "http" }, periodSeconds: 1, failureThreshold: 30 },
        livenessProbe: {
          httpGet: { path: "/health", port: "http" },
          periodSeconds: 1,
          failureThreshold: 2,
        },
      },
    ],
  });
  const pod = await node.until("web", "it is ready", isReady);
  await (await fetch(`http://${at(pod, "status", "podIP")}:8080/break`)).text();
  const again = await node.until(
    "web",
    "it was restarted",
    (p) => statusOf(p)["restartCount"] === 1 && isReady(p),
  );
  assert.equal(at(statusOf(again), "lastState", "terminated", "signal"), 15);
  assert.ok(
    (await messages(node, "Killing")).includes(
      "Container app failed liveness probe, will be restarted",
    ),
  );
});

test("an exec probe runs with the container's environment", async (t) => {
  const node = await startTestNode(t);
  const check = node.program("check", `process.exit(process.env.SECRET === "x" ? 0 : 1);`);
  await node.pod("web", {
    containers: [
      {
        name: "app",
        command: node.program("idle", IDLE),
        env: [{ name: "SECRET", value: "x" }],
        readinessProbe: { exec: { command: check }, timeoutSeconds: 10 },
      },
    ],
  });
  await node.until("web", "it is ready", isReady);
});

const STUBBORN = `process.on("SIGTERM", () => console.log("ignored")); setInterval(() => undefined, 1000); console.log("up");`;

test("a container that ignores SIGTERM is killed when its grace period is over", async (t) => {
  const node = await startTestNode(t);
  await node.pod("web", {
    terminationGracePeriodSeconds: 1,
    containers: [{ name: "app", command: node.program("stubborn", STUBBORN) }],
  });
  await node.logged("web", "up");
  const ignored = node.logged("web", "ignored");
  const last = node.until(
    "web",
    "it ended",
    (p) => at(statusOf(p), "state", "terminated") !== undefined,
  );
  await node.api.delete(RESOURCES.pod, { namespace: "default", name: "web" });
  await ignored;
  assert.equal(at(statusOf(await last), "state", "terminated", "exitCode"), 137);
});

test("with a sidecar the application has its own address, and ends before the sidecar", async (t) => {
  const node = await startTestNode(t);
  const proxy = node.program(
    "proxy",
    `console.log(JSON.stringify(process.env)); setInterval(() => undefined, 1000);
process.on("SIGTERM", () => { console.log("proxy ends " + Date.now()); process.exit(0); });`,
  );
  await node.pod("web", {
    containers: [
      {
        name: "app",
        command: node.program("echo", ECHO),
        ports: [{ containerPort: 8080 }],
        readinessProbe: { httpGet: { path: "/health", port: 8080 } },
      },
      { name: "istio-proxy", command: proxy },
    ],
  });
  const pod = await node.until("web", "it is ready", isReady);
  const podIp = String(at(pod, "status", "podIP"));
  const application = String(pod.metadata.annotations?.["embedded.serin.dev/application-address"]);
  const [a, b, ...rest] = podIp.split(".");
  assert.equal(application, [a, Number(b) + 32, ...rest].join("."));
  const env = (await (await fetch(`http://${application}:8080/`)).json()) as Json;
  assert.equal(env["HOST"], application);
  assert.equal(env["POD_IP"], podIp);
  assert.equal(env["HTTP_PROXY"], `http://${podIp}:15001`);
  assert.equal(env["NODE_USE_ENV_PROXY"], "1");
  const sidecar = JSON.parse(await node.logged("web", "}\n", { container: "istio-proxy" })) as Json;
  assert.equal(sidecar["HOST"], podIp);
  assert.equal(sidecar["ISTIO_META_APPLICATION_ADDRESS"], application);
  assert.equal(sidecar["HTTP_PROXY"], undefined);

  const deletedAtMs = Date.now();
  const endOfProxy = node.logged("web", "proxy ends", { container: "istio-proxy" });
  const appEnded = node.until(
    "web",
    "the application ended",
    (p) => at(statusOf(p), "state", "terminated") !== undefined,
  );
  await node.api.delete(RESOURCES.pod, { namespace: "default", name: "web" });
  const between = await appEnded;
  assert.notEqual(
    at(statusOf(between, "istio-proxy"), "state", "running"),
    undefined,
    "the sidecar still serves when the application has ended",
  );
  const endedAtMs = Number(/proxy ends (\d+)/.exec(await endOfProxy)?.[1]);
  assert.ok(endedAtMs - deletedAtMs >= 1000, "peers had time to drop the endpoint");
});

test("a preStop hook runs before SIGTERM", async (t) => {
  const node = await startTestNode(t);
  const hook = node.program(
    "hook",
    `import { writeFileSync } from "node:fs";
writeFileSync(process.env.SERIN_VOLUME_SHARED + "/hook", "done");`,
  );
  const app = node.program(
    "app",
    `import { readFileSync } from "node:fs";
process.on("SIGTERM", () => { console.log("hook " + readFileSync(process.env.SERIN_VOLUME_SHARED + "/hook", "utf8")); process.exit(0); });
setInterval(() => undefined, 1000); console.log("up");`,
  );
  await node.pod("web", {
    volumes: [{ name: "shared", emptyDir: {} }],
    containers: [
      {
        name: "app",
        command: app,
        volumeMounts: [{ name: "shared", mountPath: "/shared" }],
        lifecycle: { preStop: { exec: { command: hook } } },
      },
    ],
  });
  await node.logged("web", "up");
  const said = node.logged("web", "hook done");
  await node.api.delete(RESOURCES.pod, { namespace: "default", name: "web" });
  await said;
});

test("without a readiness probe a pod is ready once its port takes connections", async (t) => {
  const node = await startTestNode(t);
  // Listens only when told to, by a file in its working directory.
  const slow = node.program(
    "slow",
    `import { existsSync } from "node:fs";
import { createServer } from "node:http";
const timer = setInterval(() => {
  if (!existsSync(process.env.GATE)) return;
  clearInterval(timer);
  createServer((request, response) => response.end("ok")).listen(Number(process.env.PORT), process.env.HOST);
}, 10);
console.log("up");`,
  );
  const gate = join(node.dir, "gate");
  await node.pod("web", {
    containers: [
      {
        name: "app",
        command: slow,
        env: [{ name: "GATE", value: gate }],
        ports: [{ containerPort: 8080 }],
      },
    ],
  });
  await node.logged("web", "up");
  const early = await node.get("web");
  assert.ok(early !== undefined && !isReady(early));
  writeFileSync(gate, "");
  const pod = await node.until("web", "it is ready", isReady);
  const answer = await fetch(`http://${at(pod, "status", "podIP")}:8080/`);
  assert.equal(await answer.text(), "ok", "the first request after Ready is served");
});

test("a failing startup probe restarts the container before it is ever ready", async (t) => {
  const node = await startTestNode(t);
  await node.pod("web", {
    terminationGracePeriodSeconds: 1,
    containers: [
      {
        name: "app",
        command: node.program("idle", IDLE),
        startupProbe: { tcpSocket: { port: 8080 }, periodSeconds: 1, failureThreshold: 1 },
      },
    ],
  });
  const pod = await node.until("web", "it was restarted", (p) => statusOf(p)["restartCount"] === 1);
  assert.equal(isReady(pod), false);
  const words = "Container app failed startup probe, will be restarted";
  assert.ok((await messages(node, "Killing")).includes(words));
});

test("a pod that is active longer than its deadline fails", async (t) => {
  const node = await startTestNode(t);
  await node.pod("late", {
    activeDeadlineSeconds: 1,
    containers: [{ name: "app", command: node.program("idle", IDLE) }],
  });
  const pod = await node.until("late", "it failed", (p) => at(p, "status", "phase") === "Failed");
  assert.equal(at(pod, "status", "reason"), "DeadlineExceeded");
});

test("a second deletion shortens the grace period, a forced one kills at once", async (t) => {
  const node = await startTestNode(t);
  const terminationGracePeriodSeconds = 3600;
  const command = node.program("stubborn", STUBBORN);
  for (const name of ["shorter", "forced"]) {
    await node.pod(name, { terminationGracePeriodSeconds, containers: [{ name: "app", command }] });
    await node.logged(name, "up");
    const ignored = node.logged(name, "ignored");
    const key = { namespace: "default", name };
    await node.api.delete(RESOURCES.pod, key);
    await ignored;
    const gracePeriodSeconds = name === "forced" ? 0 : 1;
    await node.api.delete(RESOURCES.pod, key, { gracePeriodSeconds });
  }
  const deadlineMs = performance.now() + 20_000;
  while ((await node.api.list(RESOURCES.pod)).length > 0) {
    assert.ok(performance.now() < deadlineMs, "both pods go");
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
});
