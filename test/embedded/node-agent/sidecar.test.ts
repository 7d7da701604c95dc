import assert from "node:assert/strict";
import { existsSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { RESOURCES } from "../../../src/api/index.ts";
import { at } from "../api-server/test-server.ts";
import { IDLE, isReady, startTestNode, statusOf } from "./test-node.ts";

test("a job with a native sidecar succeeds: the sidecar is ended after the job", async (t) => {
  const node = await startTestNode(t);
  await node.pod("job", {
    restartPolicy: "Never",
    initContainers: [
      { name: "istio-proxy", command: node.program("idle", IDLE), restartPolicy: "Always" },
    ],
    containers: [{ name: "app", command: node.program("done", `console.log(process.env.HOST);`) }],
  });
  const pod = await node.until(
    "job",
    "it succeeded",
    (p) => at(p, "status", "phase") === "Succeeded",
  );
  const application = pod.metadata.annotations?.["embedded.serin.dev/application-address"];
  assert.equal(
    await node.logged("job", "\n"),
    `${application}\n`,
    "a native sidecar counts as one",
  );
  await node.until(
    "job",
    "the sidecar ended",
    (p) => at(statusOf(p, "istio-proxy"), "state", "terminated") !== undefined,
  );
});

test("a native sidecar that ends is started again, whatever the pod's restart policy", async (t) => {
  const node = await startTestNode(t);
  await node.pod("web", {
    restartPolicy: "Never",
    initContainers: [
      { name: "helper", command: node.program("end", "process.exit(0);"), restartPolicy: "Always" },
    ],
    containers: [{ name: "app", command: node.program("idle", IDLE) }],
  });
  await node.until(
    "web",
    "it restarted",
    (p) =>
      at(statusOf(p, "helper"), "state", "waiting", "reason") === "CrashLoopBackOff" &&
      at(p, "status", "phase") === "Running",
  );
  assert.equal(statusOf(await node.get("web"), "helper")["restartCount"], 1);
});

test("holdApplicationUntilProxyStarts keeps the application back until the proxy is ready", async (t) => {
  const node = await startTestNode(t);
  const gate = join(node.dir, "gate");
  const begun = join(node.dir, "begun");
  const check = node.program(
    "check",
    `import { existsSync } from "node:fs"; process.exit(existsSync(${JSON.stringify(gate)}) ? 0 : 1);`,
  );
  const app = node.program(
    "app",
    `import { writeFileSync } from "node:fs"; writeFileSync(${JSON.stringify(begun)}, ""); setInterval(() => undefined, 1000);`,
  );
  await node.pod("web", {
    annotations: { "proxy.istio.io/config": "holdApplicationUntilProxyStarts: true" },
    containers: [
      { name: "app", command: app },
      {
        name: "istio-proxy",
        command: node.program("idle", IDLE),
        readinessProbe: { exec: { command: check }, timeoutSeconds: 10, periodSeconds: 1 },
      },
    ],
  });
  await node.logged("web", "idle", { container: "istio-proxy" });
  assert.equal(
    at(statusOf(await node.get("web")), "state", "waiting", "reason"),
    "ContainerCreating",
  );
  assert.equal(existsSync(begun), false);
  writeFileSync(gate, "");
  await node.until("web", "it is ready", isReady);
});

test("a deletion while the application is held back ends the pod", async (t) => {
  const node = await startTestNode(t);
  await node.pod("web", {
    annotations: { "proxy.istio.io/config": '{"holdApplicationUntilProxyStarts": true}' },
    containers: [
      { name: "app", command: node.program("idle", IDLE) },
      {
        name: "istio-proxy",
        command: node.program("idle", IDLE),
        readinessProbe: { tcpSocket: { port: 1 } },
      },
    ],
  });
  await node.logged("web", "idle", { container: "istio-proxy" });
  await node.api.delete(RESOURCES.pod, { namespace: "default", name: "web" });
  const deadlineMs = performance.now() + 20_000;
  while ((await node.get("web")) !== undefined) {
    assert.ok(performance.now() < deadlineMs, "the pod goes");
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
});
