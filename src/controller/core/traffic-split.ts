/** Shares of traffic in whole percent; primary + canary is always 100. */
export interface TrafficSplit {
  readonly primary: number;
  readonly canary: number;
}

/** The split that gives the canary `percent` (whole, 0..100). Throws RangeError on anything else. */
export function trafficSplit(percent: number): TrafficSplit {
  if (!Number.isInteger(percent) || percent < 0 || percent > 100) {
    throw new RangeError(`canary weight must be a whole number 0..100 (found ${percent})`);
  }
  return { primary: 100 - percent, canary: percent };
}
