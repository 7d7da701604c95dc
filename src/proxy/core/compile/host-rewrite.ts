import type { envoy_config_route_v3_RouteAction } from "../../../xds/index.ts";
import type { HostRewrite } from "../host-rewrite.ts";
import { compileRegexRewrite } from "./regex-rewrite.ts";
import type { Scope } from "./scope.ts";

/** Compiles what a route does to the host; undefined when nothing. */
export function compileHostRewrite(
  action: envoy_config_route_v3_RouteAction,
  scope: Scope,
): HostRewrite | undefined {
  const isAutomatic = action.auto_host_rewrite?.value ?? false;
  const pathRegex = compileRegexRewrite(
    action.host_rewrite_path_regex,
    scope.at("host_rewrite_path_regex"),
  );
  const rewrite: HostRewrite = {
    literal: action.host_rewrite_literal || undefined,
    header: action.host_rewrite_header?.toLowerCase() || undefined,
    pathRegex,
    isAutomatic,
    appendsForwardedHost: action.append_x_forwarded_host ?? false,
  };
  const isNothing =
    rewrite.literal === undefined &&
    rewrite.header === undefined &&
    pathRegex === undefined &&
    !isAutomatic;
  // Also where a weighted cluster has the name: only the route says what becomes of the former one.
  return isNothing && !rewrite.appendsForwardedHost ? undefined : rewrite;
}
