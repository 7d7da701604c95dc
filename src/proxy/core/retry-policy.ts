import { type HeaderValues, headerMatches } from "./header-match.ts";
import type { UpstreamReset } from "./rescue.ts";
import type { HeaderMatcher } from "./runtime-config.ts";

interface RetryPolicyLike {
  readonly retryOn: ReadonlySet<string>;
  readonly retriableStatusCodes: ReadonlySet<number>;
  readonly retriableHeaders: readonly HeaderMatcher[];
}

/** What a retry is decided by of a response. */
export interface RetryResponse {
  readonly status: number;
  readonly headers: HeaderValues;
}

/** Whether a response asks for another try under Envoy's `retry_on`. */
export function retriesResponse(policy: RetryPolicyLike, response: RetryResponse): boolean {
  const on = policy.retryOn;
  const { status, headers } = response;
  // It was another Envoy's rate limit: only this token asks for more of it.
  if (headers.get("x-envoy-ratelimited") !== undefined) return on.has("envoy-ratelimited");
  if (status >= 500 && status < 600 && on.has("5xx")) return true;
  if ((status === 502 || status === 503 || status === 504) && on.has("gateway-error")) return true;
  if (status === 409 && on.has("retriable-4xx")) return true;
  if (on.has("retriable-status-codes") && policy.retriableStatusCodes.has(status)) return true;
  if (on.has("retriable-headers")) {
    const { retriableHeaders } = policy;
    if (retriableHeaders.some((matcher) => headerMatches(matcher, headers))) {
      return true;
    }
  }
  const grpcStatus = headers.get("grpc-status");
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
  policy: Pick<RetryPolicyLike, "retryOn">,
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

/** Waits as long as the upstream asks for, where it does. */
export interface RateLimitedBackoff {
  /** A longer wait is not believed. */
  readonly maxIntervalMs: number;
  /** The first that holds a sensible value counts. */
  readonly resetHeaders: readonly {
    readonly name: string;
    /** Seconds from now, or since the epoch. */
    readonly format: "seconds" | "unixTimestamp";
  }[];
}

/**
 * The wait that a response asks for, with up to half of it on top so that not all come back at once;
 * undefined when it asks for none. `nowMs` since the epoch, `random` in [0, 1).
 * Source: Envoy, RetryPolicy.rate_limited_retry_back_off.
 */
export function rateLimitedBackoffMs(
  { maxIntervalMs, resetHeaders }: RateLimitedBackoff,
  { headers }: Pick<RetryResponse, "headers">,
  nowMs: number,
  random: number,
): number | undefined {
  for (const { name, format } of resetHeaders) {
    const text = headers.get(name);
    if (text === undefined || !/^\d{1,12}$/.test(text)) continue;
    const givenMs = Number(text) * 1000;
    const waitMs = format === "seconds" ? givenMs : givenMs - Math.floor(nowMs / 1000) * 1000;
    if (waitMs < 0 || waitMs > maxIntervalMs) continue;
    return waitMs + random * (waitMs / 2);
  }
  return undefined;
}
