import type { envoy_type_matcher_v3_RegexMatcher } from "../../../xds/index.ts";
import { translateRe2 } from "./re2-syntax.ts";
import type { Scope } from "./scope.ts";

/** RE2's own limit is on program size; this bounds what one resource may cost to compile. */
const MAX_PATTERN_LENGTH = 8192;

/**
 * Compiles an RE2 pattern to a RegExp that must match the whole text, as Envoy's safe_regex does.
 * What RE2 lacks (back-references, look-around) is refused, so that V8's linear engine can take
 * over from backtracking (`proxy/regexp-engine.ts`). Undefined after recording a problem.
 * Source: https://github.com/google/re2/wiki/Syntax
 */
export function compileRegex(
  matcher: envoy_type_matcher_v3_RegexMatcher | null | undefined,
  scope: Scope,
): RegExp | undefined {
  return compilePattern(matcher?.regex ?? "", scope.at("regex"), (source) => [
    `^(?:${source})$`,
    "",
  ]);
}

/** As compileRegex, but for a replacement: finds every place in the text where the pattern matches. */
export function compileSearchRegex(
  matcher: envoy_type_matcher_v3_RegexMatcher | null | undefined,
  scope: Scope,
): RegExp | undefined {
  return compilePattern(matcher?.regex ?? "", scope.at("regex"), (source) => [source, "g"]);
}

function compilePattern(
  pattern: string,
  place: Scope,
  build: (source: string) => readonly [source: string, flags: string],
): RegExp | undefined {
  if (pattern === "") {
    place.fail("must not be empty");
    return undefined;
  }
  if (pattern.length > MAX_PATTERN_LENGTH) {
    place.fail(`must be at most ${MAX_PATTERN_LENGTH} characters`);
    return undefined;
  }
  try {
    const [source, flags] = build(translateRe2(pattern));
    return new RegExp(source, flags);
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    place.fail(`not a valid RE2 expression: ${reason}`);
    return undefined;
  }
}
