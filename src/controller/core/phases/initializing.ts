import { type Decision, normal } from "../decision.ts";
import { copyTargetToPrimary, entrance, scaleTarget, workloads } from "../infrastructure.ts";
import type { Input } from "../input.ts";
import { configChecksums, readiness } from "../observation.ts";
import { rolloutId } from "../render/names.ts";
import { promotedId } from "../render/primary.ts";

/** Makes the primary, waits for it, moves the traffic to it, and only then scales the target down. */
export function initialise({ observation, nowMs }: Input): Decision {
  const { canary, spec, primary, targetHash } = observation;
  const nextState = { kind: "Initializing" } as const;
  const made = workloads(observation);
  if (made.length > 0) return { effects: made, nextState, events: [], requeueAfterMs: 0 };
  if (primary === undefined) return { effects: [], nextState, events: [] };
  const ready = readiness(
    primary,
    spec.analysis.primaryReadyThreshold,
    spec.progressDeadlineSeconds,
    nowMs,
  );
  // A first version that does not start can be repaired: nothing runs on this primary yet.
  if (ready.kind !== "ready" && promotedId(primary) !== rolloutId(observation)) {
    const effects = copyTargetToPrimary(observation);
    return { effects, nextState, events: [], message: ready.reason, requeueAfterMs: 5000 };
  }
  if (ready.kind !== "ready") {
    return { effects: [], nextState, events: [], message: ready.reason, requeueAfterMs: 5000 };
  }
  const tracking = {
    applied: targetHash,
    promoted: targetHash,
    configs: configChecksums(observation),
  };
  const message = `Initialization done! ${canary.metadata.name}.${canary.metadata.namespace}`;
  return {
    effects: [...entrance(observation), ...scaleTarget(observation, 0)],
    nextState: { kind: "Initialized", tracking },
    events: [normal(message)],
    message,
  };
}
