/**
 * How long a step's clock waits for the proxies' acknowledgement. Beyond it the clock starts anyway,
 * with a warning: one stuck proxy must not hold every rollout, and the checks go on judging.
 */
export const ACK_LIMIT_MS = 30_000;
