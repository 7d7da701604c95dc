import type { createLocalJWKSet, JSONWebKeySet, JWSHeaderParameters } from "jose";
import type { ProxyContext } from "../context.ts";
import { parseJwks } from "../core/compile/jwt.ts";
import type { JwksDocument, JwksSource, JwtFailure } from "../core/jwt.ts";
import { fetchFromCluster } from "../upstream/cluster-fetch.ts";

type KeySet = ReturnType<typeof createLocalJWKSet>;
/** A verification key as jose takes it. */
export type VerificationKey = Awaited<ReturnType<KeySet>>;
type Remote = Extract<JwksSource, { readonly kind: "remote" }>;

const MAX_JWKS_BYTES = 1_048_576;
/** An unknown key may mean a rotation: ask again, but not more often than this. */
const MIN_REFETCH_MS = 5_000;

/** The keys of one provider: fixed, or fetched, kept for their time and fetched again. */
export class Jwks {
  readonly #source: JwksSource;
  #document: JwksDocument | undefined;
  /** Of `#document`, once it was needed. */
  #keys: KeySet | undefined;
  #fetchedMs = Number.NEGATIVE_INFINITY;
  #failedMs = Number.NEGATIVE_INFINITY;
  #fetching: Promise<boolean> | undefined;

  constructor(source: JwksSource) {
    this.#source = source;
    if (source.kind === "inline") this.#document = source.jwks;
  }

  /** The keys that a token may be signed with, or why there are none. */
  async keysFor(
    context: ProxyContext,
    header: Readonly<Record<string, unknown>>,
  ): Promise<readonly VerificationKey[] | JwtFailure> {
    const source = this.#source;
    if (source.kind === "remote") {
      const isOld = performance.now() - this.#fetchedMs > source.cacheMs;
      if (isOld && !(await this.#fetch(context, source)) && this.#document === undefined) {
        return "Jwks remote fetch is failed";
      }
    }
    const found = await this.#find(header);
    if (found.length > 0) return found;
    const lastMs = Math.max(this.#fetchedMs, this.#failedMs);
    if (source.kind === "remote" && performance.now() - lastMs > MIN_REFETCH_MS) {
      if (await this.#fetch(context, source)) {
        const later = await this.#find(header);
        if (later.length > 0) return later;
      }
    }
    return "Jwks doesn't have key to match kid or alg from Jwt";
  }

  /** Begins to fetch ahead of the first request, where the provider asks for it. */
  prefetch(context: ProxyContext): void {
    if (this.#source.kind === "remote" && this.#source.isPrefetched) {
      void this.#fetch(context, this.#source);
    }
  }

  async #find(header: Readonly<Record<string, unknown>>): Promise<readonly VerificationKey[]> {
    if (this.#document === undefined) return [];
    // Loaded only by those who verify tokens.
    const { createLocalJWKSet: create, errors } = await import("jose");
    try {
      this.#keys ??= create(keySet(this.#document));
      return [await this.#keys(header as JWSHeaderParameters, { payload: "", signature: "" })];
    } catch (error) {
      if (!(error instanceof errors.JWKSMultipleMatchingKeys)) return [];
      // Without a key id any of them may be it.
      const all: VerificationKey[] = [];
      for await (const key of error) all.push(key);
      return all;
    }
  }

  /** One fetch at a time, with the provider's retries; false when it failed. */
  #fetch(context: ProxyContext, source: Remote): Promise<boolean> {
    this.#fetching ??= this.#fetchNow(context, source).finally(() => {
      this.#fetching = undefined;
    });
    return this.#fetching;
  }

  async #fetchNow(context: ProxyContext, source: Remote): Promise<boolean> {
    const url = new URL(source.uri);
    for (let attempt = 0; attempt <= source.retries; attempt += 1) {
      if (attempt > 0) await pause(context, source, attempt);
      try {
        const { status, body } = await fetchFromCluster(context, source.cluster, {
          method: "GET",
          target: `${url.pathname}${url.search}`,
          authority: url.host,
          scheme: url.protocol === "https:" ? "https" : "http",
          timeoutMs: source.timeoutMs,
          maxBodyBytes: MAX_JWKS_BYTES,
        });
        const jwks = status === 200 ? parseJwks(body.toString("utf8")) : undefined;
        if (jwks === undefined) throw new Error(`status ${status}, or no key set`);
        this.#document = jwks;
        this.#keys = undefined;
        this.#fetchedMs = performance.now();
        return true;
      } catch (error) {
        context.logger.warn({ uri: source.uri, err: error, attempt }, "JWKS fetch failed");
      }
    }
    this.#failedMs = performance.now();
    return false;
  }
}

/** Keys without a type are left out; the others still count. */
function keySet(jwks: JwksDocument): JSONWebKeySet {
  const keys = jwks.keys.filter(({ kty }) => typeof kty === "string");
  return { keys: keys.map((key) => ({ ...key })) } as JSONWebKeySet;
}

function pause(context: ProxyContext, source: Remote, attempt: number): Promise<void> {
  const limit = Math.min(source.backoffMaxMs, source.backoffBaseMs * 2 ** (attempt - 1));
  return new Promise((resolve) => {
    context.clock.schedule(limit * context.random(), resolve);
  });
}
