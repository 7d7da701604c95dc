import { type Decision, warning } from "./decision.ts";
import { infrastructure } from "./infrastructure.ts";
import type { Input } from "./input.ts";
import { finalise } from "./phases/finalising.ts";
import { rest } from "./phases/idle.ts";
import { initialise } from "./phases/initializing.ts";
import { progress, restartOnNewRevision } from "./phases/progressing.ts";
import { promote } from "./phases/promoting.ts";
import { keepsFinalizer, terminates } from "./phases/terminating.ts";
import { ignoredFields, unsupportedFields } from "./spec.ts";

type Guard = (input: Input) => Decision | undefined;

/** In order: the first that speaks wins, and the phase is not asked. */
export const GUARDS = [
  terminates,
  isNew,
  keepsFinalizer,
  isSuspended,
  asksForMore,
  hasNoTarget,
  adoptsForeignHash,
  restartOnNewRevision,
  repairsInfrastructure,
] as const satisfies readonly Guard[];

/** What to do now. Pure: the same input gives the same decision. */
export function decide(input: Input): Decision {
  for (const guard of GUARDS) {
    const decision = guard(input);
    if (decision !== undefined) return decision;
  }
  const { state } = input.observation;
  switch (state.kind) {
    case "New":
    case "Initializing":
      return initialise(input);
    case "Initialized":
    case "Succeeded":
    case "Failed":
      return rest(input, state);
    case "Progressing":
      return progress(input, state);
    case "Promoting":
      return promote(input, state);
    case "Finalising":
      return finalise(input, state);
    case "Terminating":
      // Its guard has spoken already: a deletion cannot be taken back.
      return { effects: [], nextState: state, events: [] };
  }
}

function isNew({ observation }: Input): Decision | undefined {
  if (observation.state.kind !== "New") return undefined;
  const ignored = ignoredFields(observation.spec).map((field) =>
    warning(`${field} is not supported yet and does nothing`),
  );
  return { effects: [], nextState: { kind: "Initializing" }, events: ignored, requeueAfterMs: 0 };
}

/** Freezes everything: no analysis, no drift repair. */
function isSuspended({ observation: { spec, state, canary } }: Input): Decision | undefined {
  if (!spec.suspend) return undefined;
  const message = `Canary ${canary.metadata.name}.${canary.metadata.namespace} suspended`;
  return { effects: [], nextState: state, events: [], message };
}

function asksForMore({ observation: { spec, state } }: Input): Decision | undefined {
  const fields = unsupportedFields(spec);
  if (fields.length === 0) return undefined;
  const message = `not supported yet: ${fields.join(", ")}; the rollout is held`;
  return { effects: [], nextState: state, events: [warning(message)], message };
}

function hasNoTarget({
  observation: { spec, state, canary, target },
}: Input): Decision | undefined {
  if (target !== undefined) return undefined;
  const message = `deployment ${spec.targetRef.name}.${canary.metadata.namespace} not found`;
  return { effects: [], nextState: state, events: [warning(message)], message };
}

/**
 * A hash that is not ours (Flagger's, or of another version) says nothing about whether the
 * template changed: it is adopted, never taken for a new revision.
 */
function adoptsForeignHash({ observation }: Input): Decision | undefined {
  const { state, targetHash } = observation;
  if (!("tracking" in state) || state.tracking.applied.startsWith("v2:")) return undefined;
  const promoted = state.kind === "Initialized" || state.kind === "Succeeded";
  const tracking = {
    ...state.tracking,
    applied: targetHash,
    ...(promoted ? { promoted: targetHash } : {}),
  };
  return { effects: [], nextState: { ...state, tracking }, events: [], requeueAfterMs: 0 };
}

function repairsInfrastructure({ observation }: Input): Decision | undefined {
  const { state } = observation;
  if (state.kind === "Initializing" || state.kind === "New") return undefined;
  const effects = infrastructure(observation);
  return effects.length === 0
    ? undefined
    : { effects, nextState: state, events: [], requeueAfterMs: 0 };
}
