import { z } from "zod";
import { tryParseDurationMs } from "../../base/index.ts";
import { freeForm, name, text } from "../fields.ts";
import { regex } from "../istio/http-match.ts";
import type { KubeObject } from "../meta.ts";
import { parseSpec } from "../parse-resource.ts";
import { type Problem, rules } from "../rules.ts";
import { backendList, filterList, httpFilter } from "./filters.ts";
import {
  gatewayDuration,
  hostname,
  parentRefs,
  ruleNameProblems,
  sectionName,
} from "./references.ts";

const METHODS = [
  ...(["GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"] as const),
] as const;
/** pchar of RFC 3986, and the slash. */
const PATH = /^(?:[-A-Za-z0-9/._~!$&'()*+,;=:@]|%[0-9a-fA-F]{2})+$/;
const matchTypes = z.enum(["Exact", "RegularExpression"]);

const headerName = z.string().regex(/^[A-Za-z0-9!#$%&'*+\-.^_|~]{1,256}$/, "must be a header name");

/** An expression is one that proxies can compile. */
function* expressionProblems(match: {
  readonly type?: string | undefined;
  readonly value?: string | undefined;
}): Generator<Problem> {
  if (match.type !== "RegularExpression") return;
  const found = regex.safeParse(match.value);
  if (!found.success) yield [["value"], "must be an RE2 expression"];
}

/** A match of a header, by its name in whatever case. */
export const headerMatch = z
  .strictObject({ type: matchTypes.optional(), name: headerName, value: name.max(4096) })
  .superRefine(rules(expressionProblems));

const queryMatch = z
  .strictObject({ type: matchTypes.optional(), name: headerName, value: name.max(1024) })
  .superRefine(rules(expressionProblems));

const path = z
  .strictObject({
    type: z.enum(["Exact", "PathPrefix", "RegularExpression"]).optional(),
    value: text.max(1024).optional(),
  })
  .superRefine(
    rules(function* ({ type = "PathPrefix", value = "/" }) {
      if (type === "RegularExpression") {
        yield* expressionProblems({ type, value });
        return;
      }
      if (!value.startsWith("/")) yield [["value"], "must be an absolute path and start with /"];
      if (!PATH.test(value)) yield [["value"], "must hold only characters of a path (RFC 3986)"];
      for (const part of ["//", "/./", "/../", "%2f", "%2F"]) {
        if (value.includes(part)) yield [["value"], `must not contain ${part}`];
      }
      if (/\/\.{1,2}$/.test(value)) yield [["value"], "must not end with /. or /.."];
    }),
  );

const match = z.strictObject({
  path: path.optional(),
  headers: z.array(headerMatch).max(16).optional(),
  queryParams: z.array(queryMatch).max(16).optional(),
  method: z.enum(METHODS).optional(),
});
export type HttpRouteMatch = z.infer<typeof match>;

const rule = z
  .strictObject({
    name: sectionName.optional(),
    matches: z.array(match).max(64).optional(),
    filters: filterList(httpFilter).optional(),
    backendRefs: backendList(httpFilter).optional(),
    timeouts: z
      .strictObject({
        request: gatewayDuration.optional(),
        backendRequest: gatewayDuration.optional(),
      })
      .superRefine(
        rules(function* ({ request = "0s", backendRequest = "0s" }) {
          const [all, one] = [request, backendRequest].map((each) => tryParseDurationMs(each) ?? 0);
          if (all && one && one > all)
            yield [["backendRequest"], "must not be longer than request"];
        }),
      )
      .optional(),
    retry: z
      .strictObject({
        codes: z.array(z.int().min(400).max(599)).optional(),
        attempts: z.int().min(0).optional(),
        backoff: gatewayDuration.optional(),
      })
      .optional(),
    sessionPersistence: freeForm.optional(),
  })
  .superRefine(rules(ruleProblems));
export type HttpRouteRule = z.infer<typeof rule>;

function* ruleProblems(found: {
  readonly matches?: readonly HttpRouteMatch[] | undefined;
  readonly filters?: readonly z.infer<typeof httpFilter>[] | undefined;
  readonly backendRefs?: readonly unknown[] | undefined;
}): Generator<Problem> {
  const { matches = [], filters = [], backendRefs = [] } = found;
  if (backendRefs.length > 0 && filters.some(({ type }) => type === "RequestRedirect")) {
    yield [["backendRefs"], "cannot be set together with a RequestRedirect filter"];
  }
  const isPrefixMatch =
    matches.length === 0 ||
    (matches.length === 1 && (matches[0]?.path?.type ?? "PathPrefix") === "PathPrefix");
  for (const [index, { requestRedirect, urlRewrite }] of filters.entries()) {
    for (const [field, filter] of Object.entries({ requestRedirect, urlRewrite })) {
      if (filter?.path?.type === "ReplacePrefixMatch" && !isPrefixMatch) {
        yield [
          ["filters", index, field, "path", "replacePrefixMatch"],
          "needs exactly one match, of type PathPrefix",
        ];
      }
    }
  }
}

/** Schema of an HTTPRoute's spec (gateway.networking.k8s.io). */
export const httpRouteSpec = z.strictObject({
  parentRefs: parentRefs.optional(),
  hostnames: z.array(hostname).max(16).optional(),
  rules: z.array(rule).max(16).superRefine(rules(ruleNameProblems)).optional(),
  useDefaultGateways: text.optional(),
});
export type HttpRouteSpec = z.infer<typeof httpRouteSpec>;

/** Reads an HTTPRoute. Throws SERIN_INVALID_RESOURCE that lists every bad path. */
export function parseHttpRoute(object: KubeObject): HttpRouteSpec {
  return parseSpec(object, httpRouteSpec);
}
