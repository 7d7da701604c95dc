import type { envoy_config_route_v3_RedirectAction } from "../../../xds/index.ts";
import type { PathMatcher, RouteActionConfig } from "../runtime-config.ts";
import { compileRegexRewrite } from "./regex-rewrite.ts";
import type { Scope } from "./scope.ts";

const STATUS = [301, 302, 303, 307, 308] as const;

/** Compiles a redirect; `location` takes the request's path with its query and its authority. */
export function compileRedirect(
  redirect: envoy_config_route_v3_RedirectAction,
  path: PathMatcher,
  scope: Scope,
): RouteActionConfig {
  const wanted = redirect.https_redirect === true ? "https" : redirect.scheme_redirect || undefined;
  const rewritePath = pathRewriter(redirect, path, scope);
  return {
    kind: "redirect",
    status: STATUS[redirect.response_code ?? 0] ?? 301,
    location(requestPath, host, requestScheme) {
      const scheme = wanted ?? requestScheme;
      const authority = redirectAuthority(redirect, host, requestScheme, scheme);
      return `${scheme}://${authority}${rewritePath(requestPath)}`;
    },
  };
}

function redirectAuthority(
  redirect: envoy_config_route_v3_RedirectAction,
  host: string,
  requestScheme: string,
  scheme: string,
): string {
  const newPort = redirect.port_redirect ? `:${redirect.port_redirect}` : "";
  if (redirect.host_redirect) return `${redirect.host_redirect}${newPort}`;
  const match = /^(.*?)(?::(\d+))?$/.exec(host);
  const name = match?.[1] ?? host;
  if (newPort !== "") return `${name}${newPort}`;
  // A change of scheme drops the former scheme's own port, which would be wrong under the new one.
  const isFormerDefault = match?.[2] === (requestScheme === "https" ? "443" : "80");
  return scheme !== requestScheme && isFormerDefault ? name : host;
}

function pathRewriter(
  redirect: envoy_config_route_v3_RedirectAction,
  matcher: PathMatcher,
  scope: Scope,
): (path: string) => string {
  const stripQuery = redirect.strip_query ?? false;
  const split = (path: string): readonly [string, string] => {
    const question = path.indexOf("?");
    if (question === -1) return [path, ""];
    return [path.slice(0, question), stripQuery ? "" : path.slice(question)];
  };
  const { path_redirect: pathRedirect, prefix_rewrite: prefixRewrite } = redirect;
  if (pathRedirect) {
    return (path) => (pathRedirect.includes("?") ? pathRedirect : pathRedirect + split(path)[1]);
  }
  if (typeof prefixRewrite === "string" && prefixRewrite !== "") {
    const length = matchedLength(matcher);
    return (path) => {
      const [bare, query] = split(path);
      return prefixRewrite + bare.slice(length ?? bare.length) + query;
    };
  }
  const regex = compileRegexRewrite(redirect.regex_rewrite, scope.at("regex_rewrite"));
  if (regex !== undefined) {
    return (path) => {
      const [bare, query] = split(path);
      return bare.replace(regex.pattern, regex.substitution) + query;
    };
  }
  return (path) => split(path).join("");
}

function matchedLength(matcher: PathMatcher): number | undefined {
  if (matcher.kind === "prefix" || matcher.kind === "pathSeparatedPrefix") {
    return matcher.prefix.length;
  }
  return undefined;
}
