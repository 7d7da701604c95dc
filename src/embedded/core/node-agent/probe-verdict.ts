import type { Probe } from "./pod.ts";

/** What a probe says by now; `streak` counts equal results in a row. */
export interface ProbeState {
  readonly verdict: "unknown" | "success" | "failure";
  readonly isLastOk: boolean | undefined;
  readonly streak: number;
}

export const UNPROBED: ProbeState = { verdict: "unknown", isLastOk: undefined, streak: 0 };

/** Takes in one result: the verdict changes once a threshold is reached (kubelet's prober worker). */
export function foldProbe(
  state: ProbeState,
  isOk: boolean,
  probe: Pick<Probe, "successThreshold" | "failureThreshold">,
): ProbeState {
  const streak = state.isLastOk === isOk ? state.streak + 1 : 1;
  const threshold = isOk ? probe.successThreshold : probe.failureThreshold;
  const reached = isOk ? "success" : "failure";
  return { verdict: streak >= threshold ? reached : state.verdict, isLastOk: isOk, streak };
}
