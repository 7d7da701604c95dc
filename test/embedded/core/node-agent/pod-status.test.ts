import assert from "node:assert/strict";
import { test } from "node:test";
import { initialStatuses } from "../../../../src/embedded/core/node-agent/initial-status.ts";
import { parsePod } from "../../../../src/embedded/core/node-agent/pod.ts";
import {
  type ContainerState,
  type ContainerStatus,
  podStatus,
} from "../../../../src/embedded/core/node-agent/pod-status.ts";

const NOW = "2026-01-02T03:04:05Z";
const EARLIER = "2026-01-01T00:00:00Z";

const running: ContainerState = { running: { startedAt: NOW } };
const waiting: ContainerState = { waiting: { reason: "ContainerCreating" } };
const ended = (exitCode: number) => ({
  exitCode,
  reason: exitCode === 0 ? "Completed" : "Error",
  startedAt: NOW,
  finishedAt: NOW,
  containerID: "serin://x",
});

interface Draft {
  readonly state: ContainerState;
  readonly ready?: boolean;
  readonly started?: boolean;
  readonly last?: number;
}

function status(name: string, { state, ready, started, last }: Draft): ContainerStatus {
  return {
    name,
    image: "x",
    imageID: "x",
    state,
    lastState: last === undefined ? {} : { terminated: ended(last) },
    ready: ready ?? false,
    started: started ?? "running" in state,
    restartCount: 0,
  };
}

function pod(restartPolicy: string, init: readonly object[], names: readonly string[], extra = {}) {
  return parsePod({
    apiVersion: "v1",
    kind: "Pod",
    metadata: { name: "p", namespace: "default", uid: "u" },
    spec: {
      restartPolicy,
      initContainers: init,
      containers: names.map((name) => ({ name, image: "x" })),
      ...extra,
    },
  });
}

interface Row {
  readonly what: string;
  readonly policy?: string;
  readonly init?: readonly object[];
  readonly states: Readonly<Record<string, Draft>>;
  readonly phase: string;
  readonly ready: boolean;
}

const INIT = { name: "init", image: "x" };
const SIDECAR = { name: "init", image: "x", restartPolicy: "Always" };

const ROWS: readonly Row[] = [
  { what: "nothing started", states: { a: { state: waiting } }, phase: "Pending", ready: false },
  { what: "running, not ready", states: { a: { state: running } }, phase: "Running", ready: false },
  {
    what: "all ready",
    states: { a: { state: running, ready: true }, b: { state: running, ready: true } },
    phase: "Running",
    ready: true,
  },
  {
    what: "one of two still creating",
    states: { a: { state: running, ready: true }, b: { state: waiting } },
    phase: "Pending",
    ready: false,
  },
  {
    what: "crash loop",
    states: { a: { state: { waiting: { reason: "CrashLoopBackOff" } }, last: 1 } },
    phase: "Running",
    ready: false,
  },
  {
    what: "ended well, never restarted",
    policy: "Never",
    states: { a: { state: { terminated: ended(0) } } },
    phase: "Succeeded",
    ready: false,
  },
  {
    what: "one of two ended badly, never restarted",
    policy: "Never",
    states: { a: { state: { terminated: ended(0) } }, b: { state: { terminated: ended(1) } } },
    phase: "Failed",
    ready: false,
  },
  {
    what: "ended badly, to be restarted",
    policy: "OnFailure",
    states: { a: { state: { terminated: ended(1) } } },
    phase: "Running",
    ready: false,
  },
  {
    what: "initializing",
    init: [INIT],
    states: { init: { state: running }, a: { state: waiting } },
    phase: "Pending",
    ready: false,
  },
  {
    what: "initialization failed for good",
    policy: "Never",
    init: [INIT],
    states: { init: { state: { terminated: ended(1) } }, a: { state: waiting } },
    phase: "Failed",
    ready: false,
  },
  {
    what: "a native sidecar restarts",
    init: [SIDECAR],
    states: {
      init: { state: { waiting: { reason: "CrashLoopBackOff" } }, last: 1 },
      a: { state: running, ready: true },
    },
    phase: "Running",
    ready: false,
  },
  {
    what: "an unready native sidecar keeps the pod unready",
    init: [SIDECAR],
    states: { init: { state: running }, a: { state: running, ready: true } },
    phase: "Running",
    ready: false,
  },
];

for (const { what, policy = "Always", init = [], states, phase, ready } of ROWS) {
  test(`${what}: ${phase}, ${ready ? "" : "not "}ready`, () => {
    const names = Object.keys(states).filter((name) => name !== "init");
    const found = podStatus({
      pod: pod(policy, init, names),
      statuses: new Map(Object.entries(states).map(([name, d]) => [name, status(name, d)])),
      podIp: "127.16.0.2",
      hostIp: "127.0.0.1",
      startTime: NOW,
      previous: undefined,
      now: NOW,
    });
    assert.equal(found["phase"], phase);
    const conditions = found["conditions"] as readonly Readonly<Record<string, string>>[];
    assert.equal(
      conditions.find((c) => c["type"] === "Ready")?.["status"],
      ready ? "True" : "False",
    );
  });
}

test("a condition keeps its transition time while its status stays", () => {
  const previous = {
    conditions: [
      { type: "Ready", status: "True", lastTransitionTime: EARLIER },
      { type: "ContainersReady", status: "False", lastTransitionTime: EARLIER },
      { type: "example.com/gate", status: "True" },
    ],
  };
  const gated = { readinessGates: [{ conditionType: "example.com/gate" }] };
  const input = {
    pod: pod("Always", [], ["a"], gated),
    statuses: new Map([["a", status("a", { state: running, ready: true })]]),
    podIp: "127.16.0.2",
    hostIp: "127.0.0.1",
    startTime: NOW,
    now: NOW,
  };
  const times = (found: Readonly<Record<string, unknown>>) =>
    (found["conditions"] as readonly Readonly<Record<string, string>>[]).map((c) => [
      c["type"],
      c["status"],
      c["lastTransitionTime"],
    ]);
  const found = times(podStatus({ ...input, previous }));
  assert.deepEqual(
    found.find(([type]) => type === "Ready"),
    ["Ready", "True", EARLIER],
  );
  assert.deepEqual(
    found.find(([type]) => type === "ContainersReady"),
    ["ContainersReady", "True", NOW],
  );
  const ungated = times(podStatus({ ...input, previous: undefined }));
  assert.deepEqual(
    ungated.find(([type]) => type === "Ready"),
    ["Ready", "False", NOW],
  );
});

test("after the cluster was killed, counts go on and what had ended for good stays ended", () => {
  const before = parsePod({
    apiVersion: "v1",
    kind: "Pod",
    metadata: { name: "p", namespace: "default", uid: "u" },
    spec: {
      restartPolicy: "OnFailure",
      containers: ["ran", "done", "failed", "new"].map((name) => ({ name, image: "x" })),
    },
    status: {
      containerStatuses: [
        { name: "ran", restartCount: 2, containerID: "serin://1", state: running },
        { name: "done", restartCount: 1, state: { terminated: ended(0) } },
        { name: "failed", restartCount: 0, state: { terminated: ended(3) } },
      ],
    },
  });
  const statuses = initialStatuses(before, NOW);
  assert.equal(statuses.get("ran")?.restartCount, 3);
  assert.equal(statuses.get("ran")?.lastState.terminated?.reason, "ContainerStatusUnknown");
  assert.deepEqual(statuses.get("done")?.state, { terminated: ended(0) });
  assert.equal(statuses.get("done")?.restartCount, 1);
  assert.equal(statuses.get("failed")?.restartCount, 1);
  assert.equal(statuses.get("failed")?.lastState.terminated?.exitCode, 3);
  assert.equal(statuses.get("new")?.restartCount, 0);
  assert.deepEqual(statuses.get("new")?.lastState, {});
});
