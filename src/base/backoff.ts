export interface BackoffOptions {
  readonly baseMs: number;
  readonly maxMs: number;
}

/**
 * Exponential back-off with full jitter: uniform in [0, min(maxMs, baseMs × 2^attempt)].
 * `attempt` counts from 0; `random` is a number in [0, 1).
 * Source: AWS Architecture Blog, "Exponential Backoff And Jitter" (full jitter).
 */
export function backoffMs(attempt: number, options: BackoffOptions, random: number): number {
  return Math.min(options.maxMs, options.baseMs * 2 ** Math.min(attempt, 30)) * random;
}
