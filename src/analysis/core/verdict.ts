/** Inclusive bounds, as Flagger's thresholdRange: a value on a bound passes. */
export interface ThresholdRange {
  readonly min?: number;
  readonly max?: number;
}

/**
 * What a check says. Never a boolean: "no data" and "could not ask" are answers of their own.
 *
 * - `pass`, `fail`: the value was measured and compared.
 * - `inconclusive`: asked and answered, but with no or too little data (no traffic). Flagger counts
 *   it as a failed check, and so does the state machine by default.
 * - `unavailable`: the provider could not be asked. It never counts as failed; it holds the step.
 */
export type Verdict =
  | {
      readonly kind: "pass";
      readonly metric: string;
      readonly value: number;
      readonly range: ThresholdRange;
    }
  | {
      readonly kind: "fail";
      readonly metric: string;
      readonly value: number;
      readonly range: ThresholdRange;
    }
  | { readonly kind: "inconclusive"; readonly metric: string; readonly reason: string }
  | { readonly kind: "unavailable"; readonly metric: string; readonly reason: string };

/**
 * Compares a measured value with its range. `undefined` or NaN is `inconclusive` with `reason`.
 */
export function judge(
  metric: string,
  value: number | undefined,
  range: ThresholdRange,
  reasonIfAbsent: string,
): Verdict {
  if (value === undefined || Number.isNaN(value)) {
    return { kind: "inconclusive", metric, reason: reasonIfAbsent };
  }
  const isBelow = range.min !== undefined && value < range.min;
  const isAbove = range.max !== undefined && value > range.max;
  return { kind: isBelow || isAbove ? "fail" : "pass", metric, value, range };
}
