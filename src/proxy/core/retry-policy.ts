import type { UpstreamReset } from "./rescue.ts";

interface RetryPolicyLike {
  readonly retryOn: ReadonlySet<string>;
  readonly retriableStatusCodes: ReadonlySet<number>;
}

/**
 * Whether a response's status asks for another try under Envoy's `retry_on`. `isRateLimited`: the
 * response carries `x-envoy-ratelimited`, which only `envoy-ratelimited` retries.
 */
export function retriesResponse(
  policy: RetryPolicyLike,
  status: number,
  isRateLimited: boolean,
  grpcStatus: string | undefined,
): boolean {
  const on = policy.retryOn;
  if (isRateLimited) return on.has("envoy-ratelimited");
  if (status >= 500 && on.has("5xx")) return true;
  if ((status === 502 || status === 503 || status === 504) && on.has("gateway-error")) return true;
  if (status === 409 && on.has("retriable-4xx")) return true;
  if (on.has("retriable-status-codes") && policy.retriableStatusCodes.has(status)) return true;
  const token = grpcStatus === undefined ? undefined : GRPC_TOKENS[grpcStatus];
  return token !== undefined && on.has(token);
}

const GRPC_TOKENS: Readonly<Record<string, string>> = {
  "1": "cancelled",
  "4": "deadline-exceeded",
  "8": "resource-exhausted",
  "13": "internal",
  "14": "unavailable",
};

/**
 * Whether an attempt that died before its response began is tried again. `hasStarted`: bytes of
 * the request had been written. An overflow is never retried: that would only add load.
 */
export function retriesReset(
  policy: RetryPolicyLike,
  reason: UpstreamReset["reason"] | "per try timeout",
  hasStarted: boolean,
): boolean {
  const on = policy.retryOn;
  if (reason === "overflow") return false;
  if (on.has("5xx") || on.has("gateway-error") || on.has("reset")) return true;
  if (on.has("reset-before-request") && !hasStarted) return true;
  if (reason === "remote refused stream reset" && on.has("refused-stream")) return true;
  const isConnectFailure =
    reason === "remote connection failure" || reason === "connection timeout";
  return isConnectFailure && on.has("connect-failure");
}

/**
 * The wait before retry number `retry` (from 1): uniform in [0, min(max, (2^retry − 1) × base)).
 * Source: Envoy, router filter, x-envoy-max-retries.
 */
export function retryBackoffMs(
  policy: { readonly backoffBaseMs: number; readonly backoffMaxMs: number },
  retry: number,
  random: number,
): number {
  const ceiling = (2 ** Math.min(retry, 30) - 1) * policy.backoffBaseMs;
  return Math.min(policy.backoffMaxMs, ceiling) * random;
}
