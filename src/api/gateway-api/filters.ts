import { z } from "zod";
import { freeForm, name, percentNumber, port, text } from "../fields.ts";
import { type Problem, rules } from "../rules.ts";
import {
  backendFields,
  backendProblems,
  backendReference,
  preciseHostname,
  weight,
} from "./references.ts";

const headerName = z.string().regex(/^[A-Za-z0-9!#$%&'*+\-.^_|~]{1,256}$/, "must be a header name");
const headerValue = z
  .string()
  .min(1)
  .max(4096)
  .refine((value) => !/[\r\n\0]/.test(value), "must not contain line breaks or NUL");
const header = z.strictObject({ name: headerName, value: headerValue });

/** What a header modifier does; of one name only the first entry counts. */
export const headerModifier = z
  .strictObject({
    set: z.array(header).max(16).optional(),
    add: z.array(header).max(16).optional(),
    remove: z.array(headerName).max(16).optional(),
  })
  .superRefine(
    rules(function* (modifier) {
      const seen = new Map<string, string>();
      const names = [
        ...(["set", "add"] as const).flatMap((field) =>
          (modifier[field] ?? []).map((each, i) => [field, i, each.name] as const),
        ),
        ...(modifier.remove ?? []).map((each, i) => ["remove", i, each] as const),
      ];
      for (const [field, index, found] of names) {
        const key = found.toLowerCase();
        const earlier = seen.get(key);
        if (earlier !== undefined) yield [[field, index], `${found} is already in ${earlier}`];
        seen.set(key, `${field}[${index}]`);
      }
    }),
  );
export type HeaderModifier = z.infer<typeof headerModifier>;

const absolutePath = text.max(1024).refine((path) => path === "" || path.startsWith("/"), {
  error: (issue) => `must start with / (found ${JSON.stringify(issue.input)})`,
});

/** A new path: all of it, or the part that a PathPrefix match found. */
export const pathModifier = z
  .strictObject({
    type: z.enum(["ReplaceFullPath", "ReplacePrefixMatch"]),
    replaceFullPath: absolutePath.optional(),
    replacePrefixMatch: absolutePath.optional(),
  })
  .superRefine(
    rules(function* ({ type, ...fields }) {
      const own = type === "ReplaceFullPath" ? "replaceFullPath" : "replacePrefixMatch";
      const other = own === "replaceFullPath" ? "replacePrefixMatch" : "replaceFullPath";
      if (fields[own] === undefined) yield [[own], `is required with type ${type}`];
      if (fields[other] !== undefined) yield [[other], `cannot be set with type ${type}`];
    }),
  );
export type PathModifier = z.infer<typeof pathModifier>;

const redirect = z.strictObject({
  scheme: z.enum(["http", "https"]).optional(),
  hostname: preciseHostname.optional(),
  path: pathModifier.optional(),
  port: port.optional(),
  statusCode: z
    .int()
    .refine((code) => [301, 302, 303, 307, 308].includes(code), {
      error: (issue) => `must be 301, 302, 303, 307 or 308 (found ${issue.input})`,
    })
    .optional(),
});
export type RequestRedirect = z.infer<typeof redirect>;

const mirror = z
  .strictObject({
    backendRef: backendReference,
    percent: percentNumber.optional(),
    fraction: z
      .strictObject({ numerator: z.int().min(0), denominator: z.int().min(1).optional() })
      .refine(({ numerator, denominator = 100 }) => numerator <= denominator, {
        error: "its numerator must not be more than its denominator",
      })
      .optional(),
  })
  .superRefine(
    rules(function* ({ percent, fraction }) {
      if (percent !== undefined && fraction !== undefined) {
        yield [["fraction"], "cannot be set together with percent"];
      }
    }),
  );

const origin = z.string().regex(/^(?:\*|[a-z][a-z0-9+.-]*:\/\/(?:\*|[^*/]+|\*\.[^*/]+))$/i, {
  error: (issue) =>
    `must be * or a scheme and a host such as https://*.example.com (found ${JSON.stringify(issue.input)})`,
});
const cors = z.strictObject({
  allowOrigins: z.array(origin).max(64).optional(),
  allowCredentials: z.boolean().optional(),
  allowMethods: z.array(name).max(9).optional(),
  allowHeaders: z.array(name).max(64).optional(),
  exposeHeaders: z.array(name).max(64).optional(),
  /** Seconds. */
  maxAge: z.int().min(1).max(2_147_483_647).optional(),
});
export type Cors = z.infer<typeof cors>;

const extensionRef = z.strictObject({ group: text, kind: name, name });

const GRPC_TYPES = [
  "RequestHeaderModifier",
  "ResponseHeaderModifier",
  "RequestMirror",
  "ExtensionRef",
] as const;
const HTTP_TYPES = [
  ...GRPC_TYPES,
  "RequestRedirect",
  "URLRewrite",
  "CORS",
  "ExternalAuth",
] as const;

/** The field that a filter's type asks for. */
const FIELDS = {
  RequestHeaderModifier: "requestHeaderModifier",
  ResponseHeaderModifier: "responseHeaderModifier",
  RequestMirror: "requestMirror",
  RequestRedirect: "requestRedirect",
  URLRewrite: "urlRewrite",
  CORS: "cors",
  ExtensionRef: "extensionRef",
  ExternalAuth: "externalAuth",
} as const satisfies Record<(typeof HTTP_TYPES)[number], string>;

const grpcFields = {
  requestHeaderModifier: headerModifier.optional(),
  responseHeaderModifier: headerModifier.optional(),
  requestMirror: mirror.optional(),
  extensionRef: extensionRef.optional(),
};

/** HTTPRouteFilter. */
export const httpFilter = z
  .strictObject({
    type: z.enum(HTTP_TYPES),
    ...grpcFields,
    requestRedirect: redirect.optional(),
    urlRewrite: z
      .strictObject({ hostname: preciseHostname.optional(), path: pathModifier.optional() })
      .optional(),
    cors: cors.optional(),
    externalAuth: freeForm.optional(),
  })
  .superRefine(rules(fieldProblems));
export type HttpFilter = z.infer<typeof httpFilter>;

/** GRPCRouteFilter. */
export const grpcFilter = z
  .strictObject({ type: z.enum(GRPC_TYPES), ...grpcFields })
  .superRefine(rules(fieldProblems));

/** The field of a filter's type is there, and no other. */
function* fieldProblems(filter: {
  readonly type: (typeof HTTP_TYPES)[number];
  readonly [field: string]: unknown;
}): Generator<Problem> {
  const own = FIELDS[filter.type];
  for (const field of Object.values(FIELDS)) {
    if (field === own && filter[field] === undefined) {
      yield [[field], `is required with type ${filter.type}`];
    }
    if (field !== own && filter[field] !== undefined) {
      yield [[field], `cannot be set with type ${filter.type}`];
    }
  }
}

/** Which filters exclude each other, and which may be there once. Source: HTTPRouteRule's CEL rules. */
export function* filterProblems(filters: readonly { readonly type: string }[]): Generator<Problem> {
  const many = new Set(["RequestMirror", "ExtensionRef"]);
  const seen = new Map<string, number>();
  for (const [index, { type }] of filters.entries()) {
    const earlier = seen.get(type);
    if (earlier !== undefined && !many.has(type)) {
      yield [[index, "type"], `${type} is already in filters[${earlier}]`];
    }
    seen.set(type, index);
  }
  const rewrite = seen.get("URLRewrite");
  if (rewrite !== undefined && seen.has("RequestRedirect")) {
    yield [[rewrite, "type"], "URLRewrite and RequestRedirect exclude each other"];
  }
}

/** One filter list. */
export function filterList<Filter extends z.ZodType<{ readonly type: string }>>(
  filter: Filter,
): z.ZodArray<Filter> {
  return z
    .array(filter)
    .max(16)
    .superRefine(rules<readonly { readonly type: string }[]>(filterProblems));
}

/** Destinations with their shares, and filters of their own. */
export function backendList<Filter extends z.ZodType<{ readonly type: string }>>(filter: Filter) {
  return z
    .array(
      z
        .strictObject({
          ...backendFields,
          weight: weight.optional(),
          filters: filterList(filter).optional(),
        })
        .superRefine(rules(backendProblems)),
    )
    .max(16);
}
