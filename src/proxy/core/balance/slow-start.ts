/** How a host that has just come gets its share: little at first, all of it after the window. */
export interface SlowStartConfig {
  readonly windowMs: number;
  /** 1 = linear; above, it rises fast at first. More than 0. */
  readonly aggression: number;
  /** Never less than this part of its weight, 0..1. */
  readonly minWeightFraction: number;
}

/**
 * The part (0..1] of its weight that a host gets `ageMs` after it became healthy.
 * Source: Envoy docs, "Slow start mode".
 */
export function slowStartFactor(config: SlowStartConfig, ageMs: number): number {
  const { windowMs, aggression, minWeightFraction } = config;
  if (ageMs >= windowMs) return 1;
  const elapsed = Math.max(1, ageMs) / windowMs;
  return Math.max(elapsed ** (1 / aggression), minWeightFraction);
}
