/** What gathers bytes over several reads of one turn of the event loop. */
export interface LateFlush {
  /** Its turn to flush has been asked for. Kept by `flushLater`. */
  isFlushDue: boolean;
  flushNow(): void;
}

const due: LateFlush[] = [];

/**
 * Flushes at the end of this turn of the event loop. For reads that filled their buffer: the rest of
 * the message most likely comes in the same turn, and one write costs less than several.
 */
export function flushLater(target: LateFlush): void {
  if (target.isFlushDue) return;
  target.isFlushDue = true;
  due.push(target);
  if (due.length === 1) setImmediate(flushDue);
}

function flushDue(): void {
  for (const target of due.splice(0)) {
    target.isFlushDue = false;
    target.flushNow();
  }
}
