import type { Issue } from "../../base/index.ts";
import { hashSizeProblems } from "./hash-size.ts";
import type {
  DestinationRuleSpec,
  HeaderOperations,
  Headers,
  HttpMatchRequest,
  HttpRoute,
  StringMatch,
  TrafficPolicy,
  VirtualServiceSpec,
} from "./model-istio.ts";
import { listOf, objectOf } from "./model-object.ts";

const MAX_DIRECT_BODY_BYTES = 1_048_576;
const HOST = /^(?:\*\.)?[A-Za-z0-9_](?:[-A-Za-z0-9_.]*[A-Za-z0-9_])?$/;
const HEADER_NAME = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/;
/** A command operator of Envoy's: `%START_TIME%`, `%REQ(x-user)%`. */
const OPERATOR = /%[A-Z_0-9]+(?:\([^)]*\))?(?::\d+)?%/g;

/**
 * What is wrong with a VirtualService beyond its schema, each with its path; empty = nothing.
 * Proxies would refuse it, and with it every other route of the same table.
 */
export function virtualServiceIssues(spec: VirtualServiceSpec): readonly Issue[] {
  return [
    ...spec.hosts.flatMap((host, i) =>
      host === "*" || HOST.test(host)
        ? []
        : [issue(`spec.hosts[${i}]`, `must be a host name (found ${JSON.stringify(host)})`)],
    ),
    ...wildcardIssues(spec),
    ...(spec.http ?? []).flatMap((route, i) => routeIssues(route, `spec.http[${i}]`)),
  ];
}

/** Every request of the whole mesh is too much for one VirtualService (Istio). */
function wildcardIssues({ hosts, gateways }: VirtualServiceSpec): readonly Issue[] {
  const isOfMesh = (gateways ?? []).length === 0 || gateways?.includes("mesh") === true;
  const at = hosts.indexOf("*");
  if (at < 0 || !isOfMesh) return [];
  const message = "wildcard host * is not allowed for virtual services bound to the mesh gateway";
  return [issue(`spec.hosts[${at}]`, message)];
}

/** Fields of a VirtualService that are valid and do nothing yet, one sentence each. */
export function ignoredFields(spec: VirtualServiceSpec): readonly string[] {
  return [
    ...(["tcp", "tls"] as const)
      .filter((field) => spec[field] !== undefined)
      .filter(() => (spec.gateways ?? ["mesh"]).includes("mesh"))
      .map((field) => `spec.${field} has no effect on sidecars yet, only on gateways`),
    ...(spec.http ?? []).flatMap(({ match = [] }, i) =>
      match.flatMap((each, j) => ignoredMatch(each, `spec.http[${i}].match[${j}]`)),
    ),
  ];
}

function ignoredMatch({ statPrefix }: HttpMatchRequest, path: string): readonly string[] {
  return statPrefix === undefined ? [] : [`${path}.statPrefix has no effect`];
}

/** Fields of a DestinationRule that are valid and do nothing yet, one sentence each. */
export function ignoredPolicies(spec: DestinationRuleSpec): readonly string[] {
  const policies = [
    ["spec.trafficPolicy", spec.trafficPolicy] as const,
    ...(spec.subsets ?? []).map(
      (subset, i) => [`spec.subsets[${i}].trafficPolicy`, subset.trafficPolicy] as const,
    ),
  ];
  return policies.flatMap(([path, policy]) => {
    const all = [policy, ...(policy?.portLevelSettings ?? [])];
    const hasPassthrough = all.some((each) => each?.loadBalancer?.simple === "PASSTHROUGH");
    const hashes = all.flatMap((each) => each?.loadBalancer?.consistentHash ?? []).map(objectOf);
    return [
      ...(hasPassthrough
        ? [
            `${path}.loadBalancer: PASSTHROUGH has an effect only where traffic is redirected, LEAST_REQUEST is used elsewhere`,
          ]
        : []),
      ...ignoredOf(path, all),
      ...(spec.workloadSelector === undefined && all.some((each) => each?.tls?.credentialName)
        ? [
            `${path}.tls.credentialName is for gateways; without a workloadSelector sidecars answer 503`,
          ]
        : []),
      ...hashes.flatMap((hash) =>
        hashSizeProblems(hash).map((text) => `${path}.loadBalancer.${text}`),
      ),
    ];
  });
}

/** What no proxy here does, wherever the policy says it. */
function ignoredOf(path: string, all: readonly (Partial<TrafficPolicy> | undefined)[]): string[] {
  const has = (test: (policy: Partial<TrafficPolicy>) => unknown): boolean =>
    all.some((each) => each !== undefined && test(each) !== undefined);
  const found: (readonly [boolean, string])[] = [
    [has((p) => p.tunnel), "tunnel has no effect"],
    [has((p) => p.proxyProtocol), "proxyProtocol has no effect"],
    [
      has((p) => p.connectionPool?.http?.http2KeepAlive),
      "connectionPool.http.http2KeepAlive has no effect",
    ],
    [
      has((p) => p.connectionPool?.tcp?.tcpKeepalive?.probes) ||
        has((p) => p.connectionPool?.tcp?.tcpKeepalive?.interval),
      "connectionPool.tcp.tcpKeepalive: Serin's proxy heeds only time",
    ],
    [has((p) => p.tls?.caCrl), "tls.caCrl has no effect"],
    [
      has((p) => p.loadBalancer?.localityLbSetting?.failover) &&
        !all.some((p) => p?.outlierDetection !== undefined),
      "loadBalancer.localityLbSetting.failover has no effect without outlierDetection",
    ],
  ];
  return found.filter(([isSet]) => isSet).map(([, text]) => `${path}.${text}`);
}

function routeIssues(route: HttpRoute, path: string): readonly Issue[] {
  return [
    ...(route.match ?? []).flatMap((match, i) => matchIssues(match, `${path}.match[${i}]`)),
    ...actionIssues(route, path),
    ...headersIssues(route.headers, `${path}.headers`),
    ...corsIssues(route.corsPolicy, `${path}.corsPolicy`),
    ...(route.route ?? []).flatMap((to, i) =>
      headersIssues(to.headers, `${path}.route[${i}].headers`),
    ),
  ];
}

function actionIssues(route: HttpRoute, path: string): readonly Issue[] {
  const issues: Issue[] = [];
  const targets = route.route ?? [];
  if (targets.length > 1 && targets.every((to) => (to.weight ?? 0) === 0)) {
    issues.push(issue(`${path}.route`, "total destination weight = 0"));
  }
  const actions = [targets.length > 0, !!route.redirect, !!route.directResponse];
  if (route.delegate === undefined && actions.filter(Boolean).length !== 1) {
    issues.push(issue(path, "must have exactly one of route, redirect, directResponse"));
  }
  const rewrite = route.rewrite?.uriRegexRewrite;
  if (rewrite !== undefined && !isRegex(rewrite.match ?? "")) {
    issues.push(issue(`${path}.rewrite.uriRegexRewrite.match`, "not a valid RE2 expression"));
  }
  const body = route.directResponse?.body;
  const bodyBytes = Math.max(body?.string?.length ?? 0, ((body?.bytes?.length ?? 0) * 3) / 4);
  if (bodyBytes > MAX_DIRECT_BODY_BYTES) {
    const message = `must be at most ${MAX_DIRECT_BODY_BYTES} bytes`;
    issues.push(issue(`${path}.directResponse.body`, message));
  }
  return issues;
}

function matchIssues(match: HttpMatchRequest, path: string): readonly Issue[] {
  const single = (["uri", "scheme", "method", "authority"] as const).flatMap((field) =>
    regexIssues(match[field], `${path}.${field}`),
  );
  const named = (["headers", "withoutHeaders", "queryParams"] as const).flatMap((field) =>
    Object.entries(match[field] ?? {}).flatMap(([name, value]) => [
      ...regexIssues(value, `${path}.${field}.${name}`),
      ...(field === "queryParams" ? [] : nameIssues(name, `${path}.${field}`)),
    ]),
  );
  return [...single, ...named];
}

function regexIssues(match: StringMatch | undefined, path: string): readonly Issue[] {
  const regex = match?.regex;
  if (regex === undefined || regex === "*" || isRegex(regex)) return [];
  return [issue(`${path}.regex`, `not a valid RE2 expression: ${regex}`)];
}

/** RE2 is close to JavaScript's syntax without look-around and back-references. */
function isRegex(pattern: string): boolean {
  if (pattern === "" || /\(\?(?:=|!|<=|<!)/.test(pattern) || /\\[1-9k]/.test(pattern)) return false;
  const translated = pattern
    .replaceAll("(?P<", "(?<")
    .replaceAll(/\(\?[imsU]+\)/g, "")
    .replaceAll(/\[:\^?\w+:\]/g, "a-z");
  try {
    return new RegExp(translated) instanceof RegExp;
  } catch {
    // The caller says what and where.
    return false;
  }
}

function corsIssues(corsPolicy: unknown, path: string): readonly Issue[] {
  return listOf(objectOf(corsPolicy)["allowOrigins"]).flatMap((origin, i) => {
    const regex = objectOf(origin)["regex"];
    if (typeof regex !== "string" || isRegex(regex)) return [];
    return [issue(`${path}.allowOrigins[${i}].regex`, `not a valid RE2 expression: ${regex}`)];
  });
}

function headersIssues(headers: Headers | undefined, path: string): readonly Issue[] {
  return (["request", "response"] as const).flatMap((direction) =>
    operationIssues(headers?.[direction], `${path}.${direction}`),
  );
}

function operationIssues(operations: HeaderOperations | undefined, path: string): Issue[] {
  const added = (["set", "add"] as const).flatMap((field) =>
    Object.entries(operations?.[field] ?? {}).flatMap(([name, value]) => [
      ...nameIssues(name.replace(/^:authority$/, "host"), `${path}.${field}`),
      ...valueIssues(value, `${path}.${field}.${name}`),
    ]),
  );
  const removed = (operations?.remove ?? []).flatMap((name, i) =>
    nameIssues(name, `${path}.remove[${i}]`),
  );
  return [...added, ...removed];
}

function nameIssues(name: string, path: string): readonly Issue[] {
  if (HEADER_NAME.test(name)) return [];
  return [issue(path, `${JSON.stringify(name)} is not a header name`)];
}

function valueIssues(value: string, path: string): readonly Issue[] {
  if (/[\r\n\0]/.test(value)) return [issue(path, "must not contain line breaks or NUL")];
  if (value.replaceAll("%%", "").replaceAll(OPERATOR, "").includes("%")) {
    return [issue(path, "write %% for a percent sign")];
  }
  return [];
}

function issue(path: string, message: string): Issue {
  return { path, message };
}
