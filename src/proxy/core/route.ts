import { type HeaderValues, headerMatches } from "./header-match.ts";

/** Where matchers find the values of a request. */
export interface HeaderSource extends HeaderValues {
  /** In [0, 1), the same whenever asked: which requests take a route that is for a part of them. */
  readonly sample: number;
}

type PathMatcherLike =
  | { readonly kind: "exact"; readonly path: string; readonly ignoreCase: boolean }
  | {
      readonly kind: "prefix" | "pathSeparatedPrefix";
      readonly prefix: string;
      readonly ignoreCase: boolean;
    }
  | { readonly kind: "regex"; readonly regex: { test(text: string): boolean } }
  | { readonly kind: "connect" };

interface NamedMatcher {
  readonly name: string;
  readonly isInverted?: boolean;
  matches(value: string | undefined): boolean;
}

interface RouteLike {
  readonly fraction?: number | undefined;
  readonly path: PathMatcherLike;
  readonly headers: readonly NamedMatcher[];
  readonly queryParameters: readonly NamedMatcher[];
}

/** The path of a request target: no query, no fragment. */
export function pathOf(target: string): string {
  const query = target.indexOf("?");
  return query < 0 ? target : target.slice(0, query);
}

/** The routes that a CONNECT may take: its target is no path, so no other matcher fits. */
export function connectRoutes<Route extends RouteLike>(routes: readonly Route[]): readonly Route[] {
  return routes.filter(({ path }) => path.kind === "connect");
}

/** The first route that matches a request target (path and query), or undefined. */
export function selectRoute<Route extends RouteLike>(
  routes: readonly Route[],
  target: string,
  headers: HeaderSource,
): Route | undefined {
  const path = pathOf(target);
  for (const route of routes) {
    if (
      matchesPath(route.path, path, headers) &&
      (route.fraction === undefined || headers.sample < route.fraction) &&
      matchesHeaders(route, headers) &&
      (route.queryParameters.length === 0 || matchesQuery(route, target.slice(path.length + 1)))
    ) {
      return route;
    }
  }
  return undefined;
}

function matchesQuery(route: RouteLike, query: string): boolean {
  const values = queryValues(query);
  return route.queryParameters.every((matcher) => matcher.matches(values.get(matcher.name)));
}

/** The first value of each parameter, not decoded, as Envoy compares them; `?a` is `?a=`. */
export function queryValues(query: string): ReadonlyMap<string, string> {
  const values = new Map<string, string>();
  const end = query.indexOf("#");
  for (const pair of (end < 0 ? query : query.slice(0, end)).split("&")) {
    if (pair === "") continue;
    const split = pair.indexOf("=");
    const name = split < 0 ? pair : pair.slice(0, split);
    if (!values.has(name)) values.set(name, split < 0 ? "" : pair.slice(split + 1));
  }
  return values;
}

function matchesPath(matcher: PathMatcherLike, path: string, headers: HeaderSource): boolean {
  switch (matcher.kind) {
    case "connect":
      return headers.get(":method") === "CONNECT";
    case "regex":
      return matcher.regex.test(path);
    case "exact":
      return matcher.ignoreCase
        ? matcher.path.toLowerCase() === path.toLowerCase()
        : matcher.path === path;
    case "prefix":
      return startsWith(path, matcher.prefix, matcher.ignoreCase);
    case "pathSeparatedPrefix": {
      if (!startsWith(path, matcher.prefix, matcher.ignoreCase)) return false;
      return path.length === matcher.prefix.length || path[matcher.prefix.length] === "/";
    }
  }
}

function startsWith(path: string, prefix: string, ignoreCase: boolean): boolean {
  if (path.startsWith(prefix)) return true;
  return ignoreCase && path.slice(0, prefix.length).toLowerCase() === prefix.toLowerCase();
}

function matchesHeaders(route: RouteLike, headers: HeaderSource): boolean {
  for (const matcher of route.headers) {
    if (!headerMatches(matcher, headers)) return false;
  }
  return true;
}

/** Picks by weight; `random` in [0, 1). The last choice takes what rounding leaves over. */
export function pickWeighted<Choice extends { readonly weight: number }>(
  choices: readonly Choice[],
  totalWeight: number,
  random: number,
): Choice | undefined {
  return choices.length === 1 ? choices[0] : pickAt(choices, random * totalWeight);
}

/** Picks the choice that `point`, in [0, sum of weights), falls on when all lie in a row. */
export function pickAt<Choice extends { readonly weight: number }>(
  choices: readonly Choice[],
  point: number,
): Choice | undefined {
  let rest = point;
  for (const choice of choices) {
    rest -= choice.weight;
    if (rest < 0) return choice;
  }
  return choices.findLast((choice) => choice.weight > 0);
}

/**
 * The target with its matched prefix replaced (Envoy's prefix_rewrite). A route that matched exactly
 * has its whole path replaced; a regular expression leaves nothing to replace but the whole path.
 */
export function rewritePath(matcher: PathMatcherLike, target: string, rewrite: string): string {
  const path = pathOf(target);
  const query = target.slice(path.length);
  if (matcher.kind === "connect") return target;
  if (matcher.kind === "exact" || matcher.kind === "regex") return rewrite + query;
  return rewrite + path.slice(matcher.prefix.length) + query;
}

/** The target that the upstream sees, where a route rewrites it; undefined where it does not. */
export function rewrittenTarget(
  matcher: PathMatcherLike,
  target: string,
  action: {
    readonly prefixRewrite: string | undefined;
    readonly regexRewrite: { readonly pattern: RegExp; readonly substitution: string } | undefined;
  },
): string | undefined {
  const { prefixRewrite, regexRewrite } = action;
  if (prefixRewrite !== undefined) return rewritePath(matcher, target, prefixRewrite);
  if (regexRewrite === undefined) return undefined;
  const path = pathOf(target);
  const { pattern, substitution } = regexRewrite;
  return path.replace(pattern, substitution) + target.slice(path.length);
}
