/**
 * Notices a client that opens streams only to reset them (CVE-2023-44487), as Envoy does: after 500
 * streams, more than half of them reset within a second.
 */
export class PrematureResets {
  #closed = 0;
  #premature = 0;

  /** Counts a closed stream; true when the connection should end. */
  closed(isPremature: boolean): boolean {
    this.#closed += 1;
    if (isPremature) this.#premature += 1;
    return this.#closed >= 500 && this.#premature * 2 > this.#closed;
  }
}
