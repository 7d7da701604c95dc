import assert from "node:assert/strict";
import { test } from "node:test";
import { at } from "../api-server/test-server.ts";
import { temporaryDir } from "./temporary-dir.ts";
import { IDLE, isReady, startTestNode, statusOf } from "./test-node.ts";

test("a pod of restartPolicy Never runs again after the cluster was stopped; a finished one does not", async (t) => {
  const dir = temporaryDir();
  const first = await startTestNode(t, { dir });
  const restartPolicy = "Never";
  const idle = first.program("idle", IDLE);
  const done = first.program("done", `console.log("done");`);
  await first.pod("job", { restartPolicy, containers: [{ name: "app", command: idle }] });
  await first.pod("done", { restartPolicy, containers: [{ name: "app", command: done }] });
  await first.until("job", "it is ready", isReady);
  await first.until("done", "it succeeded", (p) => at(p, "status", "phase") === "Succeeded");
  await first.stop();

  const second = await startTestNode(t, { dir });
  const job = await second.until(
    "job",
    "it runs again",
    (p) => statusOf(p)["restartCount"] === 1 && isReady(p),
  );
  assert.equal(at(job, "status", "phase"), "Running");
  assert.equal(at(statusOf(job), "lastState", "terminated", "reason"), "ContainerStatusUnknown");
  const finished = await second.get("done");
  assert.equal(at(finished, "status", "phase"), "Succeeded");
  assert.equal(statusOf(finished)["restartCount"], 0);
  assert.equal(await second.logged("done", "done"), "done\n", "its log is still there");
});

test("a pod that asks for another node is left alone, one that no node fits waits", async (t) => {
  const node = await startTestNode(t);
  const containers = [{ name: "app", command: node.program("idle", IDLE) }];
  await node.pod("elsewhere", { nodeName: "another", containers });
  await node.pod("picky", { nodeSelector: { disk: "ssd" }, containers });
  await node.pod("here", { nodeSelector: { "kubernetes.io/os": "linux" }, containers });
  await node.until("here", "it is ready", isReady);
  assert.equal(at(await node.get("elsewhere"), "status", "podIP"), undefined);
  const picky = await node.until("picky", "it is refused", (pod) =>
    JSON.stringify(pod["status"] ?? {}).includes("Unschedulable"),
  );
  assert.equal(at(picky, "spec", "nodeName"), undefined);
});
