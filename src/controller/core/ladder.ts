import type { CanarySpec } from "./spec.ts";

/**
 * The weight after `current`, or undefined at the end of the ladder. `stepWeight` overshoots as
 * Flagger's does (maxWeight 50, stepWeight 20: 20, 40, 60), but never beyond 100. With neither
 * field the first step is the last: 100.
 */
export function nextWeight(spec: CanarySpec, current: number): number | undefined {
  const { stepWeights, stepWeight, maxWeight } = spec.analysis;
  if (stepWeights.length > 0) return stepWeights.find((weight) => weight > current);
  if (current >= maxWeight) return undefined;
  return stepWeight === 0 ? 100 : Math.min(100, current + stepWeight);
}
