import type { envoy_config_metrics_v3_StatsMatcher } from "../../../xds/index.ts";
import type { Scope } from "./scope.ts";
import { compileStringMatcher } from "./string-matcher.ts";

/** Whether a stat of this name is kept. */
export type StatsMatcher = (name: string) => boolean;

export const KEEPS_ALL: StatsMatcher = () => true;

/** Compiles a bootstrap's `stats_config.stats_matcher`: which stats are made at all. */
export function compileStatsMatcher(
  matcher: envoy_config_metrics_v3_StatsMatcher | null | undefined,
  scope: Scope,
): StatsMatcher {
  if (!matcher) return KEEPS_ALL;
  if (typeof matcher.reject_all === "boolean") {
    const keeps = !matcher.reject_all;
    return () => keeps;
  }
  for (const kind of ["exclusion_list", "inclusion_list"] as const) {
    const list = matcher[kind];
    if (!list) continue;
    const patterns = list.patterns ?? [];
    if (patterns.length === 0) scope.at(kind, "patterns").fail("must not be empty");
    const tests = patterns.map((pattern, i) =>
      compileStringMatcher(pattern, scope.at(kind, "patterns", i)),
    );
    const isIncluding = kind === "inclusion_list";
    return (name) => tests.some((test) => test(name)) === isIncluding;
  }
  scope.fail("must set one of reject_all, exclusion_list, inclusion_list");
  return KEEPS_ALL;
}
