import { type Decision, normal, warning } from "../decision.ts";
import { copyTargetToPrimary, route } from "../infrastructure.ts";
import type { Input } from "../input.ts";
import { configChecksums, readiness } from "../observation.ts";
import { rolloutId } from "../render/names.ts";
import { promotedId } from "../render/primary.ts";
import { intervalMs } from "../spec.ts";
import type { RolloutState } from "../state.ts";
import { sameConfigs } from "./idle.ts";

type Promoting = Extract<RolloutState, { kind: "Promoting" | "Finalising" }>;

/** Copies the analysed revision to the primary, waits until it runs, then sends traffic back to it. */
export function promote(input: Input, state: Promoting): Decision {
  const { observation, nowMs } = input;
  const { spec, canary, primary, target } = observation;
  const { tracking } = state;
  const name = `${spec.targetRef.name}.${canary.metadata.namespace}`;
  const isAnalysed =
    observation.targetHash === tracking.applied &&
    sameConfigs(configChecksums(observation), tracking.configs);
  if (isAnalysed && (primary === undefined || promotedId(primary) !== rolloutId(observation))) {
    const effects = copyTargetToPrimary(observation);
    return { effects, nextState: state, events: [], requeueAfterMs: 0 };
  }
  if (primary === undefined || target === undefined)
    return { effects: [], nextState: state, events: [] };
  if (!isAnalysed && !String(promotedId(primary)).startsWith(tracking.applied)) {
    // The target changed before it was copied: what runs now was never analysed.
    return {
      effects: route(observation, 0),
      nextState: {
        kind: "Progressing",
        tracking: {
          ...tracking,
          applied: observation.targetHash,
          configs: configChecksums(observation),
        },
        ...{ weight: 0, failedChecks: 0, isMirrored: false, step: { routedAtMs: nowMs } },
      },
      events: [normal(`New revision detected! Restarting analysis for ${name}`)],
      requeueAfterMs: 0,
    };
  }
  const { primaryReadyThreshold } = spec.analysis;
  const ready = readiness(primary, primaryReadyThreshold, spec.progressDeadlineSeconds, nowMs);
  if (ready.kind === "waiting") {
    return {
      effects: [],
      nextState: state,
      events: [],
      message: ready.reason,
      requeueAfterMs: 5000,
    };
  }
  if (ready.kind === "failed")
    return keepCanary({ observation, verdicts: [], nowMs }, state, ready.reason);
  const next = stepDown(input, state);
  if (next !== undefined) return next;
  const message = "Routing all traffic to primary";
  return {
    effects: route(observation, 0),
    nextState: { kind: "Finalising", tracking, weight: 0, sinceMs: nowMs },
    events: [normal(message)],
    message,
    requeueAfterMs: 0,
  };
}

/** With stepWeightPromotion traffic goes back in steps, one each interval; undefined at the last one. */
function stepDown({ observation, nowMs }: Input, state: Promoting): Decision | undefined {
  const { spec, canary } = observation;
  const step = spec.analysis.stepWeightPromotion;
  if (step === 0 || state.weight === 0) return undefined;
  const dueMs = state.sinceMs + intervalMs(spec);
  if (nowMs < dueMs) {
    return { effects: [], nextState: state, events: [], requeueAfterMs: dueMs - nowMs };
  }
  const weight = state.weight - step;
  if (weight <= 0) return undefined;
  const name = `${spec.targetRef.name}.${canary.metadata.namespace}`;
  const message = `Advance ${name} primary weight ${100 - weight}`;
  return {
    effects: route(observation, weight),
    nextState: { ...state, weight, sinceMs: nowMs },
    events: [normal(message)],
    message,
    requeueAfterMs: 0,
  };
}

/** The primary cannot run what the canary runs well: traffic stays with the canary (Flagger 1.44). */
function keepCanary({ observation, nowMs }: Input, state: Promoting, reason: string): Decision {
  const { spec, target } = observation;
  const percent = spec.analysis.canaryReadyThreshold;
  const isCanaryReady =
    target !== undefined &&
    readiness(target, percent, spec.progressDeadlineSeconds, nowMs).kind === "ready";
  if (!isCanaryReady) {
    return { effects: [], nextState: state, events: [], message: reason, requeueAfterMs: 5000 };
  }
  const message = `Promotion failed, routing all traffic to canary: ${reason}`;
  return {
    effects: route(observation, 100),
    nextState: {
      kind: "Failed",
      tracking: state.tracking,
      weight: 100,
      sinceMs: nowMs,
      isScaledDown: true,
    },
    events: [warning(message)],
    message,
  };
}
