import { z } from "zod";
import type { KubeObject } from "../../api/index.ts";
import { formatPath, SerinError } from "../../base/index.ts";

export const PHASES = [
  ...["Initializing", "Initialized", "Waiting", "Progressing", "WaitingPromotion", "Promoting"],
  ...["Finalising", "Succeeded", "Failed", "Terminating"],
] as const;

/** What was last applied and promoted. `specHash` values of ours begin with `v2:`. */
export interface Tracking {
  readonly applied: string;
  readonly promoted: string;
  /** `configmap/x` or `secret/x` to checksum. */
  readonly configs: Readonly<Record<string, string>>;
}

/** Where a step stands. `routedAtMs`: weights written; `startedAtMs`: every proxy has them. */
export interface Step {
  readonly routedAtMs: number;
  readonly startedAtMs?: number | undefined;
  /** When the last check was done; the next is one interval later. */
  readonly checkedAtMs?: number | undefined;
  /** Since when the metrics provider cannot be asked. */
  readonly unavailableSinceMs?: number | undefined;
}

/** A rollout between two passes. Weights exist only where traffic may be split. */
export type RolloutState =
  | { readonly kind: "New" }
  | { readonly kind: "Initializing" }
  | { readonly kind: "Initialized"; readonly tracking: Tracking }
  | {
      readonly kind: "Progressing";
      readonly tracking: Tracking;
      readonly weight: number;
      readonly failedChecks: number;
      readonly isMirrored: boolean;
      readonly step: Step;
    }
  | {
      readonly kind: "Promoting" | "Finalising";
      readonly tracking: Tracking;
      readonly weight: number;
      readonly sinceMs: number;
    }
  | { readonly kind: "Succeeded"; readonly tracking: Tracking }
  | { readonly kind: "Terminating"; readonly sinceMs: number }
  | {
      readonly kind: "Failed";
      readonly tracking: Tracking;
      readonly weight: number;
      readonly sinceMs: number;
      readonly isScaledDown: boolean;
    };

const schema = z.object({
  phase: z.string().default(""),
  canaryWeight: z.int().min(0).max(100).default(0),
  failedChecks: z.int().min(0).default(0),
  lastAppliedSpec: z.string().default(""),
  lastPromotedSpec: z.string().default(""),
  trackedConfigs: z.record(z.string(), z.string()).nullish(),
  lastTransitionTime: z.string().optional(),
  /** Serin's own: times in milliseconds since the epoch. */
  rollout: z
    .object({
      routedAtMs: z.number(),
      startedAtMs: z.number().optional(),
      checkedAtMs: z.number().optional(),
      unavailableSinceMs: z.number().optional(),
      isMirrored: z.boolean().default(false),
      isScaledDown: z.boolean().default(true),
    })
    .optional(),
});

/**
 * Reads the flat status. A status of Flagger (no `rollout` field) is taken over with its step
 * starting at `nowMs`. Throws SERIN_IMPOSSIBLE_STATUS, naming the field, when it contradicts itself.
 */
export function parseStatus(canary: KubeObject, nowMs: number): RolloutState {
  const parsed = schema.safeParse(canary["status"] ?? {});
  if (!parsed.success) {
    const [issue] = parsed.error.issues;
    throw impossible(canary, `${formatPath(issue?.path ?? [])}: ${issue?.message ?? "unreadable"}`);
  }
  const status = parsed.data;
  const tracking: Tracking = {
    applied: status.lastAppliedSpec,
    promoted: status.lastPromotedSpec,
    configs: status.trackedConfigs ?? {},
  };
  const { rollout, canaryWeight: weight, failedChecks } = status;
  const sinceMs = rollout?.routedAtMs ?? nowMs;
  if (["", "Initializing", "Initialized", "Succeeded"].includes(status.phase) && weight > 0) {
    throw impossible(
      canary,
      `canaryWeight: must be 0 in phase ${status.phase || '""'} (found ${weight})`,
    );
  }
  switch (status.phase) {
    case "":
      return { kind: "New" };
    case "Initializing":
      return { kind: "Initializing" };
    case "Initialized":
    case "Succeeded":
      return { kind: status.phase, tracking };
    // The gates that lead to these two are not built: an analysis taken over from Flagger goes on.
    case "Waiting":
    case "WaitingPromotion":
    case "Progressing": {
      const isMirrored = rollout?.isMirrored ?? false;
      const step: Step = {
        routedAtMs: sinceMs,
        startedAtMs: rollout?.startedAtMs,
        checkedAtMs: rollout?.checkedAtMs,
        unavailableSinceMs: rollout?.unavailableSinceMs,
      };
      return { kind: "Progressing", tracking, weight, failedChecks, isMirrored, step };
    }
    case "Promoting":
    case "Finalising":
      return { kind: status.phase, tracking, weight, sinceMs };
    case "Failed":
      return {
        kind: "Failed",
        tracking,
        weight,
        sinceMs,
        isScaledDown: rollout?.isScaledDown ?? true,
      };
    case "Terminating":
      return { kind: "Terminating", sinceMs };
    default:
      throw impossible(
        canary,
        `phase: ${JSON.stringify(status.phase)} is not one of ${PHASES.join(", ")}`,
      );
  }
}

/** Writes the flat status; `message` is the last thing there was to say. */
export function encodeStatus(
  state: Exclude<RolloutState, { kind: "New" }>,
  message: string,
  previous: unknown,
  nowMs: number,
): Readonly<Record<string, unknown>> {
  const now = Temporal.Instant.fromEpochMilliseconds(nowMs).round("second").toString();
  const tracking = "tracking" in state ? state.tracking : undefined;
  return {
    phase: state.kind,
    canaryWeight: "weight" in state ? state.weight : 0,
    failedChecks: "failedChecks" in state ? state.failedChecks : 0,
    iterations: 0,
    ...(tracking === undefined
      ? {}
      : {
          lastAppliedSpec: tracking.applied,
          lastPromotedSpec: tracking.promoted,
          trackedConfigs: tracking.configs,
        }),
    lastTransitionTime: now,
    message,
    rollout: rolloutFields(state, nowMs),
    conditions: [promotedCondition(state.kind, previous, now)],
  };
}

const CONDITIONS = {
  Initializing: ["Unknown", "New Deployment detected, starting initialization."],
  Initialized: ["True", "Deployment initialization completed."],
  Progressing: ["Unknown", "New revision detected, progressing canary analysis."],
  Promoting: ["Unknown", "Canary analysis completed, starting primary rolling update."],
  Finalising: ["Unknown", "Canary analysis completed, routing all traffic to primary."],
  Succeeded: ["True", "Canary analysis completed successfully, promotion finished."],
  Terminating: ["Unknown", "New Deployment detected, starting initialization."],
  Failed: ["False", "Canary analysis failed, Deployment scaled to zero."],
} as const satisfies Record<string, readonly [string, string]>;

function promotedCondition(kind: keyof typeof CONDITIONS, previous: unknown, now: string): unknown {
  const [status, message] = CONDITIONS[kind];
  const old = z
    .object({
      conditions: z.array(
        z.object({ type: z.string(), status: z.string(), lastTransitionTime: z.string() }),
      ),
    })
    .safeParse(previous)
    .data?.conditions.find((c) => c.type === "Promoted");
  const lastTransitionTime = old?.status === status ? old.lastTransitionTime : now;
  return {
    type: "Promoted",
    status,
    reason: kind,
    message,
    lastUpdateTime: now,
    lastTransitionTime,
  };
}

function rolloutFields(state: RolloutState, nowMs: number): unknown {
  if (state.kind === "Progressing") return { ...state.step, isMirrored: state.isMirrored };
  if (state.kind === "Failed")
    return { routedAtMs: state.sinceMs, isScaledDown: state.isScaledDown };
  return { routedAtMs: "sinceMs" in state ? state.sinceMs : nowMs };
}

function impossible(canary: KubeObject, what: string): SerinError {
  const { namespace, name } = canary.metadata;
  return new SerinError("SERIN_IMPOSSIBLE_STATUS", `Canary ${namespace}/${name}: status.${what}`, {
    source: "caller",
  });
}
