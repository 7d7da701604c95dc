import type { DataPlane, MeshModel } from "../../mesh/index.ts";
import {
  dryForwardedTarget,
  dryHash,
  dryHashedHost,
  dryNormalizedTarget,
  dryPolicyMatches,
  dryRouteMatches,
  drySubject,
  dryTokens,
  dryVirtualHost,
  parseJwks,
} from "../../proxy/index.ts";

const JWT_FILTER = "envoy.filters.http.jwt_authn";

/**
 * The proxy's own code as the one that explanations ask. `isSigned`: of `checkedSignatures`.
 */
export function createDataPlane(
  isSigned: (token: string, keys: unknown) => boolean,
  nowMs: number,
): DataPlane {
  return {
    virtualHost: dryVirtualHost,
    routeMatches: dryRouteMatches,
    normalizedTarget: dryNormalizedTarget,
    forwardedTarget: dryForwardedTarget,
    requestHash: dryHash,
    hashedHost: dryHashedHost,
    tokens: (filter, request) =>
      dryTokens(filter, request, {
        nowSeconds: nowMs / 1000,
        // Keys behind a URL are not fetched for an explanation.
        isSigned: (token, keys) => keys.kind === "remote" || isSigned(token, keys.jwks),
      }),
    policyMatches: (policy, request, connection, tokens) =>
      dryPolicyMatches(
        policy,
        drySubject(request, {
          ...connection,
          metadata: new Map([[JWT_FILTER, tokens as never]]),
        }),
      ),
  };
}

/**
 * Checks the signatures of tokens with every key set that the mesh's RequestAuthentications hold; the
 * answer tells of each token and key set.
 */
export async function checkedSignatures(
  model: MeshModel,
  tokens: readonly string[],
): Promise<(token: string, keys: unknown) => boolean> {
  const good = new Set<string>();
  const keySets = model.requestAuthentications.flatMap(({ jwtRules }) =>
    jwtRules.flatMap(({ jwks }) => parseJwks(jwks ?? "") ?? []),
  );
  if (tokens.length > 0 && keySets.length > 0) {
    const { compactVerify, createLocalJWKSet } = await import("jose");
    for (const token of tokens) {
      for (const keys of keySets) {
        try {
          await compactVerify(
            token,
            createLocalJWKSet({ keys: keys.keys.map((key) => ({ ...key })) as never }),
          );
          good.add(idOf(token, keys));
        } catch {
          // Not signed by any of these: that is the answer.
        }
      }
    }
  }
  return (token, keys) => good.has(idOf(token, keys));
}

function idOf(token: string, keys: unknown): string {
  return `${token} ${JSON.stringify(keys)}`;
}
