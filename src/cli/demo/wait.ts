import { setTimeout as sleep } from "node:timers/promises";
import { formatDurationMs, SerinError } from "../../base/index.ts";

export interface WaitOptions {
  /** What is awaited, for the lines that say so: `reviews to be initialized`. */
  readonly what: string;
  readonly timeoutMs: number;
  readonly signal: AbortSignal;
  readonly nowMs: () => number;
  readonly onProgress: (line: string) => void;
  /** Where it stands, for those lines. */
  readonly detail?: () => string;
}

const PERIOD_MS = 100;
const FIRST_LINE_MS = 1000;
const NEXT_LINES_MS = 5000;

/**
 * Asks until there is an answer, saying so when it takes longer than a second. Throws
 * SERIN_UNAVAILABLE after `timeoutMs`, and the signal's reason when it aborts.
 */
export async function waitFor<T>(
  ask: () => T | undefined | Promise<T | undefined>,
  options: WaitOptions,
): Promise<T> {
  const { what, timeoutMs, signal, nowMs, onProgress } = options;
  const startMs = nowMs();
  const detail = (): string => (options.detail === undefined ? "" : `: ${options.detail()}`);
  let nextLineMs = startMs + FIRST_LINE_MS;
  for (;;) {
    signal.throwIfAborted();
    const answer = await ask();
    if (answer !== undefined) return answer;
    const waitedMs = nowMs() - startMs;
    if (waitedMs > timeoutMs) {
      throw new SerinError(
        "SERIN_UNAVAILABLE",
        `gave up after ${formatDurationMs(timeoutMs)} waiting for ${what}${detail()}`,
      );
    }
    if (nowMs() >= nextLineMs) {
      onProgress(`waiting for ${what} (${Math.round(waitedMs / 1000)} s)${detail()}`);
      nextLineMs = nowMs() + NEXT_LINES_MS;
    }
    await sleep(PERIOD_MS, undefined, { signal });
  }
}
