import { tryParseDurationMs } from "../../../base/index.ts";
import { type MessageTypes, packAny } from "../../../xds/index.ts";
import { listOf, objectOf, textOf } from "../model-object.ts";

type Any = ReturnType<typeof packAny>;
type StringMatcher = MessageTypes["envoy.type.matcher.v3.StringMatcher"];

/** Name of the cors filter, as key of per-route configuration. */
export const CORS_FILTER = "envoy.filters.http.cors";
const POLICY = "envoy.extensions.filters.http.cors.v3.CorsPolicy";

/** A VirtualService's corsPolicy as the cors filter's configuration; undefined without one. */
export function corsConfig(corsPolicy: unknown): Any | undefined {
  if (corsPolicy === undefined || corsPolicy === null) return undefined;
  const policy = objectOf(corsPolicy);
  const texts = (field: string): readonly string[] =>
    listOf(policy[field]).filter((each) => typeof each === "string");
  const joined = (field: string, to: string): Record<string, string> =>
    texts(field).length === 0 ? {} : { [to]: texts(field).join(",") };
  const maxAgeMs = tryParseDurationMs(textOf(policy["maxAge"]) ?? "");
  const unmatched = policy["unmatchedPreflights"];
  return packAny(POLICY, {
    allow_origin_string_match: [
      // The older field: exact origins, or a star for all.
      ...texts("allowOrigin").map((origin) =>
        origin === "*" ? { safe_regex: { regex: ".*" } } : { exact: origin },
      ),
      ...listOf(policy["allowOrigins"]).flatMap((each) => originMatcher(objectOf(each)) ?? []),
    ],
    filter_enabled: { default_value: { numerator: 100 } },
    ...joined("allowMethods", "allow_methods"),
    ...joined("allowHeaders", "allow_headers"),
    ...joined("exposeHeaders", "expose_headers"),
    ...(maxAgeMs === undefined ? {} : { max_age: String(Math.trunc(maxAgeMs / 1000)) }),
    ...(typeof policy["allowCredentials"] === "boolean"
      ? { allow_credentials: { value: policy["allowCredentials"] } }
      : {}),
    ...(unmatched === "IGNORE" || unmatched === "FORWARD"
      ? { forward_not_matching_preflights: { value: unmatched === "FORWARD" } }
      : {}),
  });
}

function originMatcher(match: Readonly<Record<string, unknown>>): StringMatcher | undefined {
  const exact = textOf(match["exact"]);
  if (exact !== undefined) return { exact };
  const prefix = textOf(match["prefix"]);
  if (prefix !== undefined) return { prefix };
  const regex = textOf(match["regex"]);
  return regex === undefined ? undefined : { safe_regex: { regex } };
}
