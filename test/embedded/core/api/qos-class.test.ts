import assert from "node:assert/strict";
import { test } from "node:test";
import { qosClassOf } from "../../../../src/embedded/core/api/qos-class.ts";

const both = (cpu: string, memory: string): object => ({ cpu, memory });
const ROWS: readonly (readonly [string, readonly object[]])[] = [
  ["BestEffort", [{}, {}]],
  ["Burstable", [{ requests: { cpu: "1" } }]],
  ["Burstable", [{ limits: both("1", "1Gi") }, {}]],
  ["Burstable", [{ limits: both("1", "1Gi"), requests: { cpu: "500m" } }]],
  ["Guaranteed", [{ limits: both("1", "1Gi") }]],
  ["Guaranteed", [{ limits: both("1", "1Gi"), requests: both("1", "1Gi") }]],
];
for (const [expected, containers] of ROWS) {
  test(`${JSON.stringify(containers)} is ${expected}`, () => {
    const pod = { spec: { containers: containers.map((resources) => ({ resources })) } };
    assert.equal(qosClassOf(pod), expected);
  });
}
