import type {
  envoy_type_matcher_v3_MetadataMatcher as MetadataMatcher,
  envoy_type_matcher_v3_ValueMatcher as ValueMatcher,
} from "../../../xds/index.ts";
import { type MetadataPredicate, type MetadataValue, metadataAt } from "../metadata.ts";
import type { Scope } from "./scope.ts";
import { compileStringMatcher } from "./string-matcher.ts";

type ValuePredicate = (value: MetadataValue | undefined) => boolean;

/** Compiles Envoy's MetadataMatcher. Problems go to `scope`. */
export function compileMetadataMatcher(matcher: MetadataMatcher, scope: Scope): MetadataPredicate {
  const filter = matcher.filter ?? "";
  if (filter === "") scope.at("filter").fail("must not be empty");
  const path = (matcher.path ?? []).map((segment) => segment.key ?? "");
  if (path.length === 0) scope.at("path").fail("must not be empty");
  if (!matcher.value) scope.at("value").fail("is required");
  const test = compileValueMatcher(matcher.value ?? {}, scope.at("value"));
  const isInverted = matcher.invert ?? false;
  return (metadata) => test(metadataAt(metadata, filter, path)) !== isInverted;
}

/** Compiles the test of one value of the metadata. Problems go to `scope`. */
export function compileValueMatcher(matcher: ValueMatcher, scope: Scope): ValuePredicate {
  if (matcher.string_match) {
    const test = compileStringMatcher(matcher.string_match, scope.at("string_match"));
    return (value) => typeof value === "string" && test(value);
  }
  if (matcher.null_match) return (value) => value === null;
  if (matcher.double_match) {
    const { range, exact } = matcher.double_match;
    if (range) {
      const { start = 0, end = 0 } = range;
      return (value) => typeof value === "number" && value >= (start ?? 0) && value < (end ?? 0);
    }
    return (value) => value === (exact ?? 0);
  }
  if (typeof matcher.bool_match === "boolean") {
    const wanted = matcher.bool_match;
    return (value) => value === wanted;
  }
  if (typeof matcher.present_match === "boolean") {
    const wanted = matcher.present_match;
    return (value) => (value !== undefined) === wanted;
  }
  if (matcher.list_match?.one_of) {
    const test = compileValueMatcher(matcher.list_match.one_of, scope.at("list_match", "one_of"));
    return (value) => Array.isArray(value) && value.some((item: MetadataValue) => test(item));
  }
  if (matcher.or_match) {
    const tests = (matcher.or_match.value_matchers ?? []).map((one, i) =>
      compileValueMatcher(one, scope.at("or_match", "value_matchers", i)),
    );
    return (value) => tests.some((test) => test(value));
  }
  scope.fail(
    "must set one of null_match, double_match, string_match, bool_match, present_match, list_match, or_match",
  );
  return () => false;
}
