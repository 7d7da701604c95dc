import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import {
  Circuit,
  type CircuitThresholds,
  Limit,
  type LimitGauges,
} from "../../../src/proxy/core/circuit.ts";

const THRESHOLDS: CircuitThresholds = {
  maxConnections: 1,
  maxPendingRequests: 1,
  maxRequests: 100,
  maxRetries: 2,
  retryBudget: undefined,
  tracksRemaining: false,
};

class Gauge {
  value = 0;
  add(count: number): void {
    this.value += count;
  }
}

function gauges(): LimitGauges & { readonly open: Gauge; readonly remaining: Gauge } {
  return { open: new Gauge(), remaining: new Gauge() };
}

test("a retry budget is a share of what is active, but never less than its floor", () => {
  const circuit = new Circuit({
    ...THRESHOLDS,
    retryBudget: { percent: 20, minConcurrency: 3 },
  });
  circuit.retries.add(2);
  assert.equal(circuit.canRetry, true);
  circuit.retries.add(1);
  assert.equal(circuit.canRetry, false);
  circuit.requests.add(15);
  circuit.pending.add(5);
  assert.equal(circuit.canRetry, true);
  circuit.retries.add(1);
  assert.equal(circuit.canRetry, false);
  circuit.update({ ...THRESHOLDS, maxRetries: 5 });
  assert.equal(circuit.canRetry, true);
});

test("a new threshold applies to what is in use already", () => {
  const circuit = new Circuit({ ...THRESHOLDS, maxConnections: 2 });
  circuit.connections.add(2);
  assert.equal(circuit.connections.canTake, false);
  circuit.update({ ...THRESHOLDS, maxConnections: 3 });
  assert.equal(circuit.connections.canTake, true);
  circuit.update({ ...THRESHOLDS, maxConnections: 0 });
  assert.equal(circuit.connections.canTake, false);
});

test("a limit of nothing shows only once something is taken or given, as Envoy's", () => {
  const shown = gauges();
  const limit = new Limit(0, true, shown);
  assert.deepEqual([limit.canTake, shown.open.value], [false, 0]);
  limit.add(1);
  limit.add(-1);
  assert.deepEqual([shown.open.value, shown.remaining.value], [1, 0]);
});

test("the gauges say whether a limit is reached and what is left of it, whatever happens", () => {
  const steps = fc.array(
    fc.oneof(
      fc.record({ kind: fc.constant("take" as const), count: fc.integer({ min: 1, max: 3 }) }),
      fc.record({ kind: fc.constant("give" as const), count: fc.integer({ min: 1, max: 3 }) }),
      fc.record({
        kind: fc.constant("update" as const),
        count: fc.nat(8),
        isTracked: fc.boolean(),
      }),
    ),
  );
  fc.assert(
    fc.property(fc.nat(8), fc.boolean(), steps, (initial, tracked, list) => {
      const shown = gauges();
      const limit = new Limit(initial, tracked, shown);
      let [maximum, isTracked, inUse] = [initial, tracked, 0];
      for (const step of list) {
        if (step.kind === "update") {
          limit.update(step.count, step.isTracked);
          [maximum, isTracked] = [step.count, step.isTracked];
        } else {
          const count = step.kind === "take" ? step.count : -Math.min(inUse, step.count);
          limit.add(count);
          inUse += count;
          assert.equal(shown.open.value, inUse < maximum ? 0 : 1);
        }
        assert.equal(limit.inUse, inUse);
        assert.equal(limit.canTake, inUse < maximum);
        assert.equal(shown.remaining.value, isTracked ? Math.max(0, maximum - inUse) : 0);
      }
    }),
  );
});
