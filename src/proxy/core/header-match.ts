import type { HeaderMatcher } from "./runtime-config.ts";

/** Where the values of headers are. */
export interface HeaderValues {
  /** All values of a header joined by ","; pseudo headers as `:method`. Undefined when absent. */
  get(name: string): string | undefined;
  /** The same one by one; without it a header counts as one value. */
  values?(name: string): readonly string[];
}

/**
 * Whether a header matches. As Envoy 1.40: one value that matches is enough, and an inverted matcher
 * wants none that does; what several fields would say joined together counts for nothing.
 */
export function headerMatches(matcher: HeaderMatcher, headers: HeaderValues): boolean {
  const joined = headers.get(matcher.name);
  // Only a comma can join values.
  if (joined === undefined || !joined.includes(",")) return matcher.matches(joined);
  const values = headers.values?.(matcher.name) ?? [];
  if (values.length < 2) return matcher.matches(joined);
  return matcher.isInverted === true
    ? values.every((value) => matcher.matches(value))
    : values.some((value) => matcher.matches(value));
}
