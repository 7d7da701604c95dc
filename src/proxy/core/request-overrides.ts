import type { RetryPolicy } from "./runtime-config.ts";

/** Reads a header of the request; all values joined by ",". */
type ReadHeader = (name: string) => string | undefined;

/** The headers by which a caller that is trusted says how its request is to be treated. */
export const OVERRIDE_HEADERS: readonly string[] = [
  "x-envoy-retry-on",
  "x-envoy-retry-grpc-on",
  "x-envoy-max-retries",
  "x-envoy-retriable-status-codes",
  "x-envoy-retriable-header-names",
  "x-envoy-upstream-rq-timeout-ms",
  "x-envoy-upstream-rq-per-try-timeout-ms",
  "x-envoy-hedge-on-per-try-timeout",
];

const RETRY_ON = new Set([
  "5xx",
  "gateway-error",
  "connect-failure",
  "envoy-ratelimited",
  "retriable-4xx",
  "refused-stream",
  "retriable-status-codes",
  "retriable-headers",
  "reset",
  "reset-before-request",
]);
const RETRY_GRPC_ON = new Set([
  "cancelled",
  "deadline-exceeded",
  "resource-exhausted",
  "unavailable",
  "internal",
]);

/** Envoy's policy where a route has none: nothing is retried until a header says so. */
const NO_POLICY: RetryPolicy = {
  retryOn: new Set(),
  retriableStatusCodes: new Set(),
  retriableHeaders: [],
  retriableRequestHeaders: [],
  numRetries: 1,
  perTryTimeoutMs: 0,
  perTryIdleTimeoutMs: 0,
  backoffBaseMs: 25,
  backoffMaxMs: 250,
  rateLimitedBackoff: undefined,
  avoidPreviousHosts: false,
  omitsCanaryHosts: false,
  previousPriorities: undefined,
  hostSelectionRetryMaxAttempts: 1,
};

/**
 * A route's policy as the request's own headers change it. Source: Envoy, router filter, "HTTP
 * headers (consumed)".
 */
export function overriddenRetryPolicy(
  policy: RetryPolicy | undefined,
  read: ReadHeader,
): RetryPolicy | undefined {
  const asked = [
    ...tokens(read("x-envoy-retry-on")).filter((token) => RETRY_ON.has(token)),
    ...tokens(read("x-envoy-retry-grpc-on")).filter((token) => RETRY_GRPC_ON.has(token)),
  ];
  const base = policy ?? NO_POLICY;
  const retryOn = new Set([...base.retryOn, ...asked]);
  const perTryTimeoutMs =
    count(read("x-envoy-upstream-rq-per-try-timeout-ms")) ?? base.perTryTimeoutMs;
  if (retryOn.size === 0) {
    return policy === undefined && perTryTimeoutMs === 0 ? undefined : { ...base, perTryTimeoutMs };
  }
  const codes = tokens(read("x-envoy-retriable-status-codes")).flatMap((code) => count(code) ?? []);
  const names = tokens(read("x-envoy-retriable-header-names"));
  return {
    ...base,
    retryOn,
    perTryTimeoutMs,
    numRetries: count(read("x-envoy-max-retries")) ?? base.numRetries,
    retriableStatusCodes: new Set([...base.retriableStatusCodes, ...codes]),
    retriableHeaders: [
      ...base.retriableHeaders,
      ...names.map((name) => ({
        name: name.toLowerCase(),
        matches: (value: string | undefined) => value !== undefined,
      })),
    ],
  };
}

/** A route's timeout as the request's own header changes it; 0 = none. */
export function overriddenTimeoutMs(timeoutMs: number, read: ReadHeader): number {
  return count(read("x-envoy-upstream-rq-timeout-ms")) ?? timeoutMs;
}

/** A whole number of at most ten digits; anything else counts as absent. */
function count(text: string | undefined): number | undefined {
  return text !== undefined && /^\d{1,10}$/.test(text) ? Number(text) : undefined;
}

function tokens(text: string | undefined): readonly string[] {
  return (text ?? "")
    .split(",")
    .map((token) => token.trim())
    .filter((token) => token !== "");
}
