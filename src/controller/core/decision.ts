import type { KubeObject, ResourceType } from "../../api/index.ts";
import { canonicalJson, covers } from "./json.ts";
import type { RolloutState } from "./state.ts";

/** One write to the API, complete: made only when the object differs from what was observed. */
export interface Effect {
  readonly kind: "applyResource" | "routeTraffic" | "scaleWorkload" | "copyTargetToPrimary";
  readonly verb: "create" | "update";
  readonly type: ResourceType;
  readonly object: KubeObject;
}

export interface Announcement {
  readonly type: "Normal" | "Warning";
  readonly message: string;
}

/** What one pass does: the effects in order, then one status write, then the announcements. */
export interface Decision {
  readonly effects: readonly Effect[];
  readonly nextState: RolloutState;
  readonly events: readonly Announcement[];
  /** Kept in status.message; undefined leaves what is there. */
  readonly message?: string | undefined;
  /** What metadata.finalizers of the Canary are to be; written last. */
  readonly finalizers?: readonly string[] | undefined;
  /** When to look again without an event; undefined waits for one. */
  readonly requeueAfterMs?: number | undefined;
}

export const normal = (message: string): Announcement => ({ type: "Normal", message });
export const warning = (message: string): Announcement => ({ type: "Warning", message });

/**
 * The effect that turns `existing` into `desired`, or none when it already is. What the API server
 * adds (defaults) is no difference, except in `wholeFields`: nobody fills those in, so that what is
 * only in `existing` was said once and has to go.
 */
export function ensure(
  kind: Effect["kind"],
  type: ResourceType,
  existing: KubeObject | undefined,
  desired: KubeObject,
  wholeFields: readonly string[] = [],
): Effect[] {
  if (existing === undefined) return [{ kind, verb: "create", type, object: desired }];
  const isWhole = wholeFields.every(
    (field) => canonicalJson(existing[field]) === canonicalJson(desired[field]),
  );
  if (isWhole && covers(existing, desired)) return [];
  return [{ kind, verb: "update", type, object: desired }];
}
