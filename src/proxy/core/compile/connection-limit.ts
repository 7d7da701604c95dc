import { type envoy_config_listener_v3_Filter as Filter, unpackAny } from "../../../xds/index.ts";
import type { ConnectionLimitConfig } from "../runtime-config.ts";
import { compileTokenBucket } from "./local-rate-limit.ts";
import type { Scope } from "./scope.ts";

/** The local_ratelimit filter of connections. */
export const CONNECTION_LIMIT =
  "envoy.extensions.filters.network.local_ratelimit.v3.LocalRateLimit" as const;

/** Compiles the limits on new connections among a chain's filters. Problems go to `scope`. */
export function compileConnectionLimits(
  filters: readonly Filter[],
  scope: Scope,
): readonly ConnectionLimitConfig[] {
  return filters.flatMap((filter, i) => {
    const limit = unpackAny(CONNECTION_LIMIT, filter.typed_config);
    if (limit === undefined) return [];
    const place = scope.at(i, "typed_config");
    if (!limit.stat_prefix) place.at("stat_prefix").fail("must not be empty");
    if (!limit.token_bucket) place.at("token_bucket").fail("is required");
    if (limit.share_key) place.at("share_key").fail("is not supported");
    const bucket = compileTokenBucket(limit.token_bucket ?? {}, place.at("token_bucket"));
    if (limit.runtime_enabled && !limit.runtime_enabled.default_value?.value) return [];
    return [{ statPrefix: limit.stat_prefix ?? "", bucket }];
  });
}
