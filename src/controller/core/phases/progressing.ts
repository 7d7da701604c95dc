import type { Verdict } from "../../../analysis/core/verdict.ts";
import { type Announcement, type Decision, normal, warning } from "../decision.ts";
import { route, scaleTarget, wantedReplicas } from "../infrastructure.ts";
import type { Input } from "../input.ts";
import { nextWeight } from "../ladder.ts";
import { configChecksums, isAcknowledged, type Observation, readiness } from "../observation.ts";
import { nextCheckMs } from "../plan.ts";
import { failureThreshold, intervalMs } from "../spec.ts";
import type { RolloutState } from "../state.ts";
import { sameConfigs } from "./idle.ts";
import { ACK_LIMIT_MS } from "./step.ts";

type Progressing = Extract<RolloutState, { kind: "Progressing" }>;

/** Guard: a revision that nobody has looked at gets no traffic. Weight 0 at once, and from the start. */
export function restartOnNewRevision({ observation, nowMs }: Input): Decision | undefined {
  const { state, targetHash } = observation;
  if (state.kind !== "Progressing") return undefined;
  const configs = configChecksums(observation);
  if (targetHash === state.tracking.applied && sameConfigs(configs, state.tracking.configs)) {
    return undefined;
  }
  const message = `New revision detected! Restarting analysis for ${nameOf(observation)}`;
  return {
    effects: [...route(observation, 0), ...scaleTarget(observation, wantedReplicas(observation))],
    nextState: {
      kind: "Progressing",
      tracking: { ...state.tracking, applied: targetHash, configs },
      ...{ weight: 0, failedChecks: 0, isMirrored: false, step: { routedAtMs: nowMs } },
    },
    events: [normal(message)],
    message,
    requeueAfterMs: 0,
  };
}

/** One look at a running analysis: readiness, then the step's clock, then its checks. */
export function progress(input: Input, state: Progressing): Decision {
  const { observation, nowMs } = input;
  return (
    awaitPrimary(input, state) ??
    awaitCanary(input, state) ??
    overThreshold(input, state) ??
    (observation.spec.skipAnalysis ? startPromotion(input, state) : undefined) ??
    firstStep(input, state) ??
    awaitAcknowledgement(input, state) ??
    judgeChecks(observation, state, input.verdicts, nowMs)
  );
}

function awaitPrimary({ observation, nowMs }: Input, state: Progressing): Decision | undefined {
  const { primary, spec } = observation;
  if (primary === undefined) return undefined;
  const percent = spec.analysis.primaryReadyThreshold;
  const ready = readiness(primary, percent, spec.progressDeadlineSeconds, nowMs);
  return ready.kind === "ready" ? undefined : hold(state, ready.reason);
}

function awaitCanary({ observation, nowMs }: Input, state: Progressing): Decision | undefined {
  const { target, spec } = observation;
  if (target === undefined) return undefined;
  const percent = spec.analysis.canaryReadyThreshold;
  const ready = readiness(target, percent, spec.progressDeadlineSeconds, nowMs);
  if (ready.kind === "ready") return undefined;
  if (ready.kind === "failed") return rollBack(observation, state, nowMs, ready.reason);
  // A Deployment that never says Available=False would wait for ever (Flagger #1247). Only before
  // the first weight: later a pod may be restarted for other reasons.
  const limitMs = spec.progressDeadlineSeconds * 1000;
  if (state.weight === 0 && !state.isMirrored && nowMs - state.step.routedAtMs >= limitMs) {
    const reason = `${ready.reason} (for more than ${spec.progressDeadlineSeconds}s)`;
    return rollBack(observation, state, nowMs, reason);
  }
  return hold(state, ready.reason);
}

/** Normally the pass that counts the last failed check rolls back itself; this is for a lowered threshold. */
function overThreshold({ observation, nowMs }: Input, state: Progressing): Decision | undefined {
  if (state.failedChecks < failureThreshold(observation.spec)) return undefined;
  const reason = `Rolling back ${nameOf(observation)} failed checks threshold reached ${state.failedChecks}`;
  return rollBack(observation, state, nowMs, reason);
}

function firstStep({ observation, nowMs }: Input, state: Progressing): Decision | undefined {
  if (state.weight > 0 || state.isMirrored) return undefined;
  const started = normal(`Starting canary analysis for ${nameOf(observation)}`);
  if (!observation.spec.analysis.mirror) return advance(observation, state, nowMs, [started]);
  return {
    effects: route(observation, 0, true),
    nextState: { ...state, isMirrored: true, step: { routedAtMs: nowMs } },
    events: [started],
    message: started.message,
    requeueAfterMs: 0,
  };
}

function awaitAcknowledgement(
  { observation, nowMs }: Input,
  state: Progressing,
): Decision | undefined {
  const { step } = state;
  if (step.startedAtMs !== undefined) return undefined;
  const waitedMs = nowMs - step.routedAtMs;
  const isLate = waitedMs >= ACK_LIMIT_MS;
  if (!isAcknowledged(observation) && !isLate) {
    const message = `waiting for proxies to acknowledge weight ${state.weight}`;
    return {
      effects: [],
      nextState: state,
      events: [],
      message,
      requeueAfterMs: ACK_LIMIT_MS - waitedMs,
    };
  }
  const late = `not every proxy acknowledged weight ${state.weight} of ${nameOf(observation)} within ${ACK_LIMIT_MS / 1000}s; going on`;
  return {
    effects: [],
    nextState: { ...state, step: { ...step, startedAtMs: nowMs } },
    events: isAcknowledged(observation) ? [] : [warning(late)],
    requeueAfterMs: intervalMs(observation.spec),
  };
}

function judgeChecks(
  observation: Observation,
  state: Progressing,
  verdicts: readonly Verdict[],
  nowMs: number,
): Decision {
  const dueMs = nextCheckMs(observation) ?? nowMs;
  const isMeasured = verdicts.length === observation.spec.analysis.metrics.length;
  if (nowMs < dueMs || !isMeasured) {
    return {
      effects: [],
      nextState: state,
      events: [],
      requeueAfterMs: Math.max(0, dueMs - nowMs),
    };
  }
  const checked = { ...state.step, checkedAtMs: nowMs, unavailableSinceMs: undefined };
  // A failure that was measured outweighs a check that could not be asked.
  const failed = verdicts.find((v) => v.kind === "fail" || v.kind === "inconclusive");
  if (failed !== undefined)
    return countFailure(observation, { ...state, step: checked }, failed, nowMs);
  const unavailable = verdicts.find((v) => v.kind === "unavailable");
  if (unavailable !== undefined) return holdUnavailable(observation, state, unavailable, nowMs);
  const passed = { ...state, step: checked };
  return advance(observation, passed, nowMs, []);
}

function countFailure(
  observation: Observation,
  state: Progressing,
  verdict: Verdict,
  nowMs: number,
): Decision {
  const failedChecks = state.failedChecks + 1;
  const halt = warning(`Halt ${nameOf(observation)} advancement ${explain(verdict)}`);
  if (failedChecks >= failureThreshold(observation.spec)) {
    const reason = `Rolling back ${nameOf(observation)} failed checks threshold reached ${failedChecks}`;
    return rollBack(observation, state, nowMs, `${reason}: ${explain(verdict)}`, [halt]);
  }
  return {
    effects: [],
    nextState: { ...state, failedChecks },
    events: [halt],
    message: halt.message,
    requeueAfterMs: intervalMs(observation.spec),
  };
}

/** Never a failed check. It holds the step, but not longer than the progress deadline. */
function holdUnavailable(
  observation: Observation,
  state: Progressing,
  verdict: Verdict,
  nowMs: number,
): Decision {
  const sinceMs = state.step.unavailableSinceMs ?? nowMs;
  const limitSeconds = observation.spec.progressDeadlineSeconds;
  if (nowMs - sinceMs >= limitSeconds * 1000) {
    const reason = `Rolling back ${nameOf(observation)} no verdict for ${limitSeconds}s: ${explain(verdict)}`;
    return rollBack(observation, state, nowMs, reason);
  }
  const message = `Halt ${nameOf(observation)} advancement ${explain(verdict)}`;
  return {
    effects: [],
    nextState: {
      ...state,
      step: { ...state.step, checkedAtMs: nowMs, unavailableSinceMs: sinceMs },
    },
    events: [warning(message)],
    message,
    requeueAfterMs: intervalMs(observation.spec),
  };
}

function advance(
  observation: Observation,
  state: Progressing,
  nowMs: number,
  before: readonly Announcement[],
): Decision {
  const weight = nextWeight(observation.spec, state.weight);
  if (weight === undefined) return startPromotion({ observation, verdicts: [], nowMs }, state);
  const message = `Advance ${nameOf(observation)} canary weight ${weight}`;
  return {
    effects: route(observation, weight),
    nextState: { ...state, weight, step: { routedAtMs: nowMs } },
    events: [...before, normal(message)],
    message,
    requeueAfterMs: 0,
  };
}

/** Status first, copy after: once the copy may have begun, nothing can lead back to a rollback. */
function startPromotion({ observation, nowMs }: Input, state: Progressing): Decision {
  const { name } = observation.spec.targetRef;
  const message = `Copying ${nameOf(observation)} template spec to ${name}-primary.${observation.canary.metadata.namespace}`;
  const { tracking, weight } = state;
  return {
    effects: [],
    nextState: { kind: "Promoting", tracking, weight, sinceMs: nowMs },
    events: [normal(message)],
    message,
    requeueAfterMs: 0,
  };
}

function rollBack(
  observation: Observation,
  state: Progressing,
  nowMs: number,
  reason: string,
  before: readonly Announcement[] = [],
): Decision {
  return {
    effects: route(observation, 0),
    nextState: {
      kind: "Failed",
      tracking: state.tracking,
      weight: 0,
      sinceMs: nowMs,
      isScaledDown: false,
    },
    events: [
      ...before,
      warning(reason),
      warning(`Canary failed! Scaling down ${nameOf(observation)}`),
    ],
    message: reason,
    requeueAfterMs: 0,
  };
}

function hold(state: Progressing, message: string): Decision {
  return { effects: [], nextState: state, events: [], message, requeueAfterMs: 5000 };
}

function explain(verdict: Verdict): string {
  if (verdict.kind === "inconclusive" || verdict.kind === "unavailable") {
    return `${verdict.metric} ${verdict.kind}: ${verdict.reason}`;
  }
  const { min, max } = verdict.range;
  const bounds = [min === undefined ? "" : `min ${min}`, max === undefined ? "" : `max ${max}`];
  return `${verdict.metric} ${verdict.value} (${bounds.filter((b) => b !== "").join(", ")})`;
}

function nameOf({ spec, canary }: Observation): string {
  return `${spec.targetRef.name}.${canary.metadata.namespace}`;
}
