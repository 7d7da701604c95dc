import { type Decision, normal } from "../decision.ts";
import { scaleTarget } from "../infrastructure.ts";
import type { Input } from "../input.ts";
import { isAcknowledged } from "../observation.ts";
import type { RolloutState } from "../state.ts";
import { ACK_LIMIT_MS } from "./step.ts";

type Finalising = Extract<RolloutState, { kind: "Promoting" | "Finalising" }>;

/** Scales the canary down once traffic has really left it. */
export function finalise({ observation, nowMs }: Input, state: Finalising): Decision {
  const { spec, canary } = observation;
  const waitedMs = nowMs - state.sinceMs;
  if (!isAcknowledged(observation) && waitedMs < ACK_LIMIT_MS) {
    return { effects: [], nextState: state, events: [], requeueAfterMs: ACK_LIMIT_MS - waitedMs };
  }
  const name = `${spec.targetRef.name}.${canary.metadata.namespace}`;
  const message = `Promotion completed! ${spec.skipAnalysis ? `Canary analysis was skipped for ${name}` : `Scaling down ${name}`}`;
  return {
    // A revision that came during the promotion is next: scaling it down would only cost a restart.
    effects: observation.targetHash === state.tracking.applied ? scaleTarget(observation, 0) : [],
    nextState: {
      kind: "Succeeded",
      tracking: { ...state.tracking, promoted: state.tracking.applied },
    },
    events: [normal(message)],
    message,
    requeueAfterMs: 0,
  };
}
