import type { envoy_type_matcher_v3_RegexMatchAndSubstitute } from "../../../xds/index.ts";
import { compileSearchRegex } from "./regex.ts";
import type { Scope } from "./scope.ts";

/**
 * Compiles a RegexMatchAndSubstitute; every match is replaced. RE2's `\\1` is JavaScript's `$1`; a
 * backslash before anything else is an error, as in RE2.
 */
export function compileRegexRewrite(
  rewrite: envoy_type_matcher_v3_RegexMatchAndSubstitute | null | undefined,
  scope: Scope,
): { readonly pattern: RegExp; readonly substitution: string } | undefined {
  if (!rewrite) return undefined;
  const pattern = compileSearchRegex(rewrite.pattern, scope.at("pattern"));
  const text = rewrite.substitution ?? "";
  if (/\\(?![\d\\])/.test(text.replaceAll("\\\\", ""))) {
    scope.at("substitution").fail("a backslash must be followed by a digit or a backslash");
  }
  const substitution = text
    .replaceAll("$", "$$$$")
    .replace(/\\(\d|\\)/g, (_, next: string) =>
      next === "\\" ? "\\" : next === "0" ? "$&" : `$${next}`,
    );
  return pattern === undefined ? undefined : { pattern, substitution };
}
