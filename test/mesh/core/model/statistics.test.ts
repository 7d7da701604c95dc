import assert from "node:assert/strict";
import { test } from "node:test";
import type { MeshObjects } from "../../../../src/mesh/core/mesh-objects.ts";
import { buildModel } from "../../../../src/mesh/core/model.ts";
import { type ModelStatistics, statisticsOf } from "../../../../src/mesh/core/model-statistics.ts";
import { mesh, pod, service, virtualService } from "../support/objects.ts";

const OPTIONS = { trustDomain: "cluster.local", rootNamespace: "istio-system" };
const ready = { name: "a-1-a", ip: "10.0.0.1" };
const ill = { name: "a-1-b", ip: "10.0.0.2", isReady: false };
const http = [{ port: 80, name: "http" }];
const tcp = [{ port: 80, name: "tcp" }];
const routed = (name: string, host: string) =>
  virtualService({ name }, { hosts: [host], http: [{ route: [{ destination: { host } }] }] });

const CASES: readonly (readonly [
  string,
  readonly Partial<MeshObjects>[],
  Partial<ModelStatistics>,
])[] = [
  ["an empty mesh", [], { services: 0, withoutInstances: 0 }],
  [
    "services with and without somebody behind them",
    [
      service({ name: "a", clusterIp: "10.1.0.1", ports: http, pods: [ready, ill] }),
      service({ name: "b", clusterIp: "10.1.0.2", ports: http, pods: [] }),
    ],
    { services: 2, withoutInstances: 1, endpointsNotReady: 1, inboundConflicts: 0 },
  ],
  ["a pod without an address", [{ pods: [pod({ name: "p", ip: "" })] }], { withoutAddress: 1 }],
  [
    "one port of a pod that two services call by other protocols",
    [
      service({ name: "a", clusterIp: "10.1.0.1", ports: http, pods: [ready] }),
      { ...service({ name: "b", clusterIp: "10.1.0.2", ports: tcp, pods: [ready] }), pods: [] },
    ],
    { inboundConflicts: 1, outboundTcpConflicts: 0 },
  ],
  [
    "TCP services without an address on one port, and HTTP beside them",
    [
      service({ name: "a", ports: tcp, pods: [] }),
      service({ name: "b", ports: tcp, pods: [] }),
      service({ name: "c", ports: http, pods: [] }),
    ],
    { outboundTcpConflicts: 1, outboundHttpConflicts: 1 },
  ],
  [
    "two VirtualServices for one host, and one that is broken",
    [
      service({ name: "a", clusterIp: "10.1.0.1", ports: http, pods: [] }),
      {
        virtualServices: [
          routed("one", "a"),
          routed("two", "a"),
          virtualService({ name: "bad" }, { hosts: 7 }),
        ],
      },
    ],
    { virtualServices: 2, duplicateDomains: 1, rejectedConfigs: 2 },
  ],
];
for (const [what, parts, expected] of CASES) {
  test(`counts ${what}`, () => {
    const found = statisticsOf(buildModel(mesh(...parts), OPTIONS));
    for (const [key, value] of Object.entries(expected)) {
      assert.equal(found[key as keyof ModelStatistics], value, key);
    }
  });
}
