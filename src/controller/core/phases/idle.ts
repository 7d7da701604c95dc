import { type Decision, normal } from "../decision.ts";
import { scaleTarget, wantedReplicas } from "../infrastructure.ts";
import type { Input } from "../input.ts";
import { configChecksums, isAcknowledged, type Observation, readiness } from "../observation.ts";
import type { RolloutState, Tracking } from "../state.ts";
import { ACK_LIMIT_MS } from "./step.ts";

type Idle = Extract<RolloutState, { kind: "Initialized" | "Succeeded" | "Failed" }>;

/** Waits for a new revision; after a failure first scales the target down, once traffic has left it. */
export function rest({ observation, nowMs }: Input, state: Idle): Decision {
  const { targetHash } = observation;
  const configs = configChecksums(observation);
  const isChanged =
    (targetHash !== state.tracking.applied && targetHash !== state.tracking.promoted) ||
    !sameConfigs(configs, state.tracking.configs);
  if (isChanged) return start(observation, state.tracking, nowMs);
  // Going back to what runs as primary needs no analysis, but the next change must be seen as one.
  const tracking = { ...state.tracking, applied: targetHash };
  const nextState = { ...state, tracking };
  if (nextState.kind !== "Failed" || nextState.isScaledDown) {
    return { effects: [], nextState, events: [] };
  }
  const waitedMs = nowMs - nextState.sinceMs;
  if (!isAcknowledged(observation) && waitedMs < ACK_LIMIT_MS) {
    return { effects: [], nextState, events: [], requeueAfterMs: ACK_LIMIT_MS - waitedMs };
  }
  return {
    effects: scaleTarget(observation, 0),
    nextState: { ...nextState, isScaledDown: true },
    events: [],
  };
}

function start(observation: Observation, old: Tracking, nowMs: number): Decision {
  const { canary, spec, state, primary, targetHash } = observation;
  const name = `${spec.targetRef.name}.${canary.metadata.namespace}`;
  // Traffic may go back to the primary only while it is ready; a first step needs it as the rest.
  const { primaryReadyThreshold } = spec.analysis;
  const ready =
    primary === undefined
      ? { kind: "waiting" as const, reason: "primary is missing" }
      : readiness(primary, primaryReadyThreshold, spec.progressDeadlineSeconds, nowMs);
  if (ready.kind !== "ready") {
    return {
      effects: [],
      nextState: state,
      events: [],
      message: ready.reason,
      requeueAfterMs: 5000,
    };
  }
  const message = `New revision detected! Scaling up ${name}`;
  return {
    effects: scaleTarget(observation, wantedReplicas(observation)),
    nextState: {
      kind: "Progressing",
      tracking: { ...old, applied: targetHash, configs: configChecksums(observation) },
      ...{ weight: 0, failedChecks: 0, isMirrored: false, step: { routedAtMs: nowMs } },
    },
    events: [normal(message)],
    message,
    requeueAfterMs: 0,
  };
}

/** Whether two sets of checksums name the same configs with the same content. */
export function sameConfigs(
  a: Readonly<Record<string, string>>,
  b: Readonly<Record<string, string>>,
): boolean {
  const keys = Object.keys(a);
  return keys.length === Object.keys(b).length && keys.every((key) => a[key] === b[key]);
}
