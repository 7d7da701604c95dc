import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";

interface Step {
  readonly weight: number;
  readonly durationMs: number;
  readonly requests: Readonly<Record<string, number>>;
}
interface Rollout {
  readonly canary: string;
  readonly from: string;
  readonly to: string;
  readonly outcome: string;
  readonly weights: readonly number[];
  readonly steps: readonly Step[];
  readonly clientFailures: number;
  readonly rollback: null | {
    readonly reason: string;
    readonly firstBadRequestToWeightZeroMs: number;
    readonly failedRequests: number;
  };
}

/** Chance that a fair draw is this far off is below one in a million (normal approximation). */
const SIGMAS = 5;

test("the demo promotes the good version without a failed request and rolls back the bad one", {
  timeout: 240_000,
}, async (t) => {
  const dir = mkdtempSync(join(tmpdir(), "serin-demo-"));
  t.after(() => rmSync(dir, { recursive: true, force: true }));
  const reportPath = join(dir, "report.json");
  const { code, output } = await demo([
    "--once",
    ...["--report", reportPath, "--data-dir", join(dir, "data"), "--api-port", "0"],
  ]);
  assert.equal(code, 0, output);

  const report = JSON.parse(readFileSync(reportPath, "utf8")) as {
    readonly rollouts: readonly Rollout[];
    readonly setupMs: number;
  };
  assert.ok(report.setupMs > 0);
  const [good, bad] = report.rollouts;
  assert.ok(good !== undefined && bad !== undefined && report.rollouts.length === 2, output);

  assert.deepEqual(
    { ...good, steps: undefined, durationMs: undefined },
    {
      canary: "default/reviews",
      from: "v1",
      to: "v2",
      outcome: "Succeeded",
      weights: [10, 50, 100],
      clientFailures: 0,
      rollback: null,
      steps: undefined,
      durationMs: undefined,
    },
    output,
  );
  for (const step of good.steps) {
    const total = Object.values(step.requests).reduce((sum, n) => sum + n, 0);
    const share = step.weight / 100;
    const expected = total * share;
    const slack = SIGMAS * Math.sqrt(total * share * (1 - share)) + 2;
    assert.ok(total > 50, `step ${step.weight} saw traffic: ${JSON.stringify(step)}`);
    assert.ok(
      Math.abs((step.requests["v2"] ?? 0) - expected) <= slack,
      `step ${step.weight}: ${step.requests["v2"]} of ${total} requests at v2, expected ${expected} ± ${slack}`,
    );
  }

  assert.equal(bad.to, "v3");
  assert.equal(bad.outcome, "Failed");
  assert.ok(bad.rollback !== null && bad.rollback.reason !== "");
  assert.ok(bad.rollback.failedRequests > 0, "clients saw the fault before it was rolled back");
});

function demo(args: readonly string[]): Promise<{ code: number | null; output: string }> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, ["bin/serin.mjs", "demo", ...args], {
      stdio: ["ignore", "pipe", "pipe"],
    });
    let output = "";
    for (const stream of [child.stdout, child.stderr]) {
      stream.setEncoding("utf8").on("data", (chunk: string) => {
        output += chunk;
      });
    }
    child.on("error", reject);
    child.on("close", (code) => resolve({ code, output }));
  });
}
