import assert from "node:assert/strict";
import { test } from "node:test";
import { decide, GUARDS } from "../../../src/controller/core/decide.ts";
import { nextWeight } from "../../../src/controller/core/ladder.ts";
import type { Observation } from "../../../src/controller/core/observation.ts";
import { parseCanarySpec } from "../../../src/controller/core/spec.ts";
import {
  encodeStatus,
  parseStatus,
  type RolloutState,
} from "../../../src/controller/core/state.ts";
import { trafficSplit } from "../../../src/controller/core/traffic-split.ts";
import { canary, deployment } from "../world.ts";

const NOW = 1_700_000_000_000;
const progressing: RolloutState = {
  kind: "Progressing",
  tracking: { applied: "5d8b7c9f", promoted: "5d8b7c9f", configs: {} },
  ...{ weight: 10, failedChecks: 0, isMirrored: false, step: { routedAtMs: NOW } },
};

function observation(
  analysis: object,
  extra: object,
  more: Partial<Observation> = {},
): Observation {
  const object = canary({ stepWeight: 10, ...analysis }, { ...extra });
  return {
    ...{ canary: object, spec: parseCanarySpec(object), state: progressing },
    ...{ target: deployment("cart:v2"), targetHash: "v2:new", primary: undefined, configs: [] },
    services: { apex: undefined, primary: undefined, canary: undefined },
    destinationRules: { primary: undefined, canary: undefined },
    ...{ virtualService: undefined, awaitProxyAcks: true },
    ...more,
  };
}

// Each row removes the reason of the row before: every guard must be heard before all later ones.
const ORDER: readonly (readonly [string, Observation])[] = [
  [
    "terminates",
    observation(
      { iterations: 5 },
      { suspend: true, revertOnDeletion: true },
      {
        ...{ state: { kind: "New" }, target: undefined },
        canary: { ...canary({}), metadata: { name: "cart", deletionTimestamp: "now" } },
      },
    ),
  ],
  [
    "isNew",
    observation(
      { iterations: 5 },
      { suspend: true, revertOnDeletion: true },
      { state: { kind: "New" }, target: undefined },
    ),
  ],
  [
    "keepsFinalizer",
    observation(
      { iterations: 5 },
      { suspend: true, revertOnDeletion: true },
      { target: undefined },
    ),
  ],
  ["isSuspended", observation({ iterations: 5 }, { suspend: true }, { target: undefined })],
  ["asksForMore", observation({ iterations: 5 }, {}, { target: undefined })],
  ["hasNoTarget", observation({}, {}, { target: undefined })],
  ["adoptsForeignHash", observation({}, {})],
  [
    "restartOnNewRevision",
    observation(
      {},
      {},
      { state: { ...progressing, tracking: { ...progressing.tracking, applied: "v2:old" } } },
    ),
  ],
  [
    "repairsInfrastructure",
    observation(
      {},
      {},
      { state: { ...progressing, tracking: { ...progressing.tracking, applied: "v2:new" } } },
    ),
  ],
];

test("the guards are asked in their order, and the first that speaks wins", () => {
  assert.deepEqual(
    GUARDS.map((guard) => guard.name),
    ORDER.map(([name]) => name),
  );
  for (const [name, seen] of ORDER) {
    const input = { observation: seen, verdicts: [], nowMs: NOW };
    const first = GUARDS.find((guard) => guard(input) !== undefined);
    assert.equal(first?.name, name);
    assert.deepEqual(decide(input), first?.(input));
  }
});

for (const [name, analysis, expected] of [
  ["stepWeights as listed", { stepWeights: [10, 50, 100] }, [10, 50, 100]],
  ["stepWeight overshoots maxWeight", { stepWeight: 20, maxWeight: 50 }, [20, 40, 60]],
  ["never beyond 100", { stepWeight: 40 }, [40, 80, 100]],
  ["nothing given: one step to 100", {}, [100]],
] as const) {
  test(`ladder: ${name}`, () => {
    const spec = parseCanarySpec(canary(analysis));
    const found: number[] = [];
    for (let next = nextWeight(spec, 0); next !== undefined; next = nextWeight(spec, next))
      found.push(next);
    assert.deepEqual(found, expected);
  });
}

test("a split sums to 100 and refuses what is not a whole percentage", () => {
  for (let percent = 0; percent <= 100; percent += 1) {
    const { primary, canary: share } = trafficSplit(percent);
    assert.equal(primary + share, 100);
  }
  for (const bad of [-1, 101, 0.5, Number.NaN]) assert.throws(() => trafficSplit(bad), RangeError);
});

const tracking = { applied: "v2:a", promoted: "v2:b", configs: { "configmap/x": "00" } };
for (const state of [
  { kind: "Initializing" },
  { kind: "Initialized", tracking },
  {
    ...progressing,
    failedChecks: 1,
    step: {
      routedAtMs: NOW,
      startedAtMs: NOW + 5,
      checkedAtMs: undefined,
      unavailableSinceMs: NOW + 9,
    },
  },
  { kind: "Promoting", tracking, weight: 60, sinceMs: NOW },
  { kind: "Succeeded", tracking },
  { kind: "Failed", tracking, weight: 0, sinceMs: NOW, isScaledDown: false },
] as const satisfies readonly RolloutState[]) {
  test(`status of ${state.kind} is read back as it was written`, () => {
    const status: unknown = JSON.parse(JSON.stringify(encodeStatus(state, "m", undefined, NOW)));
    assert.deepEqual(parseStatus({ ...canary({}), status }, NOW + 1), state);
  });
}

for (const [status, error] of [
  [
    { phase: "Succeeded", canaryWeight: 50 },
    /shop\/cart: status\.canaryWeight: must be 0 in phase Succeeded \(found 50\)/,
  ],
  [{ phase: "Dancing" }, /status\.phase: "Dancing" is not one of/],
  [{ phase: "Progressing", canaryWeight: 101 }, /status\.canaryWeight/],
] as const) {
  test(`an impossible status is an error: ${JSON.stringify(status)}`, () => {
    assert.throws(() => parseStatus({ ...canary({}), status }, NOW), error);
  });
}
