import type { envoy_config_route_v3_RedirectAction } from "../../../xds/index.ts";
import type { PathMatcher, RouteActionConfig } from "../runtime-config.ts";
import type { Scope } from "./scope.ts";

const STATUS = [301, 302, 303, 307, 308] as const;

/** Compiles a redirect; `location` takes the request's path with its query and its authority. */
export function compileRedirect(
  redirect: envoy_config_route_v3_RedirectAction,
  path: PathMatcher,
  scope: Scope,
): RouteActionConfig {
  if (redirect.regex_rewrite) scope.at("regex_rewrite").fail("is not supported");
  const scheme = redirect.https_redirect === true ? "https" : redirect.scheme_redirect || "http";
  const changesScheme = redirect.https_redirect === true || !!redirect.scheme_redirect;
  const rewritePath = pathRewriter(redirect, path);
  return {
    kind: "redirect",
    status: STATUS[redirect.response_code ?? 0] ?? 301,
    location(requestPath, host) {
      const authority = redirectAuthority(redirect, host, changesScheme);
      return `${scheme}://${authority}${rewritePath(requestPath)}`;
    },
  };
}

function redirectAuthority(
  redirect: envoy_config_route_v3_RedirectAction,
  host: string,
  changesScheme: boolean,
): string {
  const match = /^(.*?)(?::(\d+))?$/.exec(host);
  const name = redirect.host_redirect || (match?.[1] ?? host);
  if (redirect.port_redirect) return `${name}:${redirect.port_redirect}`;
  const port = match?.[2];
  // A scheme change drops the old scheme's default port, which would be wrong under the new one.
  const keepsPort =
    port !== undefined && !redirect.host_redirect && !(changesScheme && /^(80|443)$/.test(port));
  return keepsPort ? `${name}:${port}` : name;
}

function pathRewriter(
  redirect: envoy_config_route_v3_RedirectAction,
  matcher: PathMatcher,
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
  return (path) => split(path).join("");
}

function matchedLength(matcher: PathMatcher): number | undefined {
  if (matcher.kind === "prefix" || matcher.kind === "pathSeparatedPrefix") {
    return matcher.prefix.length;
  }
  return undefined;
}
