import type { envoy_extensions_filters_http_cors_v3_CorsPolicy } from "../../../xds/index.ts";
import type { CorsPolicy } from "../cors.ts";
import { fraction } from "./fraction.ts";
import type { Scope } from "./scope.ts";
import { compileStringMatcher } from "./string-matcher.ts";

/** The message that configures the cors filter for one route. */
export const CORS_POLICY = "envoy.extensions.filters.http.cors.v3.CorsPolicy";

/** Compiles a route's CORS policy. Undefined when it is switched off. */
export function compileCors(
  policy: envoy_extensions_filters_http_cors_v3_CorsPolicy,
  scope: Scope,
): CorsPolicy | undefined {
  const { filter_enabled: enabled } = policy;
  const share = enabled ? fraction(enabled.default_value) : 1;
  if (share === 0) return undefined;
  if (share < 1) scope.at("filter_enabled").fail("must be 0 or 100 %");
  const origins = (policy.allow_origin_string_match ?? []).map((matcher, i) =>
    compileStringMatcher(matcher, scope.at("allow_origin_string_match", i)),
  );
  return {
    allowsOrigin: (origin) => origins.some((matches) => matches(origin)),
    allowMethods: policy.allow_methods ?? "",
    allowHeaders: policy.allow_headers ?? "",
    exposeHeaders: policy.expose_headers ?? "",
    maxAge: policy.max_age ?? "",
    allowCredentials: policy.allow_credentials?.value ?? false,
    allowPrivateNetworkAccess: policy.allow_private_network_access?.value ?? false,
    forwardNotMatchingPreflights: policy.forward_not_matching_preflights
      ? (policy.forward_not_matching_preflights.value ?? false)
      : true,
  };
}
