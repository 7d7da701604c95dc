import assert from "node:assert/strict";
import { test } from "node:test";
import { setImmediate as turn } from "node:timers/promises";
import { SerinError } from "../../src/base/index.ts";
import type { KubeStore } from "../../src/kube/store.ts";
import { startLeaderElection } from "../../src/mesh/leader-election.ts";
import { createLogger } from "../../src/runtime/index.ts";
import { ManualClock } from "../support/manual-clock.ts";
import { MemoryStore } from "../support/memory-store.ts";

/** Candidates over one store; `cut` takes the API away from one of them. */
function candidates() {
  const clock = new ManualClock();
  const memory = new MemoryStore();
  const led: string[] = [];
  const candidate = async (name: string) => {
    let isCut = false;
    const guarded = <Call extends unknown[], Answer>(call: (...given: Call) => Promise<Answer>) => {
      return async (...given: Call): Promise<Answer> => {
        if (isCut) throw new SerinError("SERIN_UNAVAILABLE", "the API is away");
        return await call(...given);
      };
    };
    const store = new Proxy<KubeStore>(memory, {
      get(target, key: keyof KubeStore) {
        return guarded((target[key] as () => Promise<unknown>).bind(target));
      },
    });
    const election = startLeaderElection({
      ...{ store, clock, name, namespace: "istio-system", random: () => 0 },
      logger: createLogger("test", "silent"),
      onLead: () => led.push(name),
    });
    await election.first;
    const cut = (value: boolean): void => {
      isCut = value;
    };
    return { election, cut };
  };
  const pass = async (ms: number): Promise<void> => {
    for (let left = ms; left > 0; left -= 500) {
      clock.advance(500);
      // Each step asks and writes: several turns of promises.
      for (let i = 0; i < 5; i += 1) await turn();
    }
  };
  return { candidate, led, pass };
}

test("the first leads for as long as it renews; one that goes gives way at once", async () => {
  const { candidate, led, pass } = candidates();
  const a = await candidate("a");
  const b = await candidate("b");
  assert.deepEqual([a.election.isLeader(), b.election.isLeader()], [true, false]);
  await pass(60_000);
  assert.deepEqual([a.election.isLeader(), b.election.isLeader()], [true, false]);
  await a.election.stop();
  await pass(3000);
  assert.deepEqual([a.election.isLeader(), b.election.isLeader()], [false, true]);
  assert.deepEqual(led, ["a", "b"]);
});

test("one that cannot renew stops leading before another one begins, and there are never two", async () => {
  const { candidate, led, pass } = candidates();
  const a = await candidate("a");
  const b = await candidate("b");
  a.cut(true);
  const seen = new Set<string>();
  for (let i = 0; i < 60; i += 1) {
    await pass(500);
    seen.add(JSON.stringify([a.election.isLeader(), b.election.isLeader()]));
  }
  assert.deepEqual([...seen], ["[true,false]", "[false,false]", "[false,true]"]);
  a.cut(false);
  await pass(30_000);
  assert.deepEqual([a.election.isLeader(), b.election.isLeader()], [false, true]);
  b.cut(true);
  await pass(30_000);
  assert.deepEqual([a.election.isLeader(), b.election.isLeader()], [true, false]);
  assert.deepEqual(led, ["a", "b", "a"]);
});

test("who comes back under its name leads on without waiting", async () => {
  const { candidate } = candidates();
  const a = await candidate("a");
  a.cut(true);
  const again = await candidate("a");
  assert.equal(again.election.isLeader(), true);
});
