import type { ConnectionLimitConfig, FilterChainConfig } from "../config/runtime-config.ts";
import type { ProxyContext } from "../context.ts";
import { TokenBucket } from "../core/token-bucket.ts";

/** As long as a configuration lives, so does its bucket: all its connections draw from it. */
const buckets = new WeakMap<ConnectionLimitConfig, TokenBucket>();

/**
 * Whether a new connection is within the limits of its chain (Envoy's network local_ratelimit). The
 * first limit without a token ends it; those before have then spent theirs.
 */
export function mayOpen(context: ProxyContext, { connectionLimits }: FilterChainConfig): boolean {
  if (connectionLimits === undefined) return true;
  for (const limit of connectionLimits) {
    if (bucketOf(limit).take(performance.now())) continue;
    context.telemetry.counter(`local_rate_limit.${limit.statPrefix}.rate_limited`).add(1);
    return false;
  }
  return true;
}

function bucketOf(limit: ConnectionLimitConfig): TokenBucket {
  let bucket = buckets.get(limit);
  if (bucket === undefined) {
    bucket = new TokenBucket(limit.bucket, performance.now());
    buckets.set(limit, bucket);
  }
  return bucket;
}
