/** One bucket of a classic histogram: how many observations were at most `upperBound`. */
export interface Bucket {
  /** Inclusive; the last bucket's is Infinity. */
  readonly upperBound: number;
  /** Cumulative: includes every lower bucket. */
  readonly count: number;
}

/**
 * Prometheus' `histogram_quantile` for classic histograms: the `q`-quantile by linear interpolation
 * inside the bucket it falls in. `buckets` ascend by bound and end with Infinity.
 *
 * - No observations, fewer than two buckets or no +Inf bucket: undefined (Prometheus: NaN).
 * - In the +Inf bucket: the highest finite bound; nobody knows how far beyond it is.
 * - The lowest bucket starts at 0, unless its bound is not positive: then the answer is that bound.
 * - Counts that fall (series scraped at different moments) are raised to the one before.
 *
 * `q` is in (0, 1]. Source: prometheus/promql/quantile.go, BucketQuantile.
 */
export function histogramQuantile(q: number, buckets: readonly Bucket[]): number | undefined {
  if (buckets.length < 2 || buckets.at(-1)?.upperBound !== Number.POSITIVE_INFINITY) {
    return undefined;
  }
  const counts = monotonic(buckets);
  const total = counts.at(-1) ?? 0;
  if (!(total > 0)) return undefined;
  const rank = q * total;
  const index = counts.findIndex((count) => count >= rank);
  const bound = (i: number): number => buckets[i]?.upperBound ?? 0;
  // Floating point can put `rank` a hair above the last count: that is the last bucket too.
  if (index === -1 || index === buckets.length - 1) return bound(buckets.length - 2);
  if (index === 0 && bound(0) <= 0) return bound(0);
  const start = index === 0 ? 0 : bound(index - 1);
  const below = index === 0 ? 0 : (counts[index - 1] ?? 0);
  const inside = (counts[index] ?? 0) - below;
  if (inside === 0) return undefined;
  return start + (bound(index) - start) * ((rank - below) / inside);
}

function monotonic(buckets: readonly Bucket[]): number[] {
  let highest = 0;
  return buckets.map(({ count }) => {
    highest = Math.max(highest, count);
    return highest;
  });
}
