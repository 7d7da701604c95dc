import type { Clock } from "../../runtime/index.ts";

/** What a timer can hold (24.8 days); Node fires longer ones at once. */
const LONGEST_MS = 2 ** 31 - 1;

/** As clock.schedule, for delays a user may have chosen: longer than 24.8 days is 24.8 days. */
export function schedule(clock: Clock, delayMs: number, callback: () => void): () => void {
  return clock.schedule(Math.min(LONGEST_MS, Math.max(0, delayMs)), callback);
}

/** Resolves after `delayMs`, or at once when the signal aborts: ask the signal afterwards. */
export function delay(clock: Clock, delayMs: number, signal: AbortSignal): Promise<void> {
  if (signal.aborted || delayMs <= 0) return Promise.resolve();
  const { promise, resolve } = Promise.withResolvers<void>();
  const wake = (): void => resolve();
  const cancel = schedule(clock, delayMs, wake);
  signal.addEventListener("abort", wake, { once: true });
  return promise.finally(() => {
    cancel();
    signal.removeEventListener("abort", wake);
  });
}
