import type { RetryPolicy, RouteActionConfig } from "./config/runtime-config.ts";
import { headerMatches } from "./core/header-match.ts";
import {
  OVERRIDE_HEADERS,
  overriddenRetryPolicy,
  overriddenTimeoutMs,
} from "./core/request-overrides.ts";
import {
  formatGrpcTimeout,
  parseGrpcTimeout,
  responseTimeoutMs,
  streamDurationMs,
} from "./core/route-timeouts.ts";
import type { Exchange } from "./upstream/exchange.ts";

/** How long a request may take and how it is tried again. */
export interface RequestPolicy {
  /** 0 = none. */
  readonly timeoutMs: number;
  readonly streamDurationMs: number;
  readonly retry: RetryPolicy | undefined;
}

/**
 * The route's timeouts and retries as this request has them: with the headers of a caller that is
 * trusted, which are consumed, and with its `grpc-timeout`. Tells the upstream how long it has.
 */
export function requestPolicy(
  exchange: Exchange,
  action: Extract<RouteActionConfig, { kind: "forward" }>,
): RequestPolicy {
  const { headers } = exchange.head;
  const { timeouts, retry: policy } = action;
  const usesGrpcTimeout =
    timeouts.maxStreamDuration !== undefined || timeouts.maxGrpcTimeoutMs !== undefined;
  const isGrpc = usesGrpcTimeout && exchange.isGrpc;
  const grpcTimeoutMs = isGrpc ? parseGrpcTimeout(headers.get("grpc-timeout")) : undefined;
  let timeoutMs = responseTimeoutMs(timeouts, isGrpc, grpcTimeoutMs);
  let retry = policy;
  if (exchange.isInternal) {
    const read = (name: string): string | undefined => headers.get(name);
    timeoutMs = overriddenTimeoutMs(timeoutMs, read);
    retry = overriddenRetryPolicy(policy, read);
    for (const name of OVERRIDE_HEADERS) headers.remove(name);
  }
  if (retry !== undefined) retry = applicable(exchange, retry, timeoutMs);
  const expectedMs =
    retry !== undefined && retry.perTryTimeoutMs > 0 ? retry.perTryTimeoutMs : timeoutMs;
  if (expectedMs > 0) headers.set("x-envoy-expected-rq-timeout-ms", String(expectedMs));
  if (
    isGrpc &&
    timeouts.maxGrpcTimeoutMs !== undefined &&
    timeouts.maxStreamDuration === undefined
  ) {
    headers.set("grpc-timeout", formatGrpcTimeout(expectedMs));
  }
  const { maxStreamDurationMs } = exchange.manager;
  return {
    timeoutMs,
    streamDurationMs: streamDurationMs(timeouts, maxStreamDurationMs, grpcTimeoutMs),
    retry,
  };
}

/** The policy without what does not count for this request. */
function applicable(exchange: Exchange, policy: RetryPolicy, timeoutMs: number): RetryPolicy {
  let retry = policy;
  const { retriableRequestHeaders, perTryTimeoutMs } = policy;
  if (
    retriableRequestHeaders.length > 0 &&
    !retriableRequestHeaders.some((matcher) => headerMatches(matcher, exchange))
  ) {
    retry = { ...retry, retryOn: NOTHING };
  }
  // A try that may take as long as all tries together needs no deadline of its own.
  if (timeoutMs !== 0 && perTryTimeoutMs >= timeoutMs) retry = { ...retry, perTryTimeoutMs: 0 };
  return retry;
}

const NOTHING: ReadonlySet<string> = new Set();
