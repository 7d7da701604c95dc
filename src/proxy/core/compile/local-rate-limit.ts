import {
  durationToMs,
  type envoy_extensions_filters_http_local_ratelimit_v3_LocalRateLimit as LocalRateLimit,
  type envoy_extensions_common_ratelimit_v3_LocalRateLimitDescriptor as LocalRateLimitDescriptor,
  type envoy_type_v3_TokenBucket as TokenBucketMessage,
} from "../../../xds/index.ts";
import { descriptorKey } from "../rate-limit-rules.ts";
import type { LocalRateLimitConfig } from "../runtime-config.ts";
import type { TokenBucketConfig } from "../token-bucket.ts";
import type { CompileContext } from "./data-source.ts";
import { fraction } from "./fraction.ts";
import { compileHeaderMutation } from "./header-mutation.ts";
import type { Scope } from "./scope.ts";

/** Envoy: a fill interval below this would cost more than it limits. */
const MIN_FILL_INTERVAL_MS = 50;

/** Compiles the local_ratelimit filter. Problems go to `scope`. */
export function compileLocalRateLimit(
  limit: LocalRateLimit,
  context: CompileContext,
  scope: Scope,
): LocalRateLimitConfig {
  if (!limit.stat_prefix) scope.at("stat_prefix").fail("must not be empty");
  const status = limit.status?.code ?? 429;
  const mutation = (
    field: "request_headers_to_add_when_not_enforced" | "response_headers_to_add",
  ) =>
    compileHeaderMutation(
      [{ add: limit[field], scope, addField: field, removeField: field }],
      context,
    );
  return {
    statPrefix: limit.stat_prefix ?? "",
    // As Envoy: a status below 400 is no refusal.
    status: status < 400 ? 429 : status,
    bucket: limit.token_bucket
      ? compileTokenBucket(limit.token_bucket, scope.at("token_bucket"))
      : undefined,
    descriptors: compileDescriptors(limit.descriptors ?? [], scope.at("descriptors")),
    stage: limit.stage ?? 0,
    virtualHostRules: HOST_RULES[limit.vh_rate_limits ?? 0] ?? "override",
    alwaysTakesDefault: limit.always_consume_default_token_bucket?.value ?? true,
    enabledFraction: limit.filter_enabled ? fraction(limit.filter_enabled.default_value) : 0,
    enforcedFraction: limit.filter_enforced ? fraction(limit.filter_enforced.default_value) : 0,
    isPerConnection: limit.local_rate_limit_per_downstream_connection ?? false,
    requestHeadersWhenNotEnforced: mutation("request_headers_to_add_when_not_enforced"),
    responseHeaders: mutation("response_headers_to_add"),
    // XRateLimitHeadersRFCVersion: 0 OFF, 1 DRAFT_VERSION_03
    hasRateLimitHeaders: (limit.enable_x_ratelimit_headers ?? 0) === 1,
    isResourceExhausted: limit.rate_limited_as_resource_exhausted ?? false,
  };
}

/** VhRateLimitsOptions, by number. */
const HOST_RULES = ["override", "include", "ignore"] as const;

function compileDescriptors(
  descriptors: readonly LocalRateLimitDescriptor[],
  scope: Scope,
): ReadonlyMap<string, TokenBucketConfig> {
  const compiled = new Map<string, TokenBucketConfig>();
  for (const [i, { entries, token_bucket }] of descriptors.entries()) {
    const place = scope.at(i);
    const pairs = (entries ?? []).map(({ key, value }, j) => {
      if (!key) place.at("entries", j, "key").fail("must not be empty");
      // Envoy makes a bucket for each value then.
      if (!value) place.at("entries", j, "value").fail("must not be empty");
      return [key ?? "", value ?? ""] as const;
    });
    if (pairs.length === 0) place.at("entries").fail("must not be empty");
    const key = descriptorKey(pairs);
    if (compiled.has(key)) place.fail(`duplicate descriptor ${key}`);
    if (!token_bucket) place.at("token_bucket").fail("is required");
    compiled.set(key, compileTokenBucket(token_bucket ?? {}, place.at("token_bucket")));
  }
  return compiled;
}

/** Compiles a TokenBucket. Problems go to `scope`. */
export function compileTokenBucket(bucket: TokenBucketMessage, scope: Scope): TokenBucketConfig {
  const maxTokens = bucket.max_tokens ?? 0;
  if (maxTokens < 1) scope.at("max_tokens").fail("must be greater than 0");
  const tokensPerFill = bucket.tokens_per_fill ? (bucket.tokens_per_fill.value ?? 0) : 1;
  if (tokensPerFill < 1) scope.at("tokens_per_fill").fail("must be greater than 0");
  const fillIntervalMs = durationToMs(bucket.fill_interval) ?? 0;
  if (fillIntervalMs < MIN_FILL_INTERVAL_MS) {
    scope.at("fill_interval").fail(`must be at least ${MIN_FILL_INTERVAL_MS} ms`);
  }
  return { maxTokens, tokensPerFill, fillIntervalMs };
}
