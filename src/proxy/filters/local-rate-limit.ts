import type { LocalRateLimitConfig } from "../config/runtime-config.ts";
import { TokenBucket } from "../core/token-bucket.ts";
import { mutateHeaders } from "../http1/header-mutation.ts";
import type { DownstreamConnection } from "../streams.ts";
import type { Exchange } from "../upstream/exchange.ts";

const shared = new WeakMap<LocalRateLimitConfig, TokenBucket>();
const perConnection = new WeakMap<
  DownstreamConnection,
  WeakMap<LocalRateLimitConfig, TokenBucket>
>();

/** Envoy's local_ratelimit filter: a token per request, from the filter's bucket or the route's. */
export function limitRate(
  exchange: Exchange,
  config: LocalRateLimitConfig,
  next: () => void,
): void {
  const { random } = exchange.context;
  if (config.enabledFraction === 0 || random() >= config.enabledFraction) {
    next();
    return;
  }
  count(exchange, config, "enabled");
  const bucket = bucketOf(exchange, config);
  const nowMs = performance.now();
  const isOk = bucket === undefined || bucket.take(nowMs);
  if (config.hasRateLimitHeaders && bucket !== undefined) {
    exchange.setOnAnswer([
      ["x-ratelimit-limit", String(bucket.config.maxTokens)],
      ["x-ratelimit-remaining", String(bucket.remaining(nowMs))],
      ["x-ratelimit-reset", String(bucket.resetSeconds(nowMs))],
    ]);
  }
  if (isOk) {
    count(exchange, config, "ok");
    next();
    return;
  }
  count(exchange, config, "rate_limited");
  if (config.enforcedFraction === 0 || random() >= config.enforcedFraction) {
    if (config.requestHeadersWhenNotEnforced !== undefined) {
      mutateHeaders(exchange.head.headers, config.requestHeadersWhenNotEnforced, exchange);
    }
    next();
    return;
  }
  count(exchange, config, "enforced");
  exchange.answerMutation = config.responseHeaders;
  exchange.fail({
    kind: "rateLimited",
    status: config.status,
    grpcStatus: config.isResourceExhausted ? 8 : undefined,
  });
}

function bucketOf(exchange: Exchange, config: LocalRateLimitConfig): TokenBucket | undefined {
  if (config.bucket === undefined) return undefined;
  let buckets: WeakMap<LocalRateLimitConfig, TokenBucket> = shared;
  if (config.isPerConnection) {
    buckets = perConnection.get(exchange.connection) ?? new WeakMap();
    perConnection.set(exchange.connection, buckets);
  }
  let bucket = buckets.get(config);
  if (bucket === undefined) {
    bucket = new TokenBucket(config.bucket, performance.now());
    buckets.set(config, bucket);
  }
  return bucket;
}

function count(exchange: Exchange, config: LocalRateLimitConfig, stat: string): void {
  exchange.context.telemetry.counter(`${config.statPrefix}.http_local_rate_limit.${stat}`).add(1);
}
