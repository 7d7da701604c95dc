import assert from "node:assert/strict";
import { test } from "node:test";
import {
  type DeploymentCounts,
  type DeploymentStatusInput,
  deploymentStatus,
} from "../../../../src/embedded/core/controllers/deployment-status.ts";

const NOW = "2026-01-01T00:10:00Z";
const counts = (more: Partial<DeploymentCounts> = {}): DeploymentCounts => ({
  ...{ desired: 3, planned: 3, replicas: 3, updated: 3, ready: 3, available: 3, maxUnavailable: 0 },
  ...more,
});
const input = (more: Partial<DeploymentStatusInput> = {}): DeploymentStatusInput => ({
  generation: 2,
  old: {},
  counts: counts(),
  newName: "web-1",
  note: undefined,
  progressDeadlineSeconds: 600,
  isPaused: false,
  collisionCount: 0,
  nowMs: Date.parse(NOW),
  now: NOW,
  ...more,
});
const progressing = (reason: string, lastUpdateTime = NOW, status = "True") => ({
  conditions: [
    {
      type: "Progressing",
      status,
      reason,
      message: "m",
      lastUpdateTime,
      lastTransitionTime: lastUpdateTime,
    },
  ],
});
const conditionOf = (status: ReturnType<typeof deploymentStatus>, type: string) =>
  (status["conditions"] as readonly Record<string, string>[]).find((each) => each["type"] === type);

const ROWS: readonly (readonly [string, Partial<DeploymentStatusInput>, string, string])[] = [
  ["all new pods available", {}, "True", "NewReplicaSetAvailable"],
  [
    "a new ReplicaSet",
    {
      counts: counts({ updated: 0, available: 3 }),
      note: { reason: "NewReplicaSetCreated", message: "m" },
    },
    "True",
    "NewReplicaSetCreated",
  ],
  [
    "more updated pods than before",
    {
      counts: counts({ updated: 1 }),
      old: { ...progressing("ReplicaSetUpdated"), updatedReplicas: 0 },
    },
    "True",
    "ReplicaSetUpdated",
  ],
  [
    "nothing moved since the deadline",
    {
      counts: counts({ updated: 1, replicas: 3 }),
      old: {
        ...progressing("ReplicaSetUpdated", "2026-01-01T00:00:00Z"),
        ...{ replicas: 3, updatedReplicas: 1, readyReplicas: 3, availableReplicas: 3 },
      },
    },
    "False",
    "ProgressDeadlineExceeded",
  ],
  [
    "an undo to a ReplicaSet that was there, long after the last rollout",
    {
      counts: counts({ updated: 0 }),
      old: {
        ...progressing("NewReplicaSetAvailable", "2026-01-01T00:00:00Z"),
        ...{ replicas: 3, updatedReplicas: 3, readyReplicas: 3, availableReplicas: 3 },
      },
      progressDeadlineSeconds: 60,
    },
    "True",
    "ReplicaSetUpdated",
  ],
  ["paused", { isPaused: true }, "Unknown", "DeploymentPaused"],
  [
    "resumed",
    { old: progressing("DeploymentPaused", NOW, "Unknown") },
    "Unknown",
    "DeploymentResumed",
  ],
];
for (const [name, more, status, reason] of ROWS) {
  test(`Progressing: ${name}`, () => {
    const condition = conditionOf(deploymentStatus(input(more)), "Progressing");
    assert.deepEqual([condition?.["status"], condition?.["reason"]], [status, reason]);
  });
}

test("Available follows the minimum, and keeps its time while it does not change", () => {
  const first = deploymentStatus(input());
  assert.equal(conditionOf(first, "Available")?.["status"], "True");
  const later = { nowMs: Date.parse(NOW) + 60_000, now: "2026-01-01T00:11:00Z" };
  const second = deploymentStatus(input({ old: first, ...later }));
  assert.deepEqual(second, first, "nothing changed, nothing to write");
  const third = deploymentStatus(input({ old: first, counts: counts({ available: 2 }), ...later }));
  const condition = conditionOf(third, "Available");
  assert.deepEqual(
    [condition?.["status"], condition?.["lastTransitionTime"]],
    ["False", "2026-01-01T00:11:00Z"],
  );
  assert.equal(third["unavailableReplicas"], 1);
});
