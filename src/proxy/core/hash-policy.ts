import { xxHash64 } from "./balance/xx-hash.ts";
import { cookieOf, cookieValue } from "./cookie.ts";
import { queryValues } from "./route.ts";

/** One source of a request's hash. With `isTerminal`, what comes after counts only without it. */
export type HashPolicy = { readonly isTerminal: boolean } & (
  | { readonly kind: "header"; readonly name: string }
  | {
      readonly kind: "cookie";
      readonly name: string;
      /** A client without the cookie gets one that lives this long; undefined = it gets none. */
      readonly ttlSeconds: number | undefined;
      readonly path: string;
      readonly attributes: readonly (readonly [name: string, value: string])[];
    }
  | { readonly kind: "sourceIp" }
  | { readonly kind: "queryParameter"; readonly name: string }
);

/** What hash policies look at. */
export interface HashSource {
  header(name: string): string | undefined;
  /** Path and query. */
  readonly target: string;
  readonly remoteIp: string;
  /** Both ends of the client's connection: a new cookie is made of them. */
  readonly connection: string;
}

export interface RequestHash {
  /** 64 bits; undefined when no policy found anything. */
  readonly hash: bigint | undefined;
  /** To be sent with the response. */
  readonly setCookie: string | undefined;
}

/** Joins what the policies find, in their order. Source: Envoy's HashPolicy. */
export function requestHash(policies: readonly HashPolicy[], source: HashSource): RequestHash {
  let hash: bigint | undefined;
  let setCookie: string | undefined;
  for (const policy of policies) {
    let text = textOf(policy, source);
    if (text === undefined && policy.kind === "cookie" && policy.ttlSeconds !== undefined) {
      text = xxHash64(source.connection).toString(16);
      setCookie = cookieOf(policy, policy.ttlSeconds, text);
    }
    if (text !== undefined) {
      const rotated = hash === undefined ? 0n : BigInt.asUintN(64, (hash << 1n) | (hash >> 63n));
      hash = rotated ^ xxHash64(text);
    }
    if (policy.isTerminal && hash !== undefined) break;
  }
  return { hash, setCookie };
}

function textOf(policy: HashPolicy, source: HashSource): string | undefined {
  switch (policy.kind) {
    case "header":
      return source.header(policy.name);
    case "cookie":
      return cookieValue(source.header("cookie") ?? "", policy.name);
    case "sourceIp":
      return source.remoteIp;
    case "queryParameter": {
      const query = source.target.indexOf("?");
      return query < 0 ? undefined : queryValues(source.target.slice(query + 1)).get(policy.name);
    }
  }
}
