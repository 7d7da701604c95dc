import type { MetadataValue } from "./metadata.ts";

/** Where a provider's tokens are found. */
export type TokenLocation =
  | { readonly kind: "header"; readonly name: string; readonly prefix: string }
  | { readonly kind: "query"; readonly name: string }
  | { readonly kind: "cookie"; readonly name: string };

/** Where a provider's keys come from. */
export type JwksSource =
  | { readonly kind: "inline"; readonly jwks: JwksDocument }
  | {
      readonly kind: "remote";
      readonly uri: string;
      readonly cluster: string;
      readonly timeoutMs: number;
      readonly cacheMs: number;
      readonly isPrefetched: boolean;
      /** After a fetch that failed, for the ones in the background. */
      readonly failedRefetchMs: number;
      readonly retries: number;
      readonly backoffBaseMs: number;
      readonly backoffMaxMs: number;
    };

/** A JSON Web Key Set (RFC 7517 §5). */
export interface JwksDocument {
  readonly keys: readonly Readonly<Record<string, unknown>>[];
}

/** One JwtProvider. */
export interface JwtProvider {
  readonly name: string;
  /** "" = any. */
  readonly issuer: string;
  /** Empty = any. */
  readonly audiences: ReadonlySet<string>;
  readonly matchesSubject: ((subject: string) => boolean) | undefined;
  readonly requireExpiration: boolean;
  readonly clockSkewSeconds: number;
  readonly locations: readonly TokenLocation[];
  readonly jwks: JwksSource;
  /** The token stays in the request. */
  readonly forward: boolean;
  /** "" = not forwarded. */
  readonly payloadHeader: string;
  readonly padPayloadHeader: boolean;
  readonly payloadInMetadata: string;
  readonly headerInMetadata: string;
  /** Claims that are lists in one string, written to the metadata as lists. */
  readonly spaceDelimitedClaims: readonly string[];
  readonly claimToHeaders: readonly { readonly header: string; readonly claim: string }[];
}

export type JwtRequirement =
  | {
      readonly kind: "provider";
      readonly provider: JwtProvider;
      /** In place of the provider's. */
      readonly audiences: ReadonlySet<string> | undefined;
    }
  | { readonly kind: "any" | "all"; readonly requirements: readonly JwtRequirement[] }
  | { readonly kind: "allowMissing" }
  | { readonly kind: "allowMissingOrFailed" };

/** A token taken apart, nothing verified. */
export interface ParsedToken {
  readonly algorithm: string;
  readonly header: Readonly<Record<string, MetadataValue>>;
  readonly payload: Readonly<Record<string, MetadataValue>>;
  /** The middle part as it came: base64url without padding. */
  readonly encodedPayload: string;
}

/** Why a token is not good enough, in Envoy's words; they are the answer's body. */
export type JwtFailure =
  | "Jwt is missing"
  | "Jwt is not in the form of Header.Payload.Signature with two dots and 3 sections"
  | "Jwt header is an invalid Base64url encoded"
  | "Jwt header is an invalid JSON"
  | "Jwt header [alg] is not supported"
  | "Jwt payload is an invalid Base64url encoded"
  | "Jwt payload is an invalid JSON"
  | "Jwt signature is an invalid Base64url encoded"
  | "Jwt issuer is not configured"
  | "Jwt subject is not allowed"
  | "Jwt not yet valid"
  | "Jwt is expired"
  | "Jwt must have an expiration"
  | "Audiences in Jwt are not allowed"
  | "Jwks remote fetch is failed"
  | "Jwks doesn't have key to match kid or alg from Jwt"
  | "Jwt verification fails";

export const SUPPORTED_ALGORITHMS: readonly string[] = [
  ...["ES256", "ES384", "ES512", "HS256", "HS384", "HS512", "RS256", "RS384", "RS512"],
  ...["PS256", "PS384", "PS512", "EdDSA"],
];

type Base64Url = (text: string) => string | undefined;

/** Takes a token apart (RFC 7519 §3). `decode` gives text from base64url, undefined when it is none. */
export function parseToken(token: string, decode: Base64Url): ParsedToken | JwtFailure {
  const parts = token.split(".");
  const [header = "", payload = "", signature = ""] = parts;
  if (parts.length !== 3 || parts.includes("")) {
    return "Jwt is not in the form of Header.Payload.Signature with two dots and 3 sections";
  }
  const headerText = decode(header);
  if (headerText === undefined) return "Jwt header is an invalid Base64url encoded";
  const headerJson = parseObject(headerText);
  if (headerJson === undefined) return "Jwt header is an invalid JSON";
  const { alg } = headerJson;
  if (typeof alg !== "string" || !SUPPORTED_ALGORITHMS.includes(alg)) {
    return "Jwt header [alg] is not supported";
  }
  const payloadText = decode(payload);
  if (payloadText === undefined) return "Jwt payload is an invalid Base64url encoded";
  const payloadJson = parseObject(payloadText);
  if (payloadJson === undefined) return "Jwt payload is an invalid JSON";
  if (decode(signature) === undefined) return "Jwt signature is an invalid Base64url encoded";
  return { algorithm: alg, header: headerJson, payload: payloadJson, encodedPayload: payload };
}

function parseObject(text: string): Readonly<Record<string, MetadataValue>> | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === "object" && value !== null && !Array.isArray(value)
      ? (value as Readonly<Record<string, MetadataValue>>)
      : undefined;
  } catch {
    return undefined;
  }
}

/**
 * Checks the claims against a provider, before any key is looked at, in Envoy's order. Undefined when
 * all is well. `nowSeconds` since the epoch.
 */
export function checkClaims(
  { payload }: ParsedToken,
  provider: JwtProvider,
  audiences: ReadonlySet<string>,
  nowSeconds: number,
): JwtFailure | undefined {
  const { iss, sub, exp, nbf, aud } = payload;
  if (provider.issuer !== "" && iss !== provider.issuer) return "Jwt issuer is not configured";
  if (provider.matchesSubject !== undefined) {
    if (typeof sub !== "string" || !provider.matchesSubject(sub))
      return "Jwt subject is not allowed";
  }
  const skew = provider.clockSkewSeconds;
  if (typeof nbf === "number" && nbf > nowSeconds + skew) return "Jwt not yet valid";
  if (typeof exp === "number" && exp > 0 && nowSeconds > exp + skew) return "Jwt is expired";
  if (provider.requireExpiration && typeof exp !== "number") return "Jwt must have an expiration";
  if (audiences.size === 0) return undefined;
  const given = Array.isArray(aud) ? aud : [aud];
  const isAllowed = given.some(
    (one) => typeof one === "string" && audiences.has(plainAudience(one)),
  );
  return isAllowed ? undefined : "Audiences in Jwt are not allowed";
}

/**
 * Why none of several requirements is met: the failure that says most, as Envoy chooses it. Undefined
 * when all there is to say is that there is no token, and there need not be one.
 */
export function failureOfAny(
  failures: readonly JwtFailure[],
  mayBeMissing: boolean,
): JwtFailure | undefined {
  if (mayBeMissing && failures.every((each) => each === "Jwt is missing")) return undefined;
  const saysMore = failures.findLast(
    (each) => each !== "Jwt is missing" && each !== "Jwt issuer is not configured",
  );
  return saysMore ?? failures.find((each) => each !== "Jwt is missing") ?? "Jwt is missing";
}

/** Envoy compares audiences without scheme and trailing slash. */
export function plainAudience(audience: string): string {
  return audience.replace(/^https?:\/\//, "").replace(/\/$/, "");
}

/** The value of a claim by its path (`a.b`), as a header carries it; undefined when there is none. */
export function claimText(
  payload: Readonly<Record<string, MetadataValue>>,
  claim: string,
  encode: (text: string) => string,
): string | undefined {
  const own = payload[claim];
  const value = own === undefined ? nested(payload, claim) : own;
  switch (typeof value) {
    case "string":
      return value;
    case "number":
    case "boolean":
      return String(value);
    default:
      return value === undefined || value === null ? undefined : encode(JSON.stringify(value));
  }
}

function nested(
  payload: Readonly<Record<string, MetadataValue>>,
  claim: string,
): MetadataValue | undefined {
  let value: MetadataValue | undefined = payload;
  for (const key of claim.split(".")) {
    if (typeof value !== "object" || value === null || Array.isArray(value)) return undefined;
    const fields = value as Readonly<Record<string, MetadataValue>>;
    value = Object.hasOwn(fields, key) ? fields[key] : undefined;
  }
  return value;
}

/** The payload with each of these claims as a list (RFC 8693 §4.2: `scope` is one string). */
export function normalizedPayload(
  payload: Readonly<Record<string, MetadataValue>>,
  claims: readonly string[],
): Readonly<Record<string, MetadataValue>> {
  if (claims.length === 0) return payload;
  const out: Record<string, MetadataValue> = { ...payload };
  for (const claim of claims) {
    const value = out[claim];
    if (typeof value === "string") out[claim] = value.split(" ").filter((word) => word !== "");
  }
  return out;
}
