import type { envoy_type_v3_FractionalPercent } from "../../../xds/index.ts";

/** FractionalPercent.DenominatorType: HUNDRED, TEN_THOUSAND, MILLION. */
const DENOMINATORS = [100, 10_000, 1_000_000] as const;

/** 0..1; an absent percentage is 0. */
export function fraction(percent: envoy_type_v3_FractionalPercent | null | undefined): number {
  const denominator = DENOMINATORS[percent?.denominator ?? 0] ?? 100;
  return Math.min(1, (percent?.numerator ?? 0) / denominator);
}
