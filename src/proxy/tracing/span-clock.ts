/** A reading of `performance.now()` as microseconds since the epoch. */
export function microsAt(atMs: number): number {
  return Math.round((performance.timeOrigin + atMs) * 1000);
}

/** Microseconds since the epoch, of a clock that never goes back. */
export function nowMicros(): number {
  return microsAt(performance.now());
}
