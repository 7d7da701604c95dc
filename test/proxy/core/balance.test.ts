import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { createBalancer as createLeastRequest } from "../../../src/proxy/core/balance/least-request.ts";
import { createBalancer as createRandom } from "../../../src/proxy/core/balance/random.ts";
import { createBalancer as createRoundRobin } from "../../../src/proxy/core/balance/round-robin.ts";
import { slowStartFactor } from "../../../src/proxy/core/balance/slow-start.ts";

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

test("round robin gives every host its weight in each turn", () => {
  fc.assert(
    fc.property(weightLists, fc.nat(100), (weights, startAt) => {
      const balancer = createRoundRobin(hostsOf(weights), startAt);
      const isEqual = weights.every((weight) => weight === weights[0]);
      const turn = isEqual ? weights.length : weights.reduce((a, b) => a + b, 0);
      const counts = weights.map(() => 0);
      for (let round = 1; round <= 3; round += 1) {
        for (let i = 0; i < turn; i += 1) {
          const { name } = balancer.pick(() => 0) ?? { name: -1 };
          counts[name] = (counts[name] ?? 0) + 1;
        }
        for (const [name, weight] of weights.entries()) {
          const due = round * (isEqual ? 1 : weight);
          // Who starts in the middle of a turn, or shares a moment with others, may be one off or two.
          assert.ok(Math.abs((counts[name] ?? 0) - due) <= 2, `${weights}: ${counts}`);
        }
      }
    }),
  );
});

test("round robin never lets a light host wait longer than its weight says", () => {
  fc.assert(
    fc.property(weightLists, (weights) => {
      const balancer = createRoundRobin(hostsOf(weights));
      const total = weights.reduce((a, b) => a + b, 0);
      const last = weights.map(() => -1);
      for (let i = 0; i < 4 * total; i += 1) {
        const { name } = balancer.pick(() => 0) ?? { name: -1 };
        const gap = i - (last[name] ?? 0);
        assert.ok(gap <= total / (weights[name] ?? 1) + weights.length, `${weights}: ${gap}`);
        last[name] = i;
      }
    }),
  );
});

test("random does not heed weights, as Envoy's does not", () => {
  const balancer = createRandom(hostsOf([1, 9]));
  const random = randomFrom(5);
  const light = Array.from({ length: 4000 }, () => balancer.pick(random)?.name).filter(
    (name) => name === 0,
  );
  assert.ok(Math.abs(light.length - 2000) < 6 * Math.sqrt(1000), String(light.length));
});

test("least request among weighted hosts follows the weights while idle", () => {
  const balancer = createLeastRequest(hostsOf([1, 3, 6]));
  const counts = [0, 0, 0];
  for (let i = 0; i < 1000; i += 1) {
    const { name } = balancer.pick(() => 0) ?? { name: -1 };
    counts[name] = (counts[name] ?? 0) + 1;
  }
  for (const [name, due] of [100, 300, 600].entries()) {
    assert.ok(Math.abs((counts[name] ?? 0) - due) <= 2, String(counts));
  }
});

for (const [bias, share] of [
  [0, 1 / 2],
  [1, 1 / 5],
  [2, 1 / 17],
] as const) {
  test(`least request with bias ${bias}: three in flight leave a host ${share} of the turns`, () => {
    const hosts = hostsOf([2, 2]);
    const [busy] = hosts;
    if (busy === undefined) assert.fail();
    busy.activeRequests = 3;
    // A changing weight asks for turns by weight, though all are equal now.
    const changing = (host: Host) => host.weight;
    const balancer = createLeastRequest(hosts, { activeRequestBias: bias, changing });
    let picked = 0;
    for (let i = 0; i < 1700; i += 1) if (balancer.pick(() => 0) === busy) picked += 1;
    assert.ok(Math.abs(picked - 1700 * share) <= 2, String(picked));
  });
}

test("slow start gives a host little at first and all of it after the window", () => {
  const config = { windowMs: 1000, aggression: 1, minWeightFraction: 0.1 };
  assert.deepEqual(
    [0, 50, 100, 500, 999, 1000, 5000].map((ageMs) => slowStartFactor(config, ageMs)),
    [0.1, 0.1, 0.1, 0.5, 0.999, 1, 1],
  );
  assert.equal(slowStartFactor({ ...config, aggression: 2 }, 250), 0.5);
  assert.equal(slowStartFactor({ ...config, minWeightFraction: 0 }, 0), 0.001);
});

test("slow start never takes weight away as time goes by, nor gives more than all", () => {
  fc.assert(
    fc.property(
      fc.record({
        windowMs: fc.integer({ min: 1, max: 100_000 }),
        aggression: fc.double({ min: 0.1, max: 10, noNaN: true }),
        minWeightFraction: fc.double({ min: 0, max: 1, noNaN: true }),
      }),
      fc.nat(200_000),
      fc.nat(200_000),
      (config, a, b) => {
        const [early, late] = [Math.min(a, b), Math.max(a, b)];
        assert.ok(slowStartFactor(config, early) <= slowStartFactor(config, late));
        assert.ok(slowStartFactor(config, late) <= 1 && slowStartFactor(config, early) > 0);
      },
    ),
  );
});

test("a new host among old ones gets its share of turns as its weight grows", () => {
  const hosts = hostsOf([1, 1]);
  let factor = 0.25;
  const balancer = createRoundRobin(
    hosts,
    0,
    (host) => host.weight * (host.name === 1 ? factor : 1),
  );
  const share = (): number => {
    let fresh = 0;
    for (let i = 0; i < 1000; i += 1) if (balancer.pick(() => 0)?.name === 1) fresh += 1;
    return fresh;
  };
  assert.ok(Math.abs(share() - 200) <= 2);
  factor = 1;
  assert.ok(Math.abs(share() - 500) <= 3);
});

test("least request avoids the busier of two", () => {
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
