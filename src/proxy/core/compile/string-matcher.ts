import type {
  envoy_config_route_v3_HeaderMatcher,
  envoy_config_route_v3_QueryParameterMatcher,
  envoy_type_matcher_v3_StringMatcher,
} from "../../../xds/index.ts";
import type { HeaderMatcher } from "../runtime-config.ts";
import { compileRegex } from "./regex.ts";
import type { Scope } from "./scope.ts";

type StringPredicate = (text: string) => boolean;

const never: StringPredicate = () => false;

/** Compiles Envoy's StringMatcher. `ignore_case` does not apply to regular expressions, as in Envoy. */
export function compileStringMatcher(
  matcher: envoy_type_matcher_v3_StringMatcher,
  scope: Scope,
): StringPredicate {
  const ignoreCase = matcher.ignore_case ?? false;
  const fold = (text: string): string => (ignoreCase ? text.toLowerCase() : text);
  const wrap = (test: StringPredicate): StringPredicate =>
    ignoreCase ? (text) => test(text.toLowerCase()) : test;
  if (typeof matcher.exact === "string") {
    const exact = fold(matcher.exact);
    return wrap((text) => text === exact);
  }
  for (const kind of ["prefix", "suffix", "contains"] as const) {
    const value = matcher[kind];
    if (typeof value !== "string") continue;
    if (value === "") {
      scope.at(kind).fail("must not be empty");
      return never;
    }
    const part = fold(value);
    if (kind === "prefix") return wrap((text) => text.startsWith(part));
    if (kind === "suffix") return wrap((text) => text.endsWith(part));
    return wrap((text) => text.includes(part));
  }
  if (matcher.safe_regex) {
    if (ignoreCase) scope.at("ignore_case").fail("has no effect on safe_regex");
    const regex = compileRegex(matcher.safe_regex, scope.at("safe_regex"));
    return regex === undefined ? never : (text) => regex.test(text);
  }
  scope.fail("must set one of exact, prefix, suffix, contains, safe_regex");
  return never;
}

/** Compiles a header matcher; a missing header never matches a value, whether inverted or not. */
export function compileHeaderMatcher(
  matcher: envoy_config_route_v3_HeaderMatcher,
  scope: Scope,
): HeaderMatcher {
  const name = (matcher.name ?? "").toLowerCase();
  if (name === "") scope.at("name").fail("must not be empty");
  const isInverted = matcher.invert_match ?? false;
  const test = compileValue(matcher, scope);
  if (test === undefined) {
    const wantPresent = (matcher.present_match ?? true) !== isInverted;
    const isEmptyPresent = matcher.treat_missing_header_as_empty ?? false;
    return {
      name,
      matches: (value) => (value !== undefined || isEmptyPresent) === wantPresent,
    };
  }
  if (matcher.treat_missing_header_as_empty ?? false) {
    return { name, isInverted, matches: (value) => test(value ?? "") !== isInverted };
  }
  // Envoy: an absent header has no value to compare, so it does not match even when inverted.
  return {
    name,
    isInverted,
    matches: (value) => value !== undefined && test(value) !== isInverted,
  };
}

/** The test of a header's value; undefined where only its presence counts. */
function compileValue(
  matcher: envoy_config_route_v3_HeaderMatcher,
  scope: Scope,
): StringPredicate | undefined {
  if (matcher.string_match) {
    return compileStringMatcher(matcher.string_match, scope.at("string_match"));
  }
  if (matcher.range_match) {
    const { start, end } = matcher.range_match;
    const [from, to] = [Number(start ?? 0), Number(end ?? 0)];
    return (text) => /^[+-]?\d{1,18}$/.test(text) && Number(text) >= from && Number(text) < to;
  }
  for (const field of DEPRECATED_MATCHES) {
    if (matcher[field]) scope.at(field).fail("is not supported, use string_match");
  }
  return undefined;
}

const DEPRECATED_MATCHES = [
  "exact_match",
  "prefix_match",
  "suffix_match",
  "contains_match",
  "safe_regex_match",
] as const;

/** Compiles a query parameter matcher: present, unless a `string_match` says what its value is. */
export function compileQueryMatcher(
  matcher: envoy_config_route_v3_QueryParameterMatcher,
  scope: Scope,
): HeaderMatcher {
  const name = matcher.name ?? "";
  if (name === "") scope.at("name").fail("must not be empty");
  if (!matcher.string_match) {
    const wantPresent = matcher.present_match ?? true;
    return { name, matches: (value) => (value !== undefined) === wantPresent };
  }
  const test = compileStringMatcher(matcher.string_match, scope.at("string_match"));
  return { name, matches: (value) => value !== undefined && test(value) };
}
