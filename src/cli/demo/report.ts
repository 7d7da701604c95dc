import { type Exchange, isFailure } from "./load-client.ts";

/** A weight of the canary, as its VirtualService had it. Times are epoch milliseconds. */
export interface RoutedWeight {
  readonly weightPercent: number;
  readonly setMs: number;
  /** When every connected proxy had it; undefined where nobody said so. */
  readonly inEffectMs: number | undefined;
}

/** What happened in one rollout, as observed from outside. */
export interface RolloutRecord {
  readonly canary: string;
  readonly from: string;
  readonly to: string;
  readonly outcome: "Succeeded" | "Failed";
  /** Why it failed, in the controller's words. */
  readonly reason: string;
  readonly startMs: number;
  readonly endMs: number;
  /** Weights set since the start, in order. */
  readonly weights: readonly RoutedWeight[];
}

/** One entry of the report's `rollouts` (docs: the contract of `serin demo --report`). */
export interface RolloutReport {
  readonly canary: string;
  readonly from: string;
  readonly to: string;
  readonly outcome: "Succeeded" | "Failed";
  readonly weights: readonly number[];
  readonly durationMs: number;
  readonly steps: readonly {
    readonly weight: number;
    readonly durationMs: number;
    readonly requests: Readonly<Record<string, number>>;
  }[];
  readonly clientFailures: number;
  readonly rollback: null | {
    readonly reason: string;
    readonly firstBadRequestToWeightZeroMs: number;
    readonly failedRequests: number;
  };
}

/** The file that `--report` writes. */
export interface DemoReport {
  readonly rollouts: readonly RolloutReport[];
  readonly setupMs: number;
}

/** Joins what the cluster did with what clients got. */
export function reportRollout(
  record: RolloutRecord,
  exchanges: readonly Exchange[],
): RolloutReport {
  const { canary, from, to, outcome, startMs, endMs } = record;
  const failures = exchanges.filter(
    (exchange) => isFailure(exchange) && exchange.startMs >= startMs && exchange.startMs <= endMs,
  );
  const steps = stepsOf(record).map(({ weight, fromMs, untilMs }) => ({
    weight,
    durationMs: untilMs - fromMs,
    requests: requestsByVersion(exchanges, fromMs, untilMs, [from, to]),
  }));
  return {
    canary,
    from,
    to,
    outcome,
    weights: steps.map((step) => step.weight),
    durationMs: endMs - startMs,
    steps,
    clientFailures: failures.length,
    rollback: outcome === "Failed" ? rollbackOf(record, failures) : null,
  };
}

/** Each weight above zero, from when it was in effect until the next one was set. */
function stepsOf({ weights, endMs }: RolloutRecord) {
  return weights.flatMap(({ weightPercent, setMs, inEffectMs }, i) => {
    if (weightPercent === 0) return [];
    const untilMs = weights[i + 1]?.setMs ?? endMs;
    // A weight that was replaced before every proxy had it never had a time of its own.
    const fromMs = Math.min(inEffectMs ?? setMs, untilMs);
    return [{ weight: weightPercent, fromMs, untilMs }];
  });
}

/** Requests that lay wholly within a step, so that none of them was routed by another weight. */
function requestsByVersion(
  exchanges: readonly Exchange[],
  fromMs: number,
  untilMs: number,
  versions: readonly string[],
): Record<string, number> {
  const requests: Record<string, number> = {};
  for (const version of versions) requests[version] = 0;
  for (const { startMs, endMs, version } of exchanges) {
    if (version === undefined || startMs < fromMs || endMs > untilMs) continue;
    requests[version] = (requests[version] ?? 0) + 1;
  }
  return requests;
}

function rollbackOf(record: RolloutRecord, failures: readonly Exchange[]) {
  const lastShare = record.weights.findLastIndex(({ weightPercent }) => weightPercent > 0);
  const zero = record.weights[lastShare + 1];
  const zeroMs = zero?.inEffectMs ?? zero?.setMs ?? record.endMs;
  const firstBadMs = Math.min(zeroMs, ...failures.map(({ endMs }) => endMs));
  return {
    reason: record.reason,
    firstBadRequestToWeightZeroMs: zeroMs - firstBadMs,
    failedRequests: failures.length,
  };
}

const EXPECTED_WEIGHTS = [10, 50, 100];

/** What went otherwise than the demo promises; empty when all is well. */
export function problemsOf(rollouts: readonly RolloutReport[]): string[] {
  const [good, bad] = rollouts;
  const problems: string[] = [];
  if (good?.outcome !== "Succeeded") {
    problems.push(`the good rollout ended ${good?.outcome ?? "before it began"}`);
  } else if (good.weights.join() !== EXPECTED_WEIGHTS.join()) {
    const found = good.weights.join(", ") || "none";
    problems.push(
      `the good rollout set weights ${found} instead of ${EXPECTED_WEIGHTS.join(", ")}`,
    );
  }
  if ((good?.clientFailures ?? 0) > 0) {
    problems.push(`${good?.clientFailures} client requests failed during the good rollout`);
  }
  if (bad?.outcome !== "Failed") {
    problems.push(`the faulty rollout ended ${bad?.outcome ?? "before it began"}`);
  }
  return problems;
}
