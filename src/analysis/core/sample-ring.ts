/**
 * The samples of one series, oldest first, in typed arrays: each sample is a time and a row of
 * `width` numbers that only ever grow (resets are already taken out).
 *
 * ```
 *   base │ oldest … newest │ free
 *   row  │ times[head]     │ grows by doubling up to maxSamples, then the oldest makes room
 * ```
 * `base` is the row as it was before the oldest sample: what a window that starts earlier than
 * everything retained counts from.
 */
export class SampleRing {
  readonly #width: number;
  readonly #maxSamples: number;
  readonly #base: Float64Array;
  #times: Float64Array;
  #rows: Float64Array;
  #head = 0;
  #length = 0;

  /** `base` gives the row before the first sample and, by its length, the width. */
  constructor(base: Float64Array, maxSamples: number) {
    this.#width = base.length;
    this.#maxSamples = Math.max(1, maxSamples);
    this.#base = Float64Array.from(base);
    const capacity = Math.min(8, this.#maxSamples);
    this.#times = new Float64Array(capacity);
    this.#rows = new Float64Array(capacity * this.#width);
  }

  get length(): number {
    return this.#length;
  }

  /** Time of the newest sample, or undefined when there is none. */
  get newestMs(): number | undefined {
    return this.#length === 0 ? undefined : this.#times[this.#slot(this.#length - 1)];
  }

  /** The newest row (the base when there is no sample). A view: copy it to keep it. */
  newest(): Float64Array {
    return this.#length === 0 ? this.#base : this.#row(this.#length - 1);
  }

  /** Appends a row. A sample at the time of the newest, or before it, replaces the newest. */
  push(timeMs: number, row: Float64Array): void {
    const newestMs = this.newestMs;
    if (newestMs !== undefined && timeMs <= newestMs) {
      this.#row(this.#length - 1).set(row);
      return;
    }
    if (this.#length === this.#times.length) this.#makeRoom();
    const slot = this.#slot(this.#length);
    this.#length += 1;
    this.#times[slot] = timeMs;
    this.#rows.set(row, slot * this.#width);
  }

  /** Drops samples older than `beforeMs`; what they held becomes the base. */
  dropBefore(beforeMs: number): void {
    while (this.#length > 0 && (this.#times[this.#head] ?? 0) < beforeMs) this.#dropOldest();
  }

  /**
   * Adds to `into` how much each number grew after `startMs`: newest row minus the row that held at
   * `startMs`. O(log samples).
   */
  addIncrease(startMs: number, into: Float64Array): void {
    const before = this.#countUpTo(startMs);
    const from = before === 0 ? this.#base : this.#row(before - 1);
    const to = this.newest();
    for (let i = 0; i < this.#width; i += 1) {
      into[i] = (into[i] ?? 0) + (to[i] ?? 0) - (from[i] ?? 0);
    }
  }

  /** How many samples are at or before `timeMs`. */
  #countUpTo(timeMs: number): number {
    let low = 0;
    let high = this.#length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((this.#times[this.#slot(middle)] ?? 0) <= timeMs) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  #slot(index: number): number {
    return (this.#head + index) % this.#times.length;
  }

  #row(index: number): Float64Array {
    const start = this.#slot(index) * this.#width;
    return this.#rows.subarray(start, start + this.#width);
  }

  #dropOldest(): void {
    this.#base.set(this.#row(0));
    this.#head = this.#slot(1);
    this.#length -= 1;
  }

  #makeRoom(): void {
    const capacity = Math.min(this.#maxSamples, this.#times.length * 2);
    if (capacity === this.#times.length) {
      this.#dropOldest();
      return;
    }
    const times = new Float64Array(capacity);
    const rows = new Float64Array(capacity * this.#width);
    for (let i = 0; i < this.#length; i += 1) {
      times[i] = this.#times[this.#slot(i)] ?? 0;
      rows.set(this.#row(i), i * this.#width);
    }
    this.#times = times;
    this.#rows = rows;
    this.#head = 0;
  }
}
