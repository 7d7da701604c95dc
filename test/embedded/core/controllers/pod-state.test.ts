import assert from "node:assert/strict";
import { test } from "node:test";
import type { KubeObject } from "../../../../src/api/index.ts";
import {
  availableInMs,
  compareForDeletion,
  isActive,
} from "../../../../src/embedded/core/controllers/pod-state.ts";

const READY_SINCE = "2026-01-01T00:00:00Z";

function pod(
  name: string,
  more: { spec?: object; status?: object; metadata?: object } = {},
): KubeObject {
  return {
    apiVersion: "v1",
    kind: "Pod",
    metadata: { name, creationTimestamp: READY_SINCE, ...more.metadata },
    spec: { nodeName: "node", ...more.spec },
    status: {
      phase: "Running",
      conditions: [{ type: "Ready", status: "True", lastTransitionTime: READY_SINCE }],
      ...more.status,
    },
  };
}

/** Who of two goes first: the one on the left. */
const ORDER = [
  ["not bound before bound", pod("a", { spec: { nodeName: undefined } }), pod("b")],
  ["pending before running", pod("a", { status: { phase: "Pending" } }), pod("b")],
  ["not ready before ready", pod("a", { status: { conditions: [] } }), pod("b")],
  [
    "a lower deletion cost",
    pod("a", { metadata: { annotations: { "controller.kubernetes.io/pod-deletion-cost": "-5" } } }),
    pod("b"),
  ],
  [
    "a shorter time ready",
    pod("a", {
      status: {
        conditions: [{ type: "Ready", status: "True", lastTransitionTime: "2026-01-02T00:00:00Z" }],
      },
    }),
    pod("b"),
  ],
  ["more restarts", pod("a", { status: { containerStatuses: [{ restartCount: 3 }] } }), pod("b")],
  ["younger", pod("a", { metadata: { creationTimestamp: "2026-01-03T00:00:00Z" } }), pod("b")],
] as const;
for (const [name, first, second] of ORDER) {
  test(`surplus pods: ${name}`, () => {
    assert.ok(compareForDeletion(first, second) < 0);
    assert.ok(compareForDeletion(second, first) > 0);
  });
}

test("a pod is available minReadySeconds after it became ready", () => {
  const sinceMs = Date.parse(READY_SINCE);
  assert.equal(availableInMs(pod("a"), 10, sinceMs + 4000), 6000);
  assert.equal(availableInMs(pod("a"), 10, sinceMs + 11_000), 0);
  assert.equal(availableInMs(pod("a", { status: { conditions: [] } }), 0, sinceMs), undefined);
});

test("what has ended or is going is not active", () => {
  assert.ok(isActive(pod("a")));
  assert.ok(!isActive(pod("a", { status: { phase: "Failed" } })));
  assert.ok(!isActive(pod("a", { metadata: { deletionTimestamp: READY_SINCE } })));
});
