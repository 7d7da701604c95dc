import { z } from "zod";
import type { KubeObject } from "../meta.ts";
import { parseSpec } from "../parse-resource.ts";
import { type Problem, rules } from "../rules.ts";
import { workloadSelector } from "./traffic-policy.ts";

const strings = z.array(z.string().min(1, "must not be empty")).optional();

const jwtRule = z.strictObject({
  issuer: z.string().min(1, "must not be empty"),
  audiences: strings,
  jwksUri: z.string().optional(),
  jwks: z.string().optional(),
  fromHeaders: z
    .array(
      z.strictObject({
        name: z.string().min(1, "must not be empty"),
        prefix: z.string().optional(),
      }),
    )
    .optional(),
  fromParams: strings,
  fromCookies: strings,
  outputPayloadToHeader: z.string().optional(),
  outputClaimToHeaders: z
    .array(
      z.strictObject({
        header: z.string().min(1, "must not be empty"),
        claim: z.string().min(1, "must not be empty"),
      }),
    )
    .optional(),
  forwardOriginalToken: z.boolean().optional(),
  timeout: z.string().optional(),
  spaceDelimitedClaims: strings,
});

/** Schema of a RequestAuthentication's spec (security.istio.io). */
export const requestAuthenticationSpec = z
  .strictObject({
    selector: workloadSelector.optional(),
    jwtRules: z.array(jwtRule).optional(),
  })
  .superRefine(
    rules(function* ({ jwtRules = [] }) {
      for (const [i, one] of jwtRules.entries()) {
        for (const [path, message] of jwtProblems(one)) yield [["jwtRules", i, ...path], message];
      }
    }),
  );
export type RequestAuthenticationSpec = z.infer<typeof requestAuthenticationSpec>;
export type JwtRule = z.infer<typeof jwtRule>;

function* jwtProblems(one: JwtRule): Iterable<Problem> {
  const { jwks, jwksUri } = one;
  if ((jwks ?? "") !== "" && (jwksUri ?? "") !== "") {
    yield [["jwks"], "must not be set together with jwksUri"];
  }
  if ((jwks ?? "") !== "" && !isKeySet(jwks ?? "")) yield [["jwks"], "must be a JSON Web Key Set"];
  if ((jwksUri ?? "") !== "" && !/^https?:\/\/[^/]+/.test(jwksUri ?? "")) {
    yield [["jwksUri"], "must be an http or https URL"];
  }
  for (const [i, { header }] of (one.outputClaimToHeaders ?? []).entries()) {
    if (!/^[A-Za-z0-9_-]+$/.test(header)) {
      yield [["outputClaimToHeaders", i, "header"], `must be a header name (found ${header})`];
    }
  }
}

function isKeySet(text: string): boolean {
  try {
    const value: unknown = JSON.parse(text);
    return (
      typeof value === "object" && value !== null && "keys" in value && Array.isArray(value.keys)
    );
  } catch {
    return false;
  }
}

/** Reads a RequestAuthentication. Throws SERIN_INVALID_RESOURCE that lists every bad path. */
export function parseRequestAuthentication(object: KubeObject): RequestAuthenticationSpec {
  return parseSpec(object, requestAuthenticationSpec);
}
