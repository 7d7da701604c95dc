import { RESOURCES } from "../../../api/index.ts";
import { type Decision, ensure, normal, warning } from "../decision.ts";
import { scaleTarget, wantedReplicas } from "../infrastructure.ts";
import type { Input } from "../input.ts";
import { readiness } from "../observation.ts";
import { restoreService, restoreVirtualService } from "../render/restore.ts";
import type { RolloutState } from "../state.ts";

/** Flagger's: while it is there, the API server waits with the deletion for the way back. */
export const FINALIZER = "finalizer.flagger.app";

/** Guard: the finalizer is there exactly while spec.revertOnDeletion asks for it. */
export function keepsFinalizer({ observation: { canary, spec, state } }: Input) {
  const { finalizers = [], deletionTimestamp } = canary.metadata;
  const isThere = finalizers.includes(FINALIZER);
  if (deletionTimestamp !== undefined || isThere === spec.revertOnDeletion) return undefined;
  const kept = finalizers.filter((name) => name !== FINALIZER);
  const wanted = spec.revertOnDeletion ? [...kept, FINALIZER] : kept;
  return { effects: [], nextState: state, events: [], finalizers: wanted, requeueAfterMs: 0 };
}

/** Guard: a Canary that is being deleted gives everything back, whatever phase it was in. */
export function terminates(input: Input): Decision | undefined {
  const { observation, nowMs } = input;
  const { canary, state } = observation;
  if (canary.metadata.deletionTimestamp === undefined) return undefined;
  if (state.kind === "Terminating") return giveBack(input, state);
  const message = `Terminating canary ${nameOf(input)}`;
  return {
    effects: [],
    nextState: { kind: "Terminating", sinceMs: nowMs },
    events: [normal(message)],
    message,
    requeueAfterMs: 0,
  };
}

/** The target first: traffic goes back to it only when it runs. */
function giveBack(input: Input, state: Extract<RolloutState, { kind: "Terminating" }>): Decision {
  const { observation, nowMs } = input;
  const { spec, target, primary, services, virtualService, canary } = observation;
  const scaled = primary === undefined ? [] : scaleTarget(observation, wantedReplicas(observation));
  if (scaled.length > 0) {
    return { effects: scaled, nextState: state, events: [], requeueAfterMs: 1000 };
  }
  const ready =
    target === undefined
      ? ({ kind: "ready" } as const)
      : readiness(target, spec.analysis.canaryReadyThreshold, spec.progressDeadlineSeconds, nowMs);
  // A target that cannot run must not keep its namespace from being deleted for ever.
  const isLate = nowMs - state.sinceMs >= spec.progressDeadlineSeconds * 1000;
  if (ready.kind !== "ready" && !isLate) {
    return {
      effects: [],
      nextState: state,
      events: [],
      message: ready.reason,
      requeueAfterMs: 5000,
    };
  }
  const service = target === undefined ? undefined : restoreService(observation, target);
  const route = restoreVirtualService(observation);
  const late = ready.kind === "ready" ? [] : [warning(`${ready.reason}; terminating anyway`)];
  const message = `Terminated canary ${nameOf(input)}`;
  return {
    effects: [
      ...(service === undefined
        ? []
        : ensure("applyResource", RESOURCES.service, services.apex, service, ["spec"])),
      ...(route === undefined
        ? []
        : ensure("routeTraffic", RESOURCES.virtualService, virtualService, route, ["spec"])),
    ],
    nextState: state,
    events: [...late, normal(message)],
    message,
    finalizers: (canary.metadata.finalizers ?? []).filter((name) => name !== FINALIZER),
  };
}

function nameOf({ observation: { canary } }: Input): string {
  return `${canary.metadata.name}.${canary.metadata.namespace}`;
}
