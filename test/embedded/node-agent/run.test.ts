import assert from "node:assert/strict";
import { test } from "node:test";
import { RESOURCES } from "../../../src/api/index.ts";
import { at } from "../api-server/test-server.ts";
import { ECHO, IDLE, isReady, startTestNode, statusOf } from "./test-node.ts";

test("a pod runs as a process on its own address, becomes Ready and is logged", async (t) => {
  const node = await startTestNode(t);
  const command = node.program("echo", ECHO);
  await node.pod("web", {
    containers: [
      {
        name: "app",
        command,
        ports: [{ containerPort: 8080, name: "http" }],
        readinessProbe: { httpGet: { path: "/health", port: "http" } },
      },
    ],
  });
  const pod = await node.until("web", "it is ready", isReady);
  const podIp = String(at(pod, "status", "podIP"));
  assert.match(podIp, /^127\.(1[6-9]|2\d|3[01])\.\d+\.\d+$/);
  assert.equal(at(pod, "spec", "nodeName"), "serin-local");
  assert.equal(at(pod, "status", "phase"), "Running");
  assert.equal(statusOf(pod)["ready"], true);
  assert.equal(statusOf(pod)["restartCount"], 0);
  const env = (await (await fetch(`http://${podIp}:8080/`)).json()) as Record<string, string>;
  assert.equal(env["POD_IP"], podIp);
  assert.equal(env["HOSTNAME"], "web");
  assert.equal(env["HTTP_PROXY"], undefined, "no sidecar, no proxy");
  assert.equal(await node.logged("web", "listens"), "listens\n");
  const events = await node.api.list(RESOURCES.event, { namespace: "default" });
  const reasons = events.map((event) => event["reason"]);
  for (const reason of ["Scheduled", "Pulled", "Created", "Started"]) {
    assert.ok(reasons.includes(reason), `${reason} in ${reasons}`);
  }
});

test("a deleted pod gets SIGTERM, then it and its files are gone", async (t) => {
  const node = await startTestNode(t);
  await node.pod("web", { containers: [{ name: "app", command: node.program("idle", IDLE) }] });
  await node.until("web", "it is ready", isReady);
  await node.logged("web", "idle");
  const log = node.logged("web", "got SIGTERM");
  await node.api.delete(RESOURCES.pod, { namespace: "default", name: "web" });
  assert.match(await log, /got SIGTERM/);
  while ((await node.get("web")) !== undefined) await new Promise((r) => setTimeout(r, 10));
});
