import assert from "node:assert/strict";
import { test } from "node:test";
import type { KubeObject } from "../../../../src/api/index.ts";
import {
  desiredSlices,
  endpointSubsets,
} from "../../../../src/embedded/core/controllers/endpoint-slices.ts";

const service = (spec: object = {}): KubeObject => ({
  apiVersion: "v1",
  kind: "Service",
  metadata: { name: "web", namespace: "default" },
  spec: {
    selector: { app: "web" },
    ports: [{ name: "http", port: 80, targetPort: 8080 }],
    ...spec,
  },
});

interface PodOptions {
  readonly ready?: boolean;
  readonly terminating?: boolean;
  readonly ip?: string | undefined;
  readonly phase?: string;
  readonly labels?: Record<string, string>;
  readonly port?: number;
}

const pod = (name: string, options: PodOptions = {}): KubeObject => ({
  apiVersion: "v1",
  kind: "Pod",
  metadata: {
    name,
    namespace: "default",
    uid: `uid-${name}`,
    labels: options.labels ?? { app: "web" },
    ...(options.terminating === true ? { deletionTimestamp: "2026-01-01T00:00:00Z" } : {}),
  },
  spec: {
    nodeName: "node",
    containers: [{ name: "c", ports: [{ name: "web", containerPort: options.port ?? 8080 }] }],
  },
  status: {
    phase: options.phase ?? "Running",
    ...("ip" in options
      ? options.ip === undefined
        ? {}
        : { podIP: options.ip }
      : { podIP: "127.16.0.2" }),
    conditions: [{ type: "Ready", status: options.ready === false ? "False" : "True" }],
  },
});

const conditionsOf = (slices: ReturnType<typeof desiredSlices>) =>
  slices?.flatMap(({ endpoints }) => endpoints.map((endpoint) => endpoint["conditions"]));

const ROWS = [
  ["a ready pod", pod("a"), [{ ready: true, serving: true, terminating: false }]],
  [
    "one that is not ready",
    pod("a", { ready: false }),
    [{ ready: false, serving: false, terminating: false }],
  ],
  [
    "one on its way out",
    pod("a", { terminating: true }),
    [{ ready: false, serving: true, terminating: true }],
  ],
  ["one without an address", pod("a", { ip: undefined }), []],
  ["one that has ended", pod("a", { phase: "Succeeded" }), []],
  ["somebody else's", pod("a", { labels: { app: "other" } }), []],
] as const;
for (const [name, object, expected] of ROWS) {
  test(`endpoints: ${name}`, () => {
    assert.deepEqual(conditionsOf(desiredSlices(service(), [object])), expected);
  });
}

test("publishNotReadyAddresses makes every pod ready", () => {
  const slices = desiredSlices(service({ publishNotReadyAddresses: true }), [
    pod("a", { ready: false }),
  ]);
  assert.deepEqual(conditionsOf(slices), [{ ready: true, serving: false, terminating: false }]);
});

test("a Service without a selector is somebody else's; one without pods has an empty slice", () => {
  assert.equal(desiredSlices(service({ selector: undefined }), [pod("a")]), undefined);
  assert.deepEqual(desiredSlices(service(), []), [{ ports: [], endpoints: [] }]);
});

test("a named target port is what each pod calls so: different numbers, different slices", () => {
  const named = service({
    ports: [{ name: "http", port: 80, targetPort: "web", appProtocol: "http" }],
  });
  const slices = desiredSlices(named, [
    pod("a", { port: 1 }),
    pod("b", { port: 2 }),
    pod("c", { port: 1 }),
  ]);
  assert.deepEqual(
    slices?.map(({ ports, endpoints }) => [ports, endpoints.length]),
    [
      [[{ name: "http", port: 1, protocol: "TCP", appProtocol: "http" }], 2],
      [[{ name: "http", port: 2, protocol: "TCP", appProtocol: "http" }], 1],
    ],
  );
});

test("a slice holds at most 100 endpoints", () => {
  const pods = Array.from({ length: 250 }, (_, i) => pod(`p${String(i).padStart(3, "0")}`));
  const slices = desiredSlices(service(), pods);
  assert.deepEqual(
    slices?.map(({ endpoints }) => endpoints.length),
    [100, 100, 50],
  );
});

test("Endpoints tell ready addresses from others and leave out those on their way out", () => {
  const slices = desiredSlices(service(), [
    pod("a", { ip: "127.16.0.1" }),
    pod("b", { ip: "127.16.0.2", ready: false }),
    pod("c", { ip: "127.16.0.3", terminating: true }),
  ]);
  const [subset] = endpointSubsets(slices ?? []);
  const ips = (field: string) =>
    ((subset?.[field] ?? []) as readonly { readonly ip: string }[]).map(({ ip }) => ip);
  assert.deepEqual([ips("addresses"), ips("notReadyAddresses")], [["127.16.0.1"], ["127.16.0.2"]]);
});
