import type { LocalRateLimitConfig } from "../config/runtime-config.ts";
import { descriptorsOf, type RateLimitSubject } from "../core/rate-limit-rules.ts";
import { TokenBucket, type TokenBucketConfig } from "../core/token-bucket.ts";
import { mutateHeaders } from "../http1/header-mutation.ts";
import type { DownstreamConnection } from "../streams.ts";
import type { Exchange } from "../upstream/exchange.ts";

/** By the configuration, which lives as long as the filter or route that has it. */
type Buckets = WeakMap<TokenBucketConfig, TokenBucket>;
const shared: Buckets = new WeakMap();
const perConnection = new WeakMap<DownstreamConnection, Buckets>();

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
  const nowMs = performance.now();
  const { isOk, bucket } = take(exchange, config, nowMs);
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

interface Taken {
  readonly isOk: boolean;
  /** The one that decided, for the headers that tell of it. */
  readonly bucket: TokenBucket | undefined;
}

/** As Envoy: the buckets of the request's descriptors first, the slowest of them before others. */
function take(exchange: Exchange, config: LocalRateLimitConfig, nowMs: number): Taken {
  const { bucket: fallback } = config;
  const buckets = bucketsFor(exchange, config);
  if (config.descriptors.size === 0) return takeLast(undefined, fallback, buckets, nowMs);
  const matched = descriptors(exchange, config)
    .flatMap((key) => config.descriptors.get(key) ?? [])
    .sort((a, b) => a.tokensPerFill / a.fillIntervalMs - b.tokensPerFill / b.fillIntervalMs);
  let first: TokenBucket | undefined;
  for (const one of matched) {
    const bucket = bucketOf(buckets, one, nowMs);
    if (!bucket.take(nowMs)) return { isOk: false, bucket };
    first ??= bucket;
  }
  if (first !== undefined && !config.alwaysTakesDefault) return { isOk: true, bucket: first };
  return takeLast(first, fallback, buckets, nowMs);
}

function takeLast(
  first: TokenBucket | undefined,
  fallback: TokenBucketConfig | undefined,
  buckets: Buckets,
  nowMs: number,
): Taken {
  if (fallback === undefined) return { isOk: true, bucket: first };
  const bucket = bucketOf(buckets, fallback, nowMs);
  return bucket.take(nowMs) ? { isOk: true, bucket: first ?? bucket } : { isOk: false, bucket };
}

function descriptors(exchange: Exchange, config: LocalRateLimitConfig): readonly string[] {
  const action = exchange.route?.action;
  // Only what is forwarded has descriptors, as in Envoy.
  if (action?.kind !== "forward") return [];
  const ofRoute = action.rateLimits ?? [];
  const ofHost = exchange.virtualHost?.rateLimits ?? [];
  const mode = action.includesHostRateLimits ? "include" : config.virtualHostRules;
  const isHostAsked = mode === "include" || (mode === "override" && ofRoute.length === 0);
  const subject: RateLimitSubject = {
    header: (name) => exchange.requestHeader(name),
    remoteIp: exchange.remoteIp,
    cluster: exchange.clusterChoice?.cluster ?? "",
  };
  const rules = isHostAsked ? [...ofRoute, ...ofHost] : ofRoute;
  return descriptorsOf(rules, config.stage, subject);
}

function bucketsFor(exchange: Exchange, config: LocalRateLimitConfig): Buckets {
  if (!config.isPerConnection) return shared;
  let buckets = perConnection.get(exchange.connection);
  if (buckets === undefined) {
    buckets = new WeakMap();
    perConnection.set(exchange.connection, buckets);
  }
  return buckets;
}

function bucketOf(buckets: Buckets, config: TokenBucketConfig, nowMs: number): TokenBucket {
  let bucket = buckets.get(config);
  if (bucket === undefined) {
    bucket = new TokenBucket(config, nowMs);
    buckets.set(config, bucket);
  }
  return bucket;
}

function count(exchange: Exchange, config: LocalRateLimitConfig, stat: string): void {
  exchange.context.telemetry.counter(`${config.statPrefix}.http_local_rate_limit.${stat}`).add(1);
}
