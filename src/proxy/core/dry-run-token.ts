import type { envoy_extensions_filters_http_jwt_authn_v3_JwtAuthentication as JwtAuthentication } from "../../xds/index.ts";
import { compileJwt } from "./compile/jwt.ts";
import { compileResource } from "./compile/scope.ts";
import type { DryRequest } from "./dry-run.ts";
import {
  checkClaims,
  failureOfAny,
  type JwksSource,
  type JwtFailure,
  type JwtProvider,
  type JwtRequirement,
  normalizedPayload,
  parseToken,
} from "./jwt.ts";
import { tokenAt } from "./jwt-location.ts";
import type { MetadataValue } from "./metadata.ts";

/** What a JWT filter says of a request. */
export interface DryTokens {
  /** The answer's body; undefined: the request goes on. */
  readonly failure: JwtFailure | undefined;
  /** What it leaves for later filters, under its own name. */
  readonly metadata: { readonly [key: string]: MetadataValue };
}

interface World {
  readonly nowSeconds: number;
  /** Whether a token's signature is by one of these keys. */
  isSigned(token: string, keys: JwksSource): boolean;
}

/** What a JWT filter would say of the tokens of a request; signatures are the caller's to check. */
export function dryTokens(filter: JwtAuthentication, request: DryRequest, world: World): DryTokens {
  const config = compileResource("JwtAuthentication", (scope) =>
    compileJwt(filter, NO_FILES, scope),
  );
  const metadata: Record<string, MetadataValue> = {};
  const failures = config.rules.flatMap(({ requirement }) =>
    requirement === undefined ? [] : [satisfy(requirement, request, world, metadata)],
  );
  return { failure: failures.find((each) => each !== undefined), metadata };
}

const NO_FILES = {
  readFile: (): Uint8Array => new Uint8Array(0),
  environment: (): undefined => undefined,
  timeOriginMs: 0,
};

type Metadata = Record<string, MetadataValue>;

function satisfy(
  requirement: JwtRequirement,
  request: DryRequest,
  world: World,
  metadata: Metadata,
): JwtFailure | undefined {
  switch (requirement.kind) {
    case "provider": {
      const { provider, audiences } = requirement;
      return verify(provider, audiences ?? provider.audiences, request, world, metadata);
    }
    case "all":
      for (const one of requirement.requirements) {
        const failure = satisfy(one, request, world, metadata);
        if (failure !== undefined) return failure;
      }
      return undefined;
    case "any": {
      const others = requirement.requirements.filter(({ kind }) => kind !== "allowMissing");
      const failures: JwtFailure[] = [];
      for (const one of others) {
        const failure = satisfy(one, request, world, metadata);
        if (failure === undefined) return undefined;
        failures.push(failure);
      }
      return failureOfAny(failures, others.length < requirement.requirements.length);
    }
    case "allowMissing":
    case "allowMissingOrFailed":
      return undefined;
  }
}

function verify(
  provider: JwtProvider,
  audiences: ReadonlySet<string>,
  request: DryRequest,
  world: World,
  metadata: Metadata,
): JwtFailure | undefined {
  const tokens = provider.locations.flatMap((location) => tokenIn(location, request));
  if (tokens.length === 0) return "Jwt is missing";
  for (const token of tokens) {
    const parsed = parseToken(token, decodeBase64Url);
    if (typeof parsed === "string") return parsed;
    const problem = checkClaims(parsed, provider, audiences, world.nowSeconds);
    if (problem !== undefined) return problem;
    if (!world.isSigned(token, provider.jwks)) return "Jwt verification fails";
    if (provider.payloadInMetadata !== "") {
      metadata[provider.payloadInMetadata] = normalizedPayload(
        parsed.payload,
        provider.spaceDelimitedClaims,
      );
    }
  }
  return undefined;
}

function tokenIn(
  location: JwtProvider["locations"][number],
  { headers, target }: DryRequest,
): readonly string[] {
  const values = (name: string): readonly string[] =>
    headers.flatMap(([key, value]) => (key === name ? [value] : []));
  const token = tokenAt(location, {
    target,
    first: (name) => values(name)[0],
    joined: (name) => values(name).join("; ") || undefined,
  });
  return token === undefined || token === "" ? [] : [token];
}

function decodeBase64Url(text: string): string | undefined {
  try {
    return new TextDecoder().decode(Uint8Array.fromBase64(text, { alphabet: "base64url" }));
  } catch {
    // The caller says that it is none.
    return undefined;
  }
}
