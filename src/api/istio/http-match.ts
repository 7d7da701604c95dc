import { z } from "zod";
import { stringMap, text, texts } from "../fields.ts";
import { isRe2 } from "./re2.ts";

/** An RE2 expression; Istio bounds its length for the sake of the proxies. */
export const regex = text.max(1024).refine((value) => value !== "" && isRe2(value), {
  error: (issue) => `must be an RE2 expression (found ${JSON.stringify(issue.input)})`,
});
/** A port that a match asks for; 0 = any. */
export const matchPort = z.int().min(0).max(65_535);

const kinds = {
  exact: text.optional(),
  /** Gateway API's and Flagger's. */
  suffix: text.optional(),
};

function oneOf<Schema extends z.ZodType<object>>(match: Schema): Schema {
  const isOne = (value: object): boolean =>
    Object.values(value).filter((each) => each !== undefined).length <= 1;
  return match.refine(isOne, "must set only one of exact, prefix, suffix, regex");
}

/** Istio's StringMatch: one of its kinds. Everything has the empty prefix: only a path may ask for it. */
export const stringMatch = oneOf(
  z.strictObject({ ...kinds, prefix: text.min(1).optional(), regex: regex.optional() }),
);
const pathMatch = oneOf(
  z.strictObject({ ...kinds, prefix: text.optional(), regex: regex.optional() }),
);
/** `*`, which is no expression, asks for a header of any value. */
const headerMatch = oneOf(
  z.strictObject({
    ...kinds,
    prefix: text.min(1).optional(),
    regex: text
      .max(1024)
      .refine((value) => value === "*" || (value !== "" && isRe2(value)), {
        error: (issue) => `must be an RE2 expression (found ${JSON.stringify(issue.input)})`,
      })
      .optional(),
  }),
);

const headerName = z.string().regex(/^(?:[-_A-Za-z0-9]+|@request\.auth\.claims.+)$/, {
  error: "must be a header name",
});
const stringMatches = z.record(z.string(), stringMatch);

/** Istio's HTTPMatchRequest. */
export const httpMatch = z.strictObject({
  name: text.optional(),
  uri: pathMatch.optional(),
  scheme: stringMatch.optional(),
  method: stringMatch.optional(),
  authority: stringMatch.optional(),
  headers: z.record(headerName, headerMatch).optional(),
  withoutHeaders: z.record(headerName, headerMatch).optional(),
  queryParams: stringMatches.optional(),
  ignoreUriCase: z.boolean().optional(),
  port: matchPort.optional(),
  sourceLabels: stringMap.optional(),
  sourceNamespace: text.optional(),
  gateways: texts.optional(),
  statPrefix: text.optional(),
});

const headerOperations = z.strictObject({
  set: stringMap.optional(),
  add: stringMap.optional(),
  remove: texts.optional(),
});

/** Istio's Headers: operations on requests and responses. */
export const headers = z.strictObject({
  request: headerOperations.optional(),
  response: headerOperations.optional(),
});
