import {
  durationToMs,
  type envoy_extensions_filters_http_jwt_authn_v3_JwtAuthentication as JwtAuthentication,
  type envoy_extensions_filters_http_jwt_authn_v3_JwtProvider as ProviderMessage,
  type envoy_extensions_filters_http_jwt_authn_v3_JwtRequirement as RequirementMessage,
} from "../../../xds/index.ts";
import {
  type JwksDocument,
  type JwksSource,
  type JwtProvider,
  type JwtRequirement,
  plainAudience,
  type TokenLocation,
} from "../jwt.ts";
import type { JwtConfig } from "../runtime-config.ts";
import { type CompileContext, readData } from "./data-source.ts";
import { compileRouteMatch } from "./route-match.ts";
import type { Scope } from "./scope.ts";
import { compileStringMatcher } from "./string-matcher.ts";

const DEFAULT_CACHE_MS = 600_000;
const DEFAULT_CLOCK_SKEW_SECONDS = 60;
const DEFAULT_FAILED_REFETCH_MS = 1000;
const UNKNOWN_KEYS: JwksSource = { kind: "inline", jwks: { keys: [] } };

/** Compiles the jwt_authn filter. Problems go to `scope`. */
export function compileJwt(
  filter: JwtAuthentication,
  context: CompileContext,
  scope: Scope,
): JwtConfig {
  if (filter.filter_state_rules) scope.at("filter_state_rules").fail("is not supported");
  const providers = new Map<string, JwtProvider>();
  for (const [name, provider] of Object.entries(filter.providers ?? {})) {
    providers.set(name, compileProvider(name, provider, context, scope.at("providers", name)));
  }
  const requirement = (message: RequirementMessage, place: Scope): JwtRequirement =>
    compileRequirement(message, providers, place);
  const named = new Map<string, JwtRequirement>();
  for (const [name, message] of Object.entries(filter.requirement_map ?? {})) {
    named.set(name, requirement(message, scope.at("requirement_map", name)));
  }
  const rules = (filter.rules ?? []).map((rule, i) => {
    const place = scope.at("rules", i);
    const match = compileRouteMatch(rule.match, place.at("match"));
    if (rule.requirement_name) {
      const found = named.get(rule.requirement_name);
      if (found === undefined) place.at("requirement_name").fail("names no requirement");
      return { ...match, requirement: found };
    }
    const { requires } = rule;
    return {
      ...match,
      requirement: requires ? requirement(requires, place.at("requires")) : undefined,
    };
  });
  return {
    rules,
    named,
    bypassCorsPreflight: filter.bypass_cors_preflight ?? false,
    stripFailureResponse: filter.strip_failure_response ?? false,
    sanitizedHeaders: [...providers.values()].flatMap((provider) => [
      ...(provider.payloadHeader === "" ? [] : [provider.payloadHeader]),
      ...provider.claimToHeaders.map(({ header }) => header),
    ]),
  };
}

function compileProvider(
  name: string,
  provider: ProviderMessage,
  context: CompileContext,
  scope: Scope,
): JwtProvider {
  for (const field of ["failed_status_in_metadata", "max_lifetime", "clear_route_cache"] as const) {
    if (provider[field]) scope.at(field).fail("is not supported");
  }
  const subjects = provider.subjects;
  return {
    name,
    issuer: provider.issuer ?? "",
    audiences: new Set((provider.audiences ?? []).map(plainAudience)),
    matchesSubject: subjects ? compileStringMatcher(subjects, scope.at("subjects")) : undefined,
    requireExpiration: provider.require_expiration ?? false,
    clockSkewSeconds: provider.clock_skew_seconds || DEFAULT_CLOCK_SKEW_SECONDS,
    locations: compileLocations(provider),
    jwks: compileKeys(provider, context, scope),
    forward: provider.forward ?? false,
    payloadHeader: (provider.forward_payload_header ?? "").toLowerCase(),
    padPayloadHeader: provider.pad_forward_payload_header ?? false,
    payloadInMetadata: provider.payload_in_metadata ?? "",
    headerInMetadata: provider.header_in_metadata ?? "",
    spaceDelimitedClaims: provider.normalize_payload_in_metadata?.space_delimited_claims ?? [],
    claimToHeaders: (provider.claim_to_headers ?? []).map(({ header_name, claim_name }) => ({
      header: (header_name ?? "").toLowerCase(),
      claim: claim_name ?? "",
    })),
  };
}

/** Where no place is named: `Authorization: Bearer`, and the query parameter `access_token`. */
function compileLocations(provider: ProviderMessage): readonly TokenLocation[] {
  const locations: TokenLocation[] = [];
  for (const { name, value_prefix } of provider.from_headers ?? []) {
    locations.push({
      kind: "header",
      name: (name ?? "").toLowerCase(),
      prefix: value_prefix ?? "",
    });
  }
  for (const name of provider.from_params ?? []) locations.push({ kind: "query", name });
  for (const name of provider.from_cookies ?? []) locations.push({ kind: "cookie", name });
  if (locations.length > 0) return locations;
  return [
    { kind: "header", name: "authorization", prefix: "Bearer " },
    { kind: "query", name: "access_token" },
  ];
}

function compileKeys(provider: ProviderMessage, context: CompileContext, scope: Scope): JwksSource {
  if (provider.local_jwks) {
    const place = scope.at("local_jwks");
    const bytes = readData(provider.local_jwks, context, place);
    const jwks = bytes === undefined ? undefined : parseJwks(bytes.toString("utf8"));
    if (jwks === undefined) place.fail("must be a JSON Web Key Set");
    return jwks === undefined ? UNKNOWN_KEYS : { kind: "inline", jwks };
  }
  const remote = provider.remote_jwks;
  if (!remote) {
    scope.fail("must set one of remote_jwks, local_jwks");
    return UNKNOWN_KEYS;
  }
  const { http_uri: uri, async_fetch: prefetch, retry_policy: retry } = remote;
  const place = scope.at("remote_jwks", "http_uri");
  if (!uri?.uri || !URL.canParse(uri.uri)) place.at("uri").fail("must be a URL");
  if (!uri?.cluster) place.at("cluster").fail("must not be empty");
  const base = durationToMs(retry?.retry_back_off?.base_interval) ?? 1000;
  return {
    kind: "remote",
    uri: uri?.uri ?? "",
    cluster: uri?.cluster ?? "",
    timeoutMs: durationToMs(uri?.timeout) ?? 5000,
    cacheMs: durationToMs(remote.cache_duration) ?? DEFAULT_CACHE_MS,
    isPrefetched: Boolean(prefetch),
    failedRefetchMs: durationToMs(prefetch?.failed_refetch_duration) ?? DEFAULT_FAILED_REFETCH_MS,
    retries: retry ? (retry.num_retries?.value ?? 1) : 0,
    backoffBaseMs: base,
    backoffMaxMs: durationToMs(retry?.retry_back_off?.max_interval) ?? base * 10,
  };
}

/** A key set from its JSON text; undefined when it is none. */
export function parseJwks(text: string): JwksDocument | undefined {
  try {
    const value: unknown = JSON.parse(text);
    if (typeof value !== "object" || value === null || !("keys" in value)) return undefined;
    const { keys } = value;
    const isList =
      Array.isArray(keys) && keys.every((key) => typeof key === "object" && key !== null);
    return isList ? { keys } : undefined;
  } catch {
    return undefined;
  }
}

function compileRequirement(
  message: RequirementMessage,
  providers: ReadonlyMap<string, JwtProvider>,
  scope: Scope,
): JwtRequirement {
  const provider = (
    name: string | null | undefined,
    audiences: readonly string[] | undefined,
    place: Scope,
  ): JwtRequirement => {
    const found = providers.get(name ?? "");
    if (found === undefined) {
      place.fail(`names no provider (found ${JSON.stringify(name ?? "")})`);
      return { kind: "allowMissing" };
    }
    const own = audiences === undefined ? undefined : new Set(audiences.map(plainAudience));
    return { kind: "provider", provider: found, audiences: own };
  };
  if (typeof message.provider_name === "string") {
    return provider(message.provider_name, undefined, scope.at("provider_name"));
  }
  if (message.provider_and_audiences) {
    const { provider_name: name, audiences } = message.provider_and_audiences;
    return provider(name, audiences ?? [], scope.at("provider_and_audiences", "provider_name"));
  }
  for (const kind of ["any", "all"] as const) {
    const list = message[`requires_${kind}`];
    if (!list) continue;
    const place = scope.at(`requires_${kind}`, "requirements");
    return {
      kind,
      requirements: (list.requirements ?? []).map((one, i) =>
        compileRequirement(one, providers, place.at(i)),
      ),
    };
  }
  if (message.allow_missing_or_failed) return { kind: "allowMissingOrFailed" };
  if (message.allow_missing) return { kind: "allowMissing" };
  scope.fail(
    "must set one of provider_name, provider_and_audiences, requires_any, requires_all, allow_missing_or_failed, allow_missing",
  );
  return { kind: "allowMissing" };
}
