import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { selectHosts } from "../../../src/proxy/core/balance/host-set.ts";
import { createBalancer as createLeastRequest } from "../../../src/proxy/core/balance/least-request.ts";
import { createBalancer as createRandom } from "../../../src/proxy/core/balance/random.ts";
import { createBalancer as createRoundRobin } from "../../../src/proxy/core/balance/round-robin.ts";
import { Circuit } from "../../../src/proxy/core/circuit.ts";

interface Host {
  readonly name: number;
  readonly weight: number;
  activeRequests: number;
}

const hostsOf = (weights: readonly number[]): Host[] =>
  weights.map((weight, name) => ({ name, weight, activeRequests: 0 }));

/** A repeatable source in [0, 1) (xorshift32). */
function randomFrom(seed: number): () => number {
  let state = seed | 1;
  return () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) / 2 ** 32;
  };
}

const weightLists = fc.array(fc.integer({ min: 1, max: 20 }), { minLength: 1, maxLength: 8 });

test("round robin gives every host exactly its weight in each turn", () => {
  fc.assert(
    fc.property(weightLists, fc.nat(100), (weights, startAt) => {
      const balancer = createRoundRobin(hostsOf(weights), startAt);
      const isEqual = weights.every((weight) => weight === weights[0]);
      const turn = isEqual ? weights.length : weights.reduce((a, b) => a + b, 0);
      for (let round = 0; round < 3; round += 1) {
        const counts = weights.map(() => 0);
        for (let i = 0; i < turn; i += 1) {
          const { name } = balancer.pick(() => 0) ?? { name: -1 };
          counts[name] = (counts[name] ?? 0) + 1;
        }
        assert.deepEqual(counts, isEqual ? weights.map(() => 1) : weights);
      }
    }),
  );
});

test("round robin spreads a heavy host instead of sending bursts", () => {
  const balancer = createRoundRobin(hostsOf([5, 1, 1]));
  const order = Array.from({ length: 7 }, () => balancer.pick(() => 0)?.name);
  assert.deepEqual(order, [0, 0, 1, 0, 2, 0, 0]);
});

for (const [name, create] of [
  ["random", createRandom],
  ["least request while idle", createLeastRequest],
] as const) {
  test(`${name} follows the weights`, () => {
    fc.assert(
      fc.property(weightLists, fc.integer({ min: 1 }), (weights, seed) => {
        const balancer = create(hostsOf(weights));
        const random = randomFrom(seed);
        const draws = 4000;
        const counts = weights.map(() => 0);
        for (let i = 0; i < draws; i += 1) {
          const { name: at } = balancer.pick(random) ?? { name: -1 };
          counts[at] = (counts[at] ?? 0) + 1;
        }
        const total = weights.reduce((a, b) => a + b, 0);
        for (const [i, weight] of weights.entries()) {
          const p = weight / total;
          const bound = 6 * Math.sqrt(draws * p * (1 - p)) + 1;
          assert.ok(Math.abs((counts[i] ?? 0) - draws * p) <= bound, `${weights} ${counts}`);
        }
      }),
      { numRuns: 50 },
    );
  });
}

test("least request avoids the busier of two, per weight", () => {
  const hosts = hostsOf([1, 1]);
  const [a, b] = hosts;
  if (a === undefined || b === undefined) assert.fail();
  a.activeRequests = 10;
  const random = randomFrom(7);
  const balancer = createLeastRequest(hosts);
  const picks = Array.from({ length: 1000 }, () => balancer.pick(random)?.name);
  // Both draws hit the busy one in a quarter of the cases.
  const busy = picks.filter((name) => name === 0).length;
  assert.ok(busy > 190 && busy < 310, String(busy));
});

test("balancers of nothing pick nothing", () => {
  for (const create of [createRandom, createLeastRequest, createRoundRobin]) {
    assert.equal(
      create<Host>([]).pick(() => 0.5),
      undefined,
    );
  }
});

const at = (priority: number, isHealthy: boolean) => ({ priority, isHealthy });
const HOST_SETS = [
  ["healthy ones only", [at(0, true), at(0, false)], 0, [0]],
  ["the first priority with a healthy host", [at(0, false), at(1, true), at(2, true)], 0, [1]],
  ["nobody when none is healthy and panic is off", [at(0, false)], 0, []],
  ["everybody in a panic", [at(0, true), at(0, false), at(0, false)], 50, [0, 1, 2]],
  ["no panic at the threshold", [at(0, true), at(0, false)], 50, [0]],
  ["the first priority in a total panic", [at(1, false), at(0, false)], 50, [1]],
  ["nobody of nobody", [], 50, []],
] as const;
for (const [name, endpoints, threshold, chosen] of HOST_SETS) {
  test(`host set: ${name}`, () => {
    const selected = selectHosts<(typeof endpoints)[number]>(endpoints, threshold);
    assert.deepEqual(
      endpoints.flatMap((e, i) => ((selected as readonly object[]).includes(e) ? [i] : [])),
      chosen,
    );
  });
}

test("a retry budget is a share of what is active, but never less than its floor", () => {
  const limits = { maxConnections: 1, maxPendingRequests: 1, maxRequests: 1, maxRetries: 0 };
  const circuit = new Circuit({ ...limits, retryBudget: { percent: 20, minConcurrency: 3 } });
  circuit.retries = 2;
  assert.equal(circuit.canRetry, true);
  circuit.retries = 3;
  assert.equal(circuit.canRetry, false);
  circuit.requests = 20;
  assert.equal(circuit.canRetry, true);
  circuit.retries = 4;
  assert.equal(circuit.canRetry, false);
  circuit.update({ ...limits, maxRetries: 5, retryBudget: undefined });
  assert.equal(circuit.canRetry, true);
});
