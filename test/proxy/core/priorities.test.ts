import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import {
  effectiveLocalityWeight,
  type HostHealth,
  type PlacedHost,
} from "../../../src/proxy/core/balance/host-sets.ts";
import {
  PriorityBalancer,
  type PriorityBalancerOptions,
} from "../../../src/proxy/core/balance/priority-balancer.ts";
import {
  choosePriority,
  type PriorityHealth,
  planPriorities,
} from "../../../src/proxy/core/balance/priority-load.ts";
import { hostHealth } from "../../../src/proxy/core/host-health.ts";

const SETTINGS = { overprovisioningFactor: 140, panicThresholdPercent: 50 };

/** A priority of a hundred hosts. */
const of = (healthy: number, degraded = 0): PriorityHealth => ({ hosts: 100, healthy, degraded });

// Envoy docs, "Priority levels": two and three levels, and "Panic threshold"; where its tables round,
// the numbers are those of its algorithm.
const PLANS: readonly (readonly [
  name: string,
  priorities: readonly PriorityHealth[],
  healthy: readonly number[],
  degraded: readonly number[],
  isPanic: readonly boolean[],
])[] = [
  ["all well", [of(100), of(100)], [100, 0], [0, 0], [false, false]],
  ["72 % are enough", [of(72), of(100)], [100, 0], [0, 0], [false, false]],
  ["71 % are not", [of(71), of(100)], [99, 1], [0, 0], [false, false]],
  ["half", [of(50), of(100)], [70, 30], [0, 0], [false, false]],
  ["a quarter", [of(25), of(100)], [35, 65], [0, 0], [false, false]],
  ["none", [of(0), of(100)], [0, 100], [0, 0], [false, false]],
  ["three levels", [of(25), of(25), of(100)], [35, 35, 30], [0, 0, 0], [false, false, false]],
  [
    "three levels, all in a panic: by hosts",
    [of(25), of(25), of(20)],
    [34, 33, 33],
    [0, 0, 0],
    [true, true, true],
  ],
  ["scaled, degraded too", [of(5), of(0, 60)], [8, 0], [0, 92], [true, false]],
  ["one below the threshold", [of(5), of(65)], [8, 92], [0, 0], [true, false]],
  ["degraded take what is left", [of(25, 75)], [35], [65], [false]],
  ["degraded of a lower priority", [of(25), of(0, 100)], [35, 0], [0, 65], [false, false]],
  [
    "healthy of a lower priority before degraded",
    [of(0, 100), of(100)],
    [0, 100],
    [0, 0],
    [false, false],
  ],
  ["only degraded", [of(0, 10), of(0, 80)], [0, 0], [14, 86], [false, false]],
  ["nobody left", [of(0), of(0)], [50, 50], [0, 0], [true, true]],
  [
    "an empty first priority",
    [{ hosts: 0, healthy: 0, degraded: 0 }, of(100)],
    [0, 100],
    [0, 0],
    [false, false],
  ],
];
for (const [name, priorities, healthy, degraded, isPanic] of PLANS) {
  test(`priority load: ${name}`, () => {
    const plan = planPriorities(priorities, SETTINGS);
    assert.deepEqual(plan.load, { healthy, degraded });
    assert.deepEqual(plan.isPanic, isPanic);
  });
}

test("without a panic threshold all load falls on the first priority when nobody is left", () => {
  const plan = planPriorities([of(0), of(0)], { ...SETTINGS, panicThresholdPercent: 0 });
  assert.deepEqual(
    [plan.load, plan.isPanic],
    [{ healthy: [100, 0], degraded: [0, 0] }, [false, false]],
  );
});

const priorityArbitrary = fc
  .record({ healthy: fc.nat(20), degraded: fc.nat(20), unhealthy: fc.nat(20) })
  .map(({ healthy, degraded, unhealthy }) => ({
    hosts: healthy + degraded + unhealthy,
    healthy,
    degraded,
  }));
const prioritiesArbitrary = fc.array(priorityArbitrary, { minLength: 1, maxLength: 5 });

test("the shares of all priorities are 100 % together, and every point finds its priority", () => {
  fc.assert(
    fc.property(
      prioritiesArbitrary,
      fc.nat(100),
      fc.integer({ min: 100, max: 400 }),
      (all, panic, factor) => {
        const { load } = planPriorities(all, {
          overprovisioningFactor: factor,
          panicThresholdPercent: panic,
        });
        const counts = { healthy: all.map(() => 0), degraded: all.map(() => 0) };
        for (let point = 0; point < 100; point += 1) {
          const { priority, isDegraded } = choosePriority(load, point);
          const into = isDegraded ? counts.degraded : counts.healthy;
          into[priority] = (into[priority] ?? 0) + 1;
        }
        assert.deepEqual(counts, load);
      },
    ),
  );
});

test("a priority keeps everything while it can, whatever the others are like", () => {
  fc.assert(
    fc.property(prioritiesArbitrary, (others) => {
      const { load } = planPriorities([of(72), ...others], SETTINGS);
      assert.equal(load.healthy[0], 100);
    }),
  );
});

test("a locality's weight shrinks only when its hosts cannot make up for the lost ones", () => {
  assert.equal(effectiveLocalityWeight(10, 10, 10, 140), 10);
  assert.equal(effectiveLocalityWeight(10, 8, 10, 140), 10);
  assert.ok(Math.abs(effectiveLocalityWeight(10, 5, 10, 140) - 7) < 1e-9);
  assert.equal(effectiveLocalityWeight(10, 0, 10, 140), 0);
  assert.equal(effectiveLocalityWeight(10, 0, 0, 140), 0);
});

interface Spot {
  readonly health?: HostHealth;
  readonly priority?: number;
  readonly locality?: string;
  readonly weight?: number;
}

/** Hosts named by their index. */
function balancerOf(
  spots: readonly Spot[],
  options: Partial<PriorityBalancerOptions<number>> = {},
): PriorityBalancer<number> {
  const hosts = spots.map(
    (
      { health = "healthy", priority = 0, locality = "", weight = 1 },
      host,
    ): PlacedHost<number> => ({
      host,
      health,
      priority,
      locality,
      localityWeight: weight,
    }),
  );
  let turn = 0;
  return new PriorityBalancer<number>({
    hosts,
    ...SETTINGS,
    isLocalityWeighted: false,
    isHashed: false,
    hostWeight: () => 1,
    random: () => (turn++ % 100) / 100,
    createPicker: (members) => {
      let next = 0;
      return () => members[next++ % members.length];
    },
    ...options,
  });
}

/** Shares of the hosts in percent of 1,000 requests. */
function shares(balancer: PriorityBalancer<number>, hosts: number): number[] {
  const counts = Array.from({ length: hosts }, () => 0);
  for (let i = 0; i < 1000; i += 1) {
    const host = balancer.pick(undefined, 0);
    if (host !== undefined) counts[host] = (counts[host] ?? 0) + 1;
  }
  return counts.map((count) => Math.round(count / 10));
}

const ill = { health: "unhealthy" } as const;
const DISTRIBUTIONS: readonly (readonly [string, readonly Spot[], boolean, readonly number[]])[] = [
  ["healthy ones only", [{}, {}, {}, ill], false, [33, 33, 33, 0]],
  ["the rest to the next priority", [{}, ill, { priority: 1 }], false, [70, 0, 30]],
  ["all of a priority in a panic", [{}, ill, ill], false, [33, 33, 33]],
  ["degraded when healthy do not suffice", [{}, { health: "degraded" }], false, [70, 30]],
  [
    "localities by weight, hosts within evenly",
    [
      { locality: "a", weight: 1 },
      { locality: "b", weight: 3 },
      { locality: "b", weight: 3 },
    ],
    true,
    [25, 38, 37],
  ],
  [
    "a locality with half its hosts keeps 70 % of its weight",
    [
      { locality: "a", weight: 1 },
      { locality: "b", weight: 1 },
      { locality: "b", weight: 1, ...ill },
    ],
    true,
    [59, 41, 0],
  ],
  [
    "a locality without a weight takes nothing",
    [
      { locality: "a", weight: 0 },
      { locality: "b", weight: 1 },
    ],
    true,
    [0, 100],
  ],
  [
    "no weight at all: as if localities were not weighted",
    [
      { locality: "a", weight: 0 },
      { locality: "b", weight: 0 },
    ],
    true,
    [50, 50],
  ],
  [
    "localities do not count in a panic",
    [
      { locality: "a", weight: 9, ...ill },
      { locality: "b", weight: 1, ...ill },
    ],
    true,
    [50, 50],
  ],
];
for (const [name, spots, isLocalityWeighted, expected] of DISTRIBUTIONS) {
  test(`hosts: ${name}`, () => {
    const actual = shares(balancerOf(spots, { isLocalityWeighted }), spots.length);
    for (const [i, percent] of expected.entries()) {
      assert.ok(Math.abs((actual[i] ?? 0) - percent) <= 1, `${actual}`);
    }
  });
}

test("hashed requests meet no degraded hosts, and localities weigh the hosts of one ring", () => {
  const seen: unknown[] = [];
  const spots: Spot[] = [
    { locality: "a", weight: 1 },
    { locality: "b", weight: 3 },
    { locality: "b", weight: 3 },
    { locality: "c", weight: 0 },
    { locality: "b", weight: 3, health: "degraded" },
  ];
  const balancer = balancerOf(spots, {
    isHashed: true,
    isLocalityWeighted: true,
    createPicker: (hosts, weights) => {
      seen.push([hosts, weights]);
      return () => hosts[0];
    },
  });
  assert.equal(balancer.pick(99n, 0), 0);
  assert.deepEqual(seen, [
    [
      [0, 1, 2],
      [0.25, 0.375, 0.375],
    ],
  ]);
});

test("equal hashes choose equal priorities", () => {
  const balancer = balancerOf([{}, ill, { priority: 1 }], {
    isHashed: true,
    createPicker: (hosts) => () => hosts[0],
  });
  fc.assert(
    fc.property(fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }), (hash) => {
      assert.equal(balancer.pick(hash, 0), hash % 100n < 70n ? 0 : 2);
    }),
  );
});

const NO_FLAGS = { isEjected: false, failsActiveCheck: false, isDegraded: false };
for (const [eds, flags, expected] of [
  ["UNKNOWN", {}, "healthy"],
  ["HEALTHY", {}, "healthy"],
  ["UNHEALTHY", {}, "unhealthy"],
  ["DRAINING", {}, "unhealthy"],
  ["TIMEOUT", {}, "unhealthy"],
  ["DEGRADED", {}, "degraded"],
  ["DEGRADED", { isEjected: true }, "unhealthy"],
  ["HEALTHY", { isEjected: true }, "unhealthy"],
  ["HEALTHY", { failsActiveCheck: true }, "unhealthy"],
  ["HEALTHY", { isDegraded: true }, "degraded"],
  ["UNHEALTHY", { isDegraded: true }, "unhealthy"],
] as const) {
  test(`a host that is ${eds} with ${JSON.stringify(flags)} is ${expected}`, () => {
    assert.equal(hostHealth(eds, { ...NO_FLAGS, ...flags }), expected);
  });
}
