import type { Verdict } from "../../analysis/core/verdict.ts";
import type { Observation } from "./observation.ts";

/** What every guard and phase decides on. `verdicts` answer the plan, or are empty. */
export interface Input {
  readonly observation: Observation;
  readonly verdicts: readonly Verdict[];
  readonly nowMs: number;
}
