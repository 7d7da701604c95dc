import type { MessageTypes } from "../../../xds/index.ts";
import type { HttpMatchRequest, PathMatch, StringMatch } from "../model-istio.ts";
import { compare } from "../model-object.ts";

type RouteMatch = MessageTypes["envoy.config.route.v3.RouteMatch"];
type HeaderMatcher = MessageTypes["envoy.config.route.v3.HeaderMatcher"];
type QueryMatcher = MessageTypes["envoy.config.route.v3.QueryParameterMatcher"];
type StringMatcher = MessageTypes["envoy.type.matcher.v3.StringMatcher"];

/** Header keys that Istio ignores: they have fields of their own. */
const RESERVED_HEADERS = new Set(["uri", "scheme", "method", "authority"]);

/** The runtime part of a match block; no block matches everything. */
export function routeMatch(match: HttpMatchRequest | undefined): RouteMatch {
  const headers = match === undefined ? [] : headerMatchers(match);
  const parameters = sorted(match?.queryParams).map(([name, value]) => queryMatcher(name, value));
  return {
    ...pathMatch(match?.uri),
    // The field only means something for exact and prefix; regular expressions say it themselves.
    ...(match?.ignoreUriCase === true && match.uri?.regex === undefined
      ? { case_sensitive: { value: false } }
      : {}),
    ...(headers.length > 0 ? { headers } : {}),
    ...(parameters.length > 0 ? { query_parameters: parameters } : {}),
  };
}

/** Whether a block matches every request, so that later rules are never reached. */
export function isCatchAll(match: HttpMatchRequest | undefined): boolean {
  if (match === undefined) return true;
  const uri = match.uri;
  const anyPath =
    uri === undefined ||
    uri.prefix === "/" ||
    uri.regex === ".*" ||
    uri.regex === "*" ||
    [uri.exact, uri.prefix, uri.regex, uri.suffix].every((value) => value === undefined);
  return anyPath && routeMatch(match).headers === undefined && isEmpty(match.queryParams);
}

function pathMatch(uri: PathMatch | undefined): RouteMatch {
  if (uri?.exact !== undefined) return { path: uri.exact };
  if (uri?.isSegmentPrefix === true && uri.prefix !== undefined && uri.prefix !== "/") {
    return { path_separated_prefix: uri.prefix };
  }
  if (uri?.prefix !== undefined) return { prefix: uri.prefix };
  if (uri?.suffix !== undefined) return { safe_regex: { regex: `.*${literal(uri.suffix)}` } };
  if (uri?.regex !== undefined && uri.regex !== "*") return { safe_regex: { regex: uri.regex } };
  return { prefix: "/" };
}

function headerMatchers(match: HttpMatchRequest): HeaderMatcher[] {
  const named = (all: HttpMatchRequest["headers"]): (readonly [string, StringMatch])[] =>
    sorted(all).filter(([name]) => !RESERVED_HEADERS.has(name));
  return [
    ...named(match.headers).map(([name, value]) => headerMatcher(name, value)),
    ...named(match.withoutHeaders).map(([name, value]) => ({
      ...headerMatcher(name, value),
      invert_match: true,
      // Istio: a header that is not there has not got the value either.
      ...(isPresence(value) ? {} : { treat_missing_header_as_empty: true }),
    })),
    ...pseudo(":method", match.method),
    ...pseudo(":authority", match.authority),
    ...pseudo(":scheme", match.scheme),
  ];
}

function pseudo(name: string, value: StringMatch | undefined): HeaderMatcher[] {
  return value === undefined ? [] : [headerMatcher(name, value)];
}

function headerMatcher(name: string, value: StringMatch): HeaderMatcher {
  if (isPresence(value)) return { name, present_match: true };
  return { name, string_match: stringMatcher(value) };
}

function queryMatcher(name: string, value: StringMatch): QueryMatcher {
  if (isPresence(value)) return { name, present_match: true };
  return { name, string_match: stringMatcher(value) };
}

/** `{}` and the regular expression `*` ask only for presence; so does an empty prefix. */
function isPresence({ exact, prefix, suffix, regex }: StringMatch): boolean {
  if (exact !== undefined || suffix !== undefined) return false;
  if (prefix !== undefined) return prefix === "";
  return regex === undefined || regex === "*";
}

function stringMatcher({ exact, prefix, suffix, regex }: StringMatch): StringMatcher {
  if (exact !== undefined) return { exact };
  if (suffix !== undefined) return { suffix };
  if (prefix !== undefined) return { prefix };
  return { safe_regex: { regex: regex ?? "" } };
}

/** The text as an expression that matches only it. */
function literal(text: string): string {
  return text.replace(/[.*+?^${}()|[\]\\]/g, "\\$&");
}

/** In a fixed order, so that the same rules give the same bytes. */
function sorted<T>(map: Readonly<Record<string, T>> | undefined): (readonly [string, T])[] {
  return Object.entries(map ?? {}).sort(([a], [b]) => compare(a, b));
}

function isEmpty(map: Readonly<Record<string, unknown>> | undefined): boolean {
  return Object.keys(map ?? {}).length === 0;
}
