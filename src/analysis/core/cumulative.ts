/** The numbers of one cumulative sample: a counter is one, a histogram is `[count, sum, ...buckets]`. */
export type CumulativeRow = Float64Array;

/**
 * How much each number grew from one cumulative sample to the next, as Prometheus counts it: a
 * number that fell means that the process started again from zero, so all of `current` is new.
 * One process owns the whole row, hence one fallen number resets them all.
 */
export function growth(previous: CumulativeRow, current: CumulativeRow): CumulativeRow {
  const isReset = hasFallen(previous, current);
  return current.map((value, i) => (isReset ? value : value - (previous[i] ?? 0)));
}

function hasFallen(previous: CumulativeRow, current: CumulativeRow): boolean {
  return current.some((value, i) => value < (previous[i] ?? 0));
}
