import assert from "node:assert/strict";
import { test } from "node:test";
import { eventColumns, nodeColumns } from "../../../../src/embedded/core/api/columns/cluster.ts";
import { customColumns } from "../../../../src/embedded/core/api/columns/custom.ts";
import { podColumns } from "../../../../src/embedded/core/api/columns/pod.ts";
import {
  endpointSliceColumns,
  serviceColumns,
} from "../../../../src/embedded/core/api/columns/service.ts";
import type { JsonObject } from "../../../../src/embedded/core/api/json.ts";
import { evaluateJsonPath } from "../../../../src/embedded/core/api/json-path.ts";

const NOW_MS = Date.parse("2026-01-01T01:00:00Z");
const ago = (seconds: number): string => new Date(NOW_MS - seconds * 1000).toISOString();
const metadata = { name: "x", creationTimestamp: ago(133) };

const state = (name: string, extra: JsonObject): JsonObject => ({
  name,
  ready: false,
  restartCount: 0,
  ...extra,
});
const running = (name: string): JsonObject => state(name, { ready: true, state: { running: {} } });

// Ready, status, restarts as printPod has them.
const PODS: readonly (readonly [string, JsonObject, readonly [string, string, string]])[] = [
  ["new", {}, ["0/2", "Pending", "0"]],
  [
    "running",
    { status: { phase: "Running", containerStatuses: [running("a"), running("b")] } },
    ["2/2", "Running", "0"],
  ],
  [
    "one waits",
    {
      status: {
        phase: "Running",
        containerStatuses: [
          running("a"),
          state("b", { state: { waiting: { reason: "CrashLoopBackOff" } } }),
        ],
      },
    },
    ["1/2", "CrashLoopBackOff", "0"],
  ],
  [
    "failed with a code",
    {
      status: {
        phase: "Failed",
        containerStatuses: [state("a", { state: { terminated: { exitCode: 3 } } })],
      },
    },
    ["0/2", "ExitCode:3", "0"],
  ],
  [
    "killed",
    {
      status: {
        phase: "Failed",
        containerStatuses: [state("a", { state: { terminated: { exitCode: 137, signal: 9 } } })],
      },
    },
    ["0/2", "Signal:9", "0"],
  ],
  [
    "restarted",
    {
      status: {
        phase: "Running",
        containerStatuses: [
          { ...running("a"), restartCount: 2, lastState: { terminated: { finishedAt: ago(300) } } },
        ],
      },
    },
    ["1/2", "Running", "2 (5m ago)"],
  ],
  [
    "going",
    {
      metadata: { ...metadata, deletionTimestamp: ago(1) },
      status: { phase: "Running", containerStatuses: [running("a")] },
    },
    ["1/2", "Terminating", "0"],
  ],
  ["evicted", { status: { phase: "Failed", reason: "Evicted" } }, ["0/2", "Evicted", "0"]],
  [
    "initializing",
    {
      spec: { initContainers: [{ name: "i" }, { name: "j" }], containers: [{ name: "a" }] },
      status: {
        phase: "Pending",
        initContainerStatuses: [
          state("i", { state: { terminated: { exitCode: 0 } } }),
          state("j", { state: { running: {} } }),
        ],
      },
    },
    ["0/1", "Init:1/2", "0"],
  ],
  [
    "init fails",
    {
      spec: { initContainers: [{ name: "i" }], containers: [{ name: "a" }] },
      status: {
        phase: "Pending",
        initContainerStatuses: [state("i", { state: { waiting: { reason: "CrashLoopBackOff" } } })],
      },
    },
    ["0/1", "Init:CrashLoopBackOff", "0"],
  ],
  [
    "with a native sidecar",
    {
      spec: {
        initContainers: [{ name: "s", restartPolicy: "Always" }],
        containers: [{ name: "a" }],
      },
      status: {
        phase: "Running",
        initContainerStatuses: [{ ...running("s"), started: true }],
        containerStatuses: [running("a")],
      },
    },
    ["2/2", "Running", "0"],
  ],
];
for (const [name, pod, expected] of PODS) {
  test(`a pod that is ${name}`, () => {
    const whole = { metadata, spec: { containers: [{ name: "a" }, { name: "b" }] }, ...pod };
    const cells = podColumns.cells(whole, NOW_MS);
    assert.deepEqual(cells.slice(1, 4), expected);
    assert.equal(cells[4], "2m13s");
    assert.equal(cells.length, podColumns.definitions.length);
  });
}

test("services of each type", () => {
  const cells = (spec: JsonObject, status: JsonObject = {}): readonly unknown[] =>
    serviceColumns.cells({ metadata, spec, status }, NOW_MS).slice(1, 5);
  const ports = [
    { port: 80, protocol: "TCP", nodePort: 30_001 },
    { port: 53, protocol: "UDP" },
  ];
  assert.deepEqual(cells({ type: "NodePort", clusterIP: "10.96.0.2", ports }), [
    "NodePort",
    "10.96.0.2",
    "<none>",
    "80:30001/TCP,53/UDP",
  ]);
  assert.deepEqual(cells({ type: "LoadBalancer", clusterIP: "10.96.0.2", ports: [] }), [
    "LoadBalancer",
    "10.96.0.2",
    "<pending>",
    "<none>",
  ]);
  assert.deepEqual(cells({ type: "ExternalName", externalName: "db.example.com" }), [
    "ExternalName",
    "<none>",
    "db.example.com",
    "<none>",
  ]);
});

test("endpoint slices are shortened, nodes and events say what they are", () => {
  const endpoints = [1, 2, 3, 4, 5].map((n) => ({ addresses: [`127.16.0.${n}`] }));
  const slice = { metadata, addressType: "IPv4", ports: [{ port: 80 }], endpoints };
  assert.deepEqual(endpointSliceColumns.cells(slice, NOW_MS).slice(1, 4), [
    "IPv4",
    "80",
    "127.16.0.1,127.16.0.2,127.16.0.3 + 2 more...",
  ]);
  const node = {
    metadata: { ...metadata, labels: { "node-role.kubernetes.io/control-plane": "" } },
    spec: { unschedulable: true },
    status: {
      conditions: [{ type: "Ready", status: "True" }],
      nodeInfo: { kubeletVersion: "v1.32.0" },
    },
  };
  assert.deepEqual(nodeColumns.cells(node, NOW_MS).slice(0, 5), [
    "x",
    "Ready,SchedulingDisabled",
    "control-plane",
    "2m13s",
    "v1.32.0",
  ]);
  const event = {
    metadata,
    type: "Normal",
    reason: "Pulled",
    message: " done\n",
    lastTimestamp: ago(61),
    count: 4,
    involvedObject: { kind: "Pod", name: "p" },
    source: { component: "kubelet", host: "n" },
  };
  assert.deepEqual(eventColumns.cells(event, NOW_MS), [
    "61s",
    "Normal",
    "Pulled",
    "pod/p",
    "",
    "kubelet, n",
    "done",
    "<unknown>",
    4,
    "x",
  ]);
});

test("printer columns follow their JSON path and type", () => {
  const object = {
    metadata: { ...metadata, labels: { "a.b/c": "label" } },
    spec: { n: 3, list: [{ v: 1 }, { v: 2 }] },
    status: {
      conditions: [
        { type: "Ready", status: "True" },
        { type: "Other", status: "False" },
      ],
    },
  };
  const rows: readonly (readonly [string, string, unknown])[] = [
    ["integer", ".spec.n", 3],
    ["integer", ".metadata.name", null],
    ["string", ".spec.list[*].v", "1,2"],
    ["string", ".spec.list[1].v", "2"],
    ["string", '.status.conditions[?(@.type=="Ready")].status', "True"],
    ["string", ".metadata.labels.a\\.b/c", "label"],
    ["string", "{.metadata.labels['a\\.b/c']}", "label"],
    ["string", ".spec.list[0]", '{"v":1}'],
    ["date", ".metadata.creationTimestamp", "2m13s"],
    ["string", ".nothing.here", null],
    ["boolean", ".spec.n", null],
    ["string", ".spec[", null],
  ];
  for (const [type, jsonPath, expected] of rows) {
    const [, cell] = customColumns([{ name: "C", type, jsonPath }]).cells(object, NOW_MS);
    assert.equal(cell, expected, jsonPath);
  }
  assert.deepEqual(evaluateJsonPath(".", object), [object]);
});
