import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import {
  newReplicaSetSize,
  oldReplicaSetSizes,
  proportionalSizes,
  type ReplicaSetCounts,
  rollingUpdateLimits,
} from "../../../../src/embedded/core/controllers/rolling-update.ts";

const LIMITS = [
  [10, undefined, undefined, { replicas: 10, maxSurge: 3, maxUnavailable: 2 }],
  [1, "25%", "25%", { replicas: 1, maxSurge: 1, maxUnavailable: 0 }],
  [4, 0, 0, { replicas: 4, maxSurge: 0, maxUnavailable: 1 }],
  [4, 2, "100%", { replicas: 4, maxSurge: 2, maxUnavailable: 4 }],
  [3, "0%", "30%", { replicas: 3, maxSurge: 0, maxUnavailable: 1 }],
  [0, "25%", "25%", { replicas: 0, maxSurge: 0, maxUnavailable: 0 }],
] as const;
for (const [replicas, surge, unavailable, expected] of LIMITS) {
  test(`limits of ${replicas} replicas, surge ${surge}, unavailable ${unavailable}`, () => {
    assert.deepEqual(rollingUpdateLimits(replicas, surge, unavailable), expected);
  });
}

test("pods that are not available go first", () => {
  const old = [
    { name: "sick", replicas: 2, available: 0 },
    { name: "well", replicas: 2, available: 2 },
  ];
  const fresh = { name: "fresh", replicas: 1, available: 1 };
  const limits = { replicas: 4, maxSurge: 1, maxUnavailable: 1 };
  assert.deepEqual([...oldReplicaSetSizes(old, fresh, limits)], [["sick", 0]]);
});

test("a resize in the middle of a rollout keeps the shares (the example of Kubernetes's docs)", () => {
  const sets = [
    { name: "old", replicas: 8, maxReplicas: 13 },
    { name: "new", replicas: 5, maxReplicas: 13 },
  ];
  assert.deepEqual(Object.fromEntries(proportionalSizes(sets, 18)), { old: 11, new: 7 });
});

test("a resize to twice the size doubles", () => {
  const sizes = proportionalSizes(
    [
      { name: "old", replicas: 8 },
      { name: "new", replicas: 5 },
    ],
    26,
  );
  assert.deepEqual(Object.fromEntries(sizes), { old: 16, new: 10 });
});

test("property: shares of a resize add up to what is allowed, none negative", () => {
  const set = fc.record({ name: fc.uuid(), replicas: fc.nat(50) });
  fc.assert(
    fc.property(fc.array(set, { minLength: 1, maxLength: 6 }), fc.nat(100), (sets, allowed) => {
      const sizes = [...proportionalSizes(sets, allowed).values()];
      assert.equal(
        sizes.reduce((sum, size) => sum + size, 0),
        allowed,
      );
      assert.ok(sizes.every((size) => size >= 0));
    }),
  );
});

interface World {
  readonly sets: ReplicaSetCounts[];
  readonly fresh: ReplicaSetCounts;
}

test("property: a rolling update keeps within its limits at every moment, and ends", () => {
  const input = fc.record({
    replicas: fc.integer({ min: 1, max: 20 }),
    maxSurge: fc.oneof(fc.nat(5), fc.constantFrom("25%", "50%")),
    maxUnavailable: fc.oneof(fc.nat(5), fc.constantFrom("25%", "50%")),
    oldSets: fc.integer({ min: 1, max: 3 }),
    order: fc.infiniteStream(fc.nat(1000)),
  });
  fc.assert(
    fc.property(input, ({ replicas, maxSurge, maxUnavailable, oldSets, order }) => {
      const limits = rollingUpdateLimits(replicas, maxSurge, maxUnavailable);
      let world: World = {
        sets: Array.from({ length: oldSets }, (_, i) => {
          const size = i === 0 ? replicas : 0;
          return { name: `old-${i}`, replicas: size, available: size };
        }),
        fresh: { name: "fresh", replicas: 0, available: 0 },
      };
      for (let round = 0; round < 10 * replicas + 50; round += 1) {
        const { sets, fresh } = world;
        const size = newReplicaSetSize(fresh.replicas, [...sets, fresh], limits);
        const grown = { ...fresh, replicas: size };
        const sizes = oldReplicaSetSizes(sets, grown, limits);
        world = {
          // Pods that are not available are deleted first, as the ReplicaSet controller does.
          sets: sets.map((set) => {
            const next = sizes.get(set.name) ?? set.replicas;
            return { ...set, replicas: next, available: Math.min(set.available, next) };
          }),
          fresh: grown,
        };
        const total = world.sets.reduce((sum, set) => sum + set.replicas, 0) + size;
        const available =
          world.sets.reduce((sum, set) => sum + set.available, 0) + world.fresh.available;
        assert.ok(total <= replicas + limits.maxSurge, `surge: ${JSON.stringify(world)}`);
        assert.ok(
          available >= replicas - limits.maxUnavailable,
          `unavailable: ${JSON.stringify({ limits, world })}`,
        );
        if (world.fresh.available === replicas && total === replicas) return;
        // Some new pod or other becomes ready, or none does.
        const ready = (order.next().value ?? 0) % 3;
        const now = Math.min(world.fresh.replicas, world.fresh.available + ready);
        world = { ...world, fresh: { ...world.fresh, available: now } };
      }
      assert.fail(`did not end: ${JSON.stringify(world)}`);
    }),
  );
});
