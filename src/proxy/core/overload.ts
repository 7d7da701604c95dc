/** How hard a resource is pressed, 0 (not at all) to 1 (used up), by the monitor's name. */
export type Pressures = ReadonlyMap<string, number>;

/** When an action begins, by the pressure of one resource. */
export type OverloadTrigger =
  | { readonly kind: "threshold"; readonly monitor: string; readonly at: number }
  /** In part above `from`, wholly from `to` on. */
  | {
      readonly kind: "scaled";
      readonly monitor: string;
      readonly from: number;
      readonly to: number;
    };

/** What is done against overload; `reduceTimeouts` shortens timers. */
export const OVERLOAD_ACTIONS = {
  "envoy.overload_actions.stop_accepting_requests": "stopAcceptingRequests",
  "envoy.overload_actions.disable_http_keepalive": "disableKeepalive",
  "envoy.overload_actions.stop_accepting_connections": "stopAcceptingConnections",
  "envoy.overload_actions.reject_incoming_connections": "rejectConnections",
  "envoy.overload_actions.reduce_timeouts": "reduceTimeouts",
} as const;

/** The name by which the data path knows an action. */
export type OverloadActionKind = (typeof OVERLOAD_ACTIONS)[keyof typeof OVERLOAD_ACTIONS];

/** How far each action goes now, 0..1. */
export type OverloadState = Readonly<Record<OverloadActionKind, number>>;

/** Nothing is overloaded. */
export const AT_EASE: OverloadState = {
  stopAcceptingRequests: 0,
  disableKeepalive: 0,
  stopAcceptingConnections: 0,
  rejectConnections: 0,
  reduceTimeouts: 0,
};

/** A timer that `reduceTimeouts` shortens, down to a duration or a part of it. */
export interface ScaledTimer {
  readonly timer: "connectionIdle" | "streamIdle";
  readonly minimum: { readonly ms: number } | { readonly part: number };
}

export interface OverloadAction {
  /** As configured. */
  readonly name: string;
  readonly kind: OverloadActionKind;
  readonly triggers: readonly OverloadTrigger[];
}

/** Where the pressure of a resource is read. */
export type ResourceMonitor =
  /** The process's memory (resident set) against this many bytes. */
  | { readonly kind: "memory"; readonly name: string; readonly maxBytes: number }
  /** A file that holds the pressure as a number. */
  | { readonly kind: "file"; readonly name: string; readonly path: string };

/** The overload manager of a bootstrap. */
export interface OverloadConfig {
  readonly refreshIntervalMs: number;
  readonly monitors: readonly ResourceMonitor[];
  readonly actions: readonly OverloadAction[];
  readonly timers: readonly ScaledTimer[];
  /** Of clients, in all listeners and threads; undefined = any number. */
  readonly maxConnections: number | undefined;
}

/** How far an action goes under these pressures, 0..1: as far as the trigger that asks for most. */
export function actionLevel(triggers: readonly OverloadTrigger[], pressures: Pressures): number {
  let level = 0;
  for (const trigger of triggers) {
    level = Math.max(level, triggerLevel(trigger, pressures.get(trigger.monitor) ?? 0));
  }
  return level;
}

function triggerLevel(trigger: OverloadTrigger, pressure: number): number {
  if (trigger.kind === "threshold") return pressure >= trigger.at ? 1 : 0;
  if (pressure <= trigger.from) return 0;
  if (pressure >= trigger.to) return 1;
  return (pressure - trigger.from) / (trigger.to - trigger.from);
}

/** How far each action goes under these pressures. */
export function overloadState(
  actions: readonly OverloadAction[],
  pressures: Pressures,
): OverloadState {
  const levels = actions.map(({ kind, triggers }) => [kind, actionLevel(triggers, pressures)]);
  return { ...AT_EASE, ...Object.fromEntries(levels) };
}

/** A timeout in milliseconds as `reduceTimeouts` leaves it; 0 stays "none". */
export function scaledTimeoutMs(
  timers: readonly ScaledTimer[],
  level: number,
  timer: ScaledTimer["timer"],
  timeoutMs: number,
): number {
  if (level === 0 || timeoutMs === 0) return timeoutMs;
  const found = timers.find((entry) => entry.timer === timer);
  if (found === undefined) return timeoutMs;
  const { minimum } = found;
  const least = Math.min(timeoutMs, "ms" in minimum ? minimum.ms : timeoutMs * minimum.part);
  return Math.max(1, least + (timeoutMs - least) * (1 - level));
}
