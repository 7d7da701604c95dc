/** Envoy's default histogram buckets: inclusive upper bounds, without +Inf. */
export const ENVOY_BUCKETS = [
  0.5, 1, 5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10_000, 30_000, 60_000, 300_000, 600_000,
  1_800_000, 3_600_000,
] as const;

const BOUNDS = Float64Array.from(ENVOY_BUCKETS);

/** A histogram as it crosses threads: the counts of its buckets, not cumulative. */
export interface HistogramSnapshot {
  readonly counts: readonly number[];
  readonly sum: number;
  readonly count: number;
}

/** Counts of observations per bucket; cumulative only when read. No allocation per observation. */
export class Histogram {
  /** One more than there are bounds: the last is above all of them. */
  readonly #counts = new Float64Array(BOUNDS.length + 1);
  #sum = 0;
  #count = 0;

  observe(value: number): void {
    let low = 0;
    let high = BOUNDS.length;
    // First bound that is not below the value.
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((BOUNDS[middle] as number) < value) low = middle + 1;
      else high = middle;
    }
    this.#counts[low] = (this.#counts[low] as number) + 1;
    this.#sum += value;
    this.#count += 1;
  }

  /** Everything observed, as data. */
  snapshot(): HistogramSnapshot {
    return { counts: [...this.#counts], sum: this.#sum, count: this.#count };
  }

  /** Adds what another histogram observed. */
  add({ counts, sum, count }: HistogramSnapshot): void {
    for (const [i, each] of counts.entries()) this.#counts[i] = (this.#counts[i] ?? 0) + each;
    this.#sum += sum;
    this.#count += count;
  }

  get count(): number {
    return this.#count;
  }

  get sum(): number {
    return this.#sum;
  }

  /** Cumulative count per bound of ENVOY_BUCKETS, ascending. */
  cumulative(): { readonly upperBound: number; readonly count: number }[] {
    let total = 0;
    return ENVOY_BUCKETS.map((upperBound, i) => {
      total += this.#counts[i] ?? 0;
      return { upperBound, count: total };
    });
  }
}
