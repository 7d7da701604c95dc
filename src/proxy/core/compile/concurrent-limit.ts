import {
  durationToMs,
  type envoy_config_listener_v3_Filter as Filter,
  unpackAny,
} from "../../../xds/index.ts";
import type { ConcurrentLimitConfig } from "../runtime-config.ts";
import type { Scope } from "./scope.ts";

/** The connection_limit filter. */
export const CONCURRENT_LIMIT =
  "envoy.extensions.filters.network.connection_limit.v3.ConnectionLimit" as const;

/** Compiles the limits on open connections among a chain's filters. Problems go to `scope`. */
export function compileConcurrentLimits(
  filters: readonly Filter[],
  scope: Scope,
): readonly ConcurrentLimitConfig[] | undefined {
  const limits = filters.flatMap((filter, i): readonly ConcurrentLimitConfig[] => {
    const limit = unpackAny(CONCURRENT_LIMIT, filter.typed_config);
    if (limit === undefined) return [];
    const place = scope.at(i, "typed_config");
    if (!limit.stat_prefix) place.at("stat_prefix").fail("must not be empty");
    const maxConnections = Number(limit.max_connections?.value ?? 0);
    if (maxConnections < 1) place.at("max_connections").fail("must be at least 1");
    if (limit.runtime_enabled && !limit.runtime_enabled.default_value?.value) return [];
    const delayMs = durationToMs(limit.delay) ?? 0;
    return [{ statPrefix: limit.stat_prefix ?? "", maxConnections, delayMs }];
  });
  return limits.length === 0 ? undefined : limits;
}
