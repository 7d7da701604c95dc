import type {
  envoy_config_cluster_v3_Cluster as Cluster,
  envoy_config_route_v3_RouteAction_HashPolicy as HashPolicyMessage,
  envoy_extensions_filters_network_http_connection_manager_v3_HttpConnectionManager as HttpConnectionManager,
  envoy_config_rbac_v3_Policy as Policy,
  envoy_config_route_v3_RouteAction as RouteAction,
  envoy_config_route_v3_RouteConfiguration as RouteConfiguration,
  envoy_config_route_v3_RouteMatch as RouteMatch,
} from "../../xds/index.ts";
import { createBalancer as createMaglev } from "./balance/maglev.ts";
import { createBalancer as createRingHash } from "./balance/ring-hash.ts";
import { compileHashPolicies } from "./compile/hash-policy.ts";
import { compilePaths } from "./compile/http-connection-manager.ts";
import { compileLbPolicy } from "./compile/lb-policy.ts";
import { compileRbac } from "./compile/rbac.ts";
import { compileRegexRewrite } from "./compile/regex-rewrite.ts";
import { compileRouteMatch } from "./compile/route-match.ts";
import { compileResource } from "./compile/scope.ts";
import { compileVirtualHosts } from "./compile/virtual-hosts.ts";
import { requestHash } from "./hash-policy.ts";
import { normalizeRequestTarget } from "./path-normalization.ts";
import type { RbacSubject } from "./rbac.ts";
import { type HeaderSource, pathOf, rewrittenTarget, selectRoute } from "./route.ts";

/** A request that nobody sends: what pieces of configuration are asked about. */
export interface DryRequest {
  readonly method: string;
  readonly authority: string;
  /** Path and query. */
  readonly target: string;
  readonly scheme: "http" | "https";
  /** Names in lower case, pseudo headers left out. */
  readonly headers: readonly (readonly [name: string, value: string])[];
}

/** The name of the virtual host that answers for an authority; undefined when none does. */
export function dryVirtualHost(table: RouteConfiguration, authority: string): string | undefined {
  return compileResource("RouteConfiguration", (scope) => {
    const entries = (table.virtual_hosts ?? []).flatMap(({ name, domains }) => {
      const virtualHost = { name: name ?? "", routes: [], includeAttemptCount: false };
      return (domains ?? []).map((domain) => ({ virtualHost, domain, scope }));
    });
    const ignorePort = table.ignore_port_in_host_matching ?? false;
    return compileVirtualHosts(table.name ?? "", entries, ignorePort);
  })(authority)?.name;
}

/** Whether a request takes a route with this match. */
export function dryRouteMatches(match: RouteMatch, request: DryRequest): boolean {
  const route = compileResource("RouteMatch", (scope) => compileRouteMatch(match, scope));
  return selectRoute([route], request.target, headersOf(request)) !== undefined;
}

/** The path and query as the manager's settings bring it into one form; undefined: it is refused. */
export function dryNormalizedTarget(
  manager: Pick<
    HttpConnectionManager,
    "normalize_path" | "merge_slashes" | "path_with_escaped_slashes_action"
  >,
  target: string,
): string | undefined {
  const paths = compilePaths(manager);
  if (paths === undefined) return target;
  const found = normalizeRequestTarget(target, paths);
  return found.kind === "accepted" ? found.target : undefined;
}

/** The path and query that a route sends on. */
export function dryForwardedTarget(match: RouteMatch, action: RouteAction, target: string): string {
  return compileResource("Route", (scope) => {
    const { path } = compileRouteMatch(match, scope);
    const rewrite = {
      prefixRewrite: action.prefix_rewrite || undefined,
      regexRewrite: compileRegexRewrite(action.regex_rewrite, scope),
    };
    return rewrittenTarget(path, target, rewrite) ?? target;
  });
}

/** Whether an RBAC policy matches: what its filter does then is up to the filter's action. */
export function dryPolicyMatches(policy: Policy, subject: RbacSubject): boolean {
  const { rules } = compileResource("RBAC", (scope) =>
    compileRbac({ rules: { action: 0, policies: { policy } } }, scope),
  );
  return rules?.policies.some((each) => each.matches(subject)) ?? false;
}

/** What authorization sees of a request; the connection's part comes from the caller. */
export function drySubject(
  request: DryRequest,
  connection: Omit<RbacSubject, "headerValues" | "urlPath">,
): RbacSubject {
  const headers = headersOf(request);
  return {
    ...connection,
    headerValues: headers.values,
    urlPath: pathOf(request.target),
  };
}

/**
 * What a route's hash policies make of a request: 64 bits; undefined when they find nothing, or go by
 * the connection, of which nothing is known.
 */
export function dryHash(
  policies: readonly HashPolicyMessage[],
  request: DryRequest,
): bigint | undefined {
  const compiled = compileResource("Route", (scope) => compileHashPolicies(policies, scope));
  const headers = headersOf(request);
  const { hash, setCookie } = requestHash(
    compiled.filter(({ kind }) => kind !== "sourceIp"),
    { header: headers.get, target: request.target, remoteIp: "", connection: "" },
  );
  return setCookie === undefined ? hash : undefined;
}

/** A host as a balancer that goes by hashes knows it. */
export interface DryHost {
  /** `ip:port` */
  readonly address: string;
  readonly weight: number;
}

/** The address that a hash leads to; undefined for clusters that are not balanced by hashes. */
export function dryHashedHost(
  cluster: Cluster,
  hosts: readonly DryHost[],
  hash: bigint,
): string | undefined {
  const policy = compileResource("Cluster", (scope) => compileLbPolicy(cluster, scope));
  const placed = hosts.map(({ address, weight }) => ({
    ...{ hashKey: address, weight, activeRequests: 0 },
  }));
  if (policy.lbPolicy === "maglev") {
    return createMaglev(placed, policy.maglevTableSize).pick(hash, 0)?.hashKey;
  }
  if (policy.lbPolicy !== "ring_hash") return undefined;
  const { minimum, maximum } = policy.ringSize;
  return createRingHash(placed, minimum, maximum).pick(hash, 0)?.hashKey;
}

function headersOf(request: DryRequest): HeaderSource & {
  values(name: string): readonly string[];
} {
  const pseudo: Readonly<Record<string, string>> = {
    ":method": request.method,
    ":authority": request.authority,
    ":path": request.target,
    ":scheme": request.scheme,
    host: request.authority,
  };
  const values = (name: string): readonly string[] => {
    if (Object.hasOwn(pseudo, name)) return [pseudo[name] ?? ""];
    return request.headers.flatMap(([key, value]) => (key === name ? [value] : []));
  };
  return {
    sample: 0,
    values,
    get: (name) => (values(name).length === 0 ? undefined : values(name).join(",")),
  };
}
