import type { FilterOverride, JwtConfig } from "../config/runtime-config.ts";
import type { ProxyContext } from "../context.ts";
import { FIELD_VALUE } from "../core/http1/characters.ts";
import {
  checkClaims,
  claimText,
  failureOfAny,
  type JwksSource,
  type JwtFailure,
  type JwtProvider,
  type JwtRequirement,
  normalizedPayload,
  type ParsedToken,
  parseToken,
  type TokenLocation,
} from "../core/jwt.ts";
import { tokenAt } from "../core/jwt-location.ts";
import { pathOf, selectRoute } from "../core/route.ts";
import type { Exchange } from "../upstream/exchange.ts";
import { Jwks } from "./jwks.ts";

const NAME = "envoy.filters.http.jwt_authn";
const MISSING: JwtFailure = "Jwt is missing";

/** Keys by where they come from: a provider that stays the same keeps its keys. */
const known = new WeakMap<JwksSource, Jwks>();

/** Envoy's jwt_authn filter: tokens are checked as the first matching rule, or the route, requires. */
export function authenticate(
  exchange: Exchange,
  config: JwtConfig,
  override: FilterOverride | undefined,
  next: () => void,
): void {
  for (const name of config.sanitizedHeaders) exchange.head.headers.remove(name);
  const requirement = requirementOf(exchange, config, override);
  if (requirement === "unknown") {
    count(exchange, "denied");
    refuseUnknown(exchange, config, override);
    return;
  }
  const isPreflight =
    exchange.method === "OPTIONS" &&
    exchange.get("origin") !== undefined &&
    exchange.get("access-control-request-method") !== undefined;
  if (requirement === undefined || (config.bypassCorsPreflight && isPreflight)) {
    count(exchange, "allowed");
    next();
    return;
  }
  const goOn = exchange.hold(next);
  void satisfy(exchange, requirement).then(
    (failure) => {
      if (failure === undefined || exchange.isFinished) {
        count(exchange, "allowed");
        goOn();
        return;
      }
      count(exchange, "denied");
      refuse(exchange, config, failure);
    },
    (error: unknown) => {
      exchange.context.logger.error({ err: error }, "JWT verification failed unexpectedly");
      refuse(exchange, config, "Jwt verification fails");
    },
  );
}

/** The route names a requirement that the filter does not have: nobody may pass. */
function refuseUnknown(
  exchange: Exchange,
  config: JwtConfig,
  override: FilterOverride | undefined,
): void {
  const name = override?.kind === "jwt" ? (override.requirementName ?? "") : "";
  const names = [...config.named.keys()].join(",");
  const why = `Wrong requirement_name: ${name}. It should be one of [${names}]`;
  const body = `Failed JWT authentication: ${why}`;
  exchange.reply(
    {
      status: 403,
      body,
      details: `jwt_authn_access_denied{${why.replaceAll(" ", "_")}}`,
      isOverloaded: false,
    },
    [],
  );
}

function requirementOf(
  exchange: Exchange,
  config: JwtConfig,
  override: FilterOverride | undefined,
): JwtRequirement | "unknown" | undefined {
  if (override?.kind === "jwt" && override.requirementName === undefined) return undefined;
  if (override?.kind === "jwt") {
    return config.named.get(override.requirementName ?? "") ?? "unknown";
  }
  return selectRoute(config.rules, exchange.target, exchange)?.requirement;
}

function refuse(exchange: Exchange, config: JwtConfig, failure: JwtFailure): void {
  const isForbidden = failure === "Audiences in Jwt are not allowed";
  const { connection, head, target } = exchange;
  const realm = `${connection.isTls ? "https" : "http"}://${head.authority}${target}`;
  const error = failure === MISSING ? "" : ', error="invalid_token"';
  exchange.reply(
    {
      status: isForbidden ? 403 : 401,
      body: config.stripFailureResponse ? "" : failure,
      details: `jwt_authn_access_denied{${failure.replaceAll(" ", "_")}}`,
      isOverloaded: false,
    },
    config.stripFailureResponse ? [] : [["www-authenticate", `Bearer realm="${realm}"${error}`]],
  );
}

/** Undefined when the requirement is met. */
async function satisfy(
  exchange: Exchange,
  requirement: JwtRequirement,
): Promise<JwtFailure | undefined> {
  switch (requirement.kind) {
    case "provider": {
      const { provider, audiences } = requirement;
      return verifyProvider(exchange, provider, audiences ?? provider.audiences);
    }
    case "all":
      for (const one of requirement.requirements) {
        const failure = await satisfy(exchange, one);
        if (failure !== undefined) return failure;
      }
      return undefined;
    case "any":
      return satisfyAny(exchange, requirement.requirements);
    case "allowMissing":
      return MISSING_IS_FINE;
    case "allowMissingOrFailed":
      return undefined;
  }
}

/** Alone it asks for nothing; beside providers it stands for "no token at all". */
const MISSING_IS_FINE = undefined;

/** The first that is met; else why none is. */
async function satisfyAny(
  exchange: Exchange,
  requirements: readonly JwtRequirement[],
): Promise<JwtFailure | undefined> {
  const failures: JwtFailure[] = [];
  for (const one of requirements) {
    if (one.kind === "allowMissing") continue;
    const result = await satisfy(exchange, one);
    if (result === undefined) return undefined;
    failures.push(result);
  }
  return failureOfAny(
    failures,
    requirements.some(({ kind }) => kind === "allowMissing"),
  );
}

interface FoundToken {
  readonly token: string;
  readonly location: TokenLocation;
}

async function verifyProvider(
  exchange: Exchange,
  provider: JwtProvider,
  audiences: ReadonlySet<string>,
): Promise<JwtFailure | undefined> {
  const tokens = provider.locations.flatMap((location) => tokensAt(exchange, location));
  if (tokens.length === 0) return MISSING;
  // Envoy wants every token it finds for a provider to be good.
  for (const { token, location } of tokens) {
    const parsed = parseToken(token, decodeBase64Url);
    if (typeof parsed === "string") return parsed;
    const problem = checkClaims(parsed, provider, audiences, exchange.context.clock.nowMs() / 1000);
    if (problem !== undefined) return problem;
    const failure = await verifySignature(exchange.context, provider, token, parsed);
    if (failure !== undefined) return failure;
    accept(exchange, provider, location, parsed);
  }
  return undefined;
}

async function verifySignature(
  context: ProxyContext,
  provider: JwtProvider,
  token: string,
  parsed: ParsedToken,
): Promise<JwtFailure | undefined> {
  let jwks = known.get(provider.jwks);
  if (jwks === undefined) {
    jwks = new Jwks(provider.jwks);
    known.set(provider.jwks, jwks);
  }
  const keys = await jwks.keysFor(context, parsed.header);
  if (typeof keys === "string") return keys;
  const { compactVerify } = await import("jose");
  for (const key of keys) {
    try {
      await compactVerify(token, key, { algorithms: [parsed.algorithm] });
      return undefined;
    } catch {
      // The next key may be the one.
    }
  }
  return "Jwt verification fails";
}

function tokensAt(exchange: Exchange, location: TokenLocation): readonly FoundToken[] {
  const { head, target } = exchange;
  const token = tokenAt(location, {
    target,
    first: (name) => head.headers.first(name),
    joined: (name) => head.headers.get(name),
  });
  return token === undefined || token === "" ? [] : [{ token, location }];
}

function withoutParameter(target: string, name: string): string {
  const path = pathOf(target);
  const pairs = target.slice(path.length + 1).split("&");
  const kept = pairs.filter((pair) => pair !== name && !pair.startsWith(`${name}=`));
  return kept.length === 0 ? path : `${path}?${kept.join("&")}`;
}

/** What a good token leaves behind: claims for the application and for later filters. */
function accept(
  exchange: Exchange,
  provider: JwtProvider,
  location: TokenLocation,
  { payload, header, encodedPayload }: ParsedToken,
): void {
  const { headers } = exchange.head;
  if (!provider.forward) {
    if (location.kind === "header") headers.remove(location.name);
    else if (location.kind === "query") {
      exchange.target = withoutParameter(exchange.target, location.name);
    }
  }
  if (provider.payloadHeader !== "") {
    headers.add(
      provider.payloadHeader,
      provider.padPayloadHeader ? padded(encodedPayload) : encodedPayload,
    );
  }
  for (const { header: name, claim } of provider.claimToHeaders) {
    const text = claimText(payload, claim, (json) => Buffer.from(json).toString("base64url"));
    if (text === undefined) continue;
    const bytes = Buffer.from(text, "utf8");
    // A claim with control characters would be no header: it is left out.
    if (bytes.every((byte) => FIELD_VALUE[byte] === 1)) headers.add(name, bytes.toString("latin1"));
  }
  const metadata = {
    ...(provider.payloadInMetadata === ""
      ? {}
      : {
          [provider.payloadInMetadata]: normalizedPayload(payload, provider.spaceDelimitedClaims),
        }),
    ...(provider.headerInMetadata === "" ? {} : { [provider.headerInMetadata]: header }),
  };
  if (Object.keys(metadata).length > 0) exchange.addMetadata(NAME, metadata);
}

function padded(text: string): string {
  return text.padEnd(Math.ceil(text.length / 4) * 4, "=");
}

function decodeBase64Url(text: string): string | undefined {
  if (!/^[A-Za-z0-9_-]*$/.test(text) || text.length % 4 === 1) return undefined;
  return Buffer.from(text, "base64url").toString("utf8");
}

function count(exchange: Exchange, stat: "allowed" | "denied"): void {
  const { manager, context } = exchange;
  context.telemetry.counter(`http.${manager.statPrefix}.jwt_authn.${stat}`).add(1);
}
