/** A route's CORS policy (Fetch standard, "CORS protocol"; fields as Envoy's CorsPolicy). */
export interface CorsPolicy {
  allowsOrigin(origin: string): boolean;
  /** "" = the header is left out; so with the others. */
  readonly allowMethods: string;
  readonly allowHeaders: string;
  readonly exposeHeaders: string;
  readonly maxAge: string;
  readonly allowCredentials: boolean;
  readonly allowPrivateNetworkAccess: boolean;
  /** Whether a preflight of an origin that is not allowed goes to the upstream. */
  readonly forwardNotMatchingPreflights: boolean;
}

type Headers = readonly (readonly [name: string, value: string])[];

/** What happens to a request, and what its answer gets. */
export type CorsDecision =
  | { readonly kind: "pass"; readonly responseHeaders: Headers }
  | { readonly kind: "answer"; readonly responseHeaders: Headers };

interface CorsRequest {
  readonly method: string;
  header(name: string): string | undefined;
}

const PASS: CorsDecision = { kind: "pass", responseHeaders: [] };

/** As Envoy's cors filter: preflights of allowed origins are answered, other answers are marked. */
export function decideCors(policy: CorsPolicy, request: CorsRequest): CorsDecision {
  const origin = request.header("origin");
  if (origin === undefined || origin === "") return PASS;
  const isPreflight =
    request.method === "OPTIONS" && (request.header("access-control-request-method") ?? "") !== "";
  if (!policy.allowsOrigin(origin)) {
    const isRefused = isPreflight && !policy.forwardNotMatchingPreflights;
    return isRefused ? { kind: "answer", responseHeaders: [] } : PASS;
  }
  const common: Headers = [
    ["access-control-allow-origin", origin],
    ...(policy.allowCredentials ? [["access-control-allow-credentials", "true"] as const] : []),
    ...optional("access-control-expose-headers", policy.exposeHeaders),
  ];
  if (!isPreflight) return { kind: "pass", responseHeaders: common };
  const isPrivate =
    policy.allowPrivateNetworkAccess &&
    request.header("access-control-request-private-network") === "true";
  return {
    kind: "answer",
    responseHeaders: [
      ...common,
      ...optional("access-control-allow-methods", policy.allowMethods),
      ...optional("access-control-allow-headers", policy.allowHeaders),
      ...optional("access-control-max-age", policy.maxAge),
      ...(isPrivate ? [["access-control-allow-private-network", "true"] as const] : []),
    ],
  };
}

function optional(name: string, value: string): Headers {
  return value === "" ? [] : [[name, value]];
}
