import type { envoy_config_route_v3_RouteMatch as RouteMatch } from "../../../xds/index.ts";
import { isGrpcContentType } from "../grpc.ts";
import type { HeaderMatcher, PathMatcher, RouteConfig } from "../runtime-config.ts";
import { fraction } from "./fraction.ts";
import { compileRegex } from "./regex.ts";
import type { Scope } from "./scope.ts";
import { compileHeaderMatcher, compileQueryMatcher } from "./string-matcher.ts";
import { compilePathTemplate } from "./uri-template.ts";

/** Compiles a RouteMatch: of a route, or of a filter's rule. Problems go to `scope`. */
export function compileRouteMatch(
  message: RouteMatch | null | undefined,
  scope: Scope,
): Pick<RouteConfig, "path" | "headers" | "queryParameters" | "fraction"> {
  if (!message) scope.fail("is required");
  const match = message ?? {};
  const path = compilePath(match, scope);
  if (match.tls_context) scope.at("tls_context").fail("is not supported");
  if ((match.dynamic_metadata ?? []).length > 0) {
    scope.at("dynamic_metadata").fail("is not supported");
  }
  return {
    path,
    fraction: match.runtime_fraction ? fraction(match.runtime_fraction.default_value) : undefined,
    headers: [
      ...(match.grpc ? [GRPC] : []),
      ...(match.headers ?? []).map((header, i) =>
        compileHeaderMatcher(header, scope.at("headers", i)),
      ),
    ],
    queryParameters: (match.query_parameters ?? []).map((parameter, i) =>
      compileQueryMatcher(parameter, scope.at("query_parameters", i)),
    ),
  };
}

const GRPC: HeaderMatcher = { name: "content-type", matches: isGrpcContentType };

function compilePath(match: RouteMatch, scope: Scope): PathMatcher {
  const ignoreCase = match.case_sensitive ? !(match.case_sensitive.value ?? false) : false;
  if (typeof match.path === "string") return { kind: "exact", path: match.path, ignoreCase };
  if (typeof match.prefix === "string") {
    return { kind: "prefix", prefix: match.prefix, ignoreCase };
  }
  if (typeof match.path_separated_prefix === "string") {
    const prefix = match.path_separated_prefix;
    if (!/^\/[^?#]*[^/?#]$/.test(prefix)) {
      scope
        .at("path_separated_prefix")
        .fail("must start with / and not end with /, nor hold ? or #");
    }
    return { kind: "pathSeparatedPrefix", prefix, ignoreCase };
  }
  if (match.safe_regex) {
    const regex = compileRegex(match.safe_regex, scope.at("safe_regex"));
    return { kind: "regex", regex: regex ?? /$^/ };
  }
  if (match.connect_matcher) return { kind: "connect" };
  if (match.path_match_policy) {
    const place = scope.at("path_match_policy", "typed_config");
    const template = compilePathTemplate(match.path_match_policy.typed_config, place);
    return { kind: "regex", regex: /$^/, ...template };
  }
  scope.fail("must set one of prefix, path, safe_regex, connect_matcher, path_separated_prefix");
  return { kind: "prefix", prefix: "/", ignoreCase: false };
}
