import { tryParseDurationMs } from "../../base/index.ts";
import type { Observation } from "./observation.ts";
import { intervalMs, type MetricCheck } from "./spec.ts";

/** A check to make now; `windowMs` is how far it looks back. */
export interface PlannedCheck {
  readonly check: MetricCheck;
  readonly windowMs: number;
}

/** When the running step's next check is due, or undefined when no step's clock runs. */
export function nextCheckMs(observation: Observation): number | undefined {
  const { state, spec } = observation;
  if (state.kind !== "Progressing" || state.step.startedAtMs === undefined) return undefined;
  if (state.weight === 0 && !state.isMirrored) return undefined;
  return (state.step.checkedAtMs ?? state.step.startedAtMs) + intervalMs(spec);
}

/** What to measure in this pass; empty when nothing is due. */
export function plan(observation: Observation, nowMs: number): PlannedCheck[] {
  const dueMs = nextCheckMs(observation);
  if (observation.spec.suspend || dueMs === undefined || nowMs < dueMs) return [];
  return observation.spec.analysis.metrics.map((check) => ({
    check,
    windowMs: tryParseDurationMs(check.interval ?? "1m") ?? 60_000,
  }));
}
