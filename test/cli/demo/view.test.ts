import assert from "node:assert/strict";
import { test } from "node:test";
import { renderView, type ViewModel } from "../../../src/cli/demo/view.ts";

const MODEL: ViewModel = {
  elapsedMs: 83_400,
  phase: "Progressing",
  arms: [
    {
      ...{ role: "primary", version: "v1", weightPercent: 90 },
      ...{ requestsPerSecond: 90.2, successRate: 100, p99Ms: 12.4 },
    },
    {
      ...{ role: "canary", version: "v2", weightPercent: 10 },
      ...{ requestsPerSecond: undefined, successRate: undefined, p99Ms: undefined },
    },
  ],
  client: {
    ...{ requestsPerSecond: 100, requests: 5000, failures: 3 },
    requestsByVersion: { v2: 10, v1: 90 },
  },
  news: Array.from({ length: 50 }, (_, i) => ({
    atMs: i * 1000,
    line: `news ${i} ${"x".repeat(90)}`,
  })),
  hints: ["Drive it:", "  kubectl get canary"],
};
const size = { columns: 80, rows: 24, isColor: false };
const ESC = "\u001b";

test("shows phase, weights, and the figures of both versions and of the clients", () => {
  const text = renderView(MODEL, size);
  assert.match(text, /1m23s$/m);
  assert.match(text, /^Phase {4}Progressing$/m);
  assert.match(text, /^primary {2}v1 {3}█{52}░{6} {3}90 %$/m);
  assert.match(text, /^primary {2}v1 +90 % +90\.2 +100\.00 % +12 ms$/m);
  assert.match(text, /^canary {3}v2 +10 % +- +- +-$/m);
  assert.match(text, /3 of 5000 failed; served by v1 90 %, v2 10 %/);
  assert.match(text, /news 49/);
  assert.match(text, /kubectl get canary$/);
});

for (const columns of [56, 60, 80, 200]) {
  for (const rows of [5, 12, 24, 60]) {
    test(`fits ${columns} x ${rows}`, () => {
      const lines = renderView(MODEL, { ...size, columns, rows }).split("\n");
      assert.ok(lines.length <= rows, `${lines.length} lines`);
      for (const line of lines) assert.ok(line.length <= columns, `${line.length}: ${line}`);
    });
  }
}

test("colours only where it may, and colour changes no text", () => {
  const plain = renderView(MODEL, size);
  assert.ok(!plain.includes(ESC));
  const colored = renderView(MODEL, { ...size, isColor: true });
  assert.ok(colored.includes(ESC));
  assert.equal(colored.replaceAll(new RegExp(`${ESC}\\[\\d+m`, "g"), ""), plain);
});
