import { z } from "zod";
import { count, stringMap, text, texts } from "../fields.ts";

/** RE2 is checked by the control plane; here only what no engine takes is refused. */
export const regex = text.max(1024);

/** Istio's StringMatch: one of its kinds. */
export const stringMatch = z
  .strictObject({
    exact: text.optional(),
    prefix: text.optional(),
    /** Gateway API's and Flagger's. */
    suffix: text.optional(),
    regex: regex.optional(),
  })
  .refine((match) => Object.values(match).filter((value) => value !== undefined).length <= 1, {
    error: "must set only one of exact, prefix, suffix, regex",
  });

const stringMatches = z.record(z.string(), stringMatch);

/** Istio's HTTPMatchRequest. */
export const httpMatch = z.strictObject({
  name: text.optional(),
  uri: stringMatch.optional(),
  scheme: stringMatch.optional(),
  method: stringMatch.optional(),
  authority: stringMatch.optional(),
  headers: stringMatches.optional(),
  withoutHeaders: stringMatches.optional(),
  queryParams: stringMatches.optional(),
  ignoreUriCase: z.boolean().optional(),
  port: count.optional(),
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
