import { randomUUID } from "node:crypto";
import type { ClusterConfig, RouteActionConfig, RouteConfig } from "./config/runtime-config.ts";
import { type RequestHash, requestHash } from "./core/hash-policy.ts";
import { normalizeHost } from "./core/host-normalization.ts";
import { rewrittenHost } from "./core/host-rewrite.ts";
import { parseHostPort, requestedDestination } from "./core/original-dst.ts";
import { normalizeRequestTarget } from "./core/path-normalization.ts";
import { connectRoutes, pathOf, pickAt, rewrittenTarget, selectRoute } from "./core/route.ts";
import { allowsUpgrade, wantedUpgrade } from "./core/upgrade.ts";
import { runFilters } from "./filters.ts";
import { forwardedClientCert } from "./http1/forwarded-client-cert.ts";
import { mutateHeaders } from "./http1/header-mutation.ts";
import { setHost } from "./http1/set-host.ts";
import { formatAddress } from "./net/connection-info.ts";
import type { Destination } from "./net/original-destination.ts";
import { requestPolicy } from "./request-policy.ts";
import type { Tunnel } from "./streams.ts";
import { startTrace } from "./tracing/start-trace.ts";
import type { Exchange } from "./upstream/exchange.ts";

/** What happens to a request, in this order. A step that answers returns false and ends it. */
export function handleRequest(exchange: Exchange): void {
  if (exchange.context.overload !== undefined && !mayStart(exchange)) return;
  const upgrade = wantedUpgrade(exchange.head.method, exchange.head.upgrade);
  if (upgrade !== undefined) exchange.downstream.expectTunnel();
  if (!normalizePath(exchange)) return;
  normalizeAuthority(exchange);
  sanitizeHeaders(exchange);
  setForwardedHeaders(exchange);
  setRequestId(exchange);
  const route = matchRoute(exchange);
  exchange.route = route;
  if (route?.action.kind === "forward" && route.action.idleTimeoutMs !== undefined) {
    exchange.idleTimeoutMs = route.action.idleTimeoutMs;
  }
  if (route?.action.kind === "forward") chooseCluster(exchange, route.action);
  if (exchange.manager.accessLogTimes !== undefined) exchange.logStart();
  const isUpgrade = upgrade !== undefined && route !== undefined;
  if (isUpgrade && !acceptUpgrade(exchange, route, upgrade)) return;
  if (exchange.manager.tracing !== undefined) startTrace(exchange, exchange.manager.tracing);
  // Filters see requests without a route too: who may not ask does not learn what is there.
  if (exchange.manager.filters.length === 0) act(exchange, route);
  else runFilters(exchange, route, () => act(exchange, route));
}

/** Before anything else is done for it: a request costs least when it is refused at once. */
function mayStart(exchange: Exchange): boolean {
  const { context } = exchange;
  const level = context.overload?.state.stopAcceptingRequests ?? 0;
  if (level === 0 || (level < 1 && context.random() >= level)) return true;
  count(exchange, "downstream_rq_overload_close");
  exchange.fail({ kind: "proxyOverloaded" });
  return false;
}

function act(exchange: Exchange, route: RouteConfig | undefined): void {
  if (route === undefined) {
    refuseUnrouted(exchange);
    return;
  }
  switch (route.action.kind) {
    case "direct":
      answerDirectly(exchange, route.action);
      break;
    case "redirect":
      redirect(exchange, route.action);
      break;
    case "forward":
      forward(exchange, route, route.action);
  }
}

/** As Envoy: 403 for an upgrade that neither the route nor the connection manager allows. */
function acceptUpgrade(exchange: Exchange, route: RouteConfig, upgrade: string): boolean {
  const ofRoute = route.action.kind === "forward" ? route.action.upgrades : undefined;
  const isHttp1 = exchange.downstream.protocol !== "HTTP/2";
  const mayAsk = isHttp1 || exchange.manager.http2.allowsConnect === true;
  if (mayAsk && allowsUpgrade(upgrade, ofRoute, exchange.manager.upgrades)) return true;
  exchange.fail({ kind: "upgradeRefused" });
  return false;
}

function tunnelOf({ head }: Exchange, action: ForwardAction): Tunnel | undefined {
  if (head.method === "CONNECT") return { kind: action.terminatesConnect ? "tcp" : "connect" };
  const { upgrade } = head;
  if (upgrade === undefined || wantedUpgrade(head.method, upgrade) === undefined) return undefined;
  return { kind: "upgrade", protocol: upgrade };
}

function normalizePath(exchange: Exchange): boolean {
  const { paths } = exchange.manager;
  // Authority-form is no path.
  if (paths === undefined || exchange.method === "CONNECT") return true;
  const result = normalizeRequestTarget(exchange.target, paths);
  exchange.target = result.target;
  if (result.kind === "accepted") return true;
  // As Envoy: gRPC clients do not follow redirects.
  if (result.kind === "redirected" && !exchange.isGrpc) {
    count(exchange, "downstream_rq_redirected_with_normalized_path");
    exchange.reply(
      { status: 307, body: "", details: "path_normalization_failed", isOverloaded: false },
      [["location", result.target]],
    );
    return false;
  }
  count(exchange, "downstream_rq_failed_path_normalization");
  exchange.fail({ kind: "pathRefused" });
  return false;
}

function normalizeAuthority(exchange: Exchange): void {
  const { head, manager, connection } = exchange;
  if (manager.hosts === undefined) return;
  const localPort = Number(
    connection.localAddress.slice(connection.localAddress.lastIndexOf(":") + 1),
  );
  const authority = normalizeHost(head.authority, manager.hosts, localPort);
  if (authority === head.authority) return;
  head.authority = authority;
  head.headers.set("host", authority);
}

/** Headers by which a caller could order the proxy about (Envoy: "internal only"). */
const INTERNAL_HEADERS: ReadonlySet<string> = new Set([
  "x-envoy-retry-on",
  "x-envoy-retry-grpc-on",
  "x-envoy-max-retries",
  "x-envoy-retriable-header-names",
  "x-envoy-retriable-status-codes",
  "x-envoy-upstream-alt-stat-name",
  "x-envoy-upstream-rq-timeout-ms",
  "x-envoy-upstream-rq-per-try-timeout-ms",
  "x-envoy-upstream-rq-timeout-alt-response",
  "x-envoy-expected-rq-timeout-ms",
  "x-envoy-force-trace",
  "x-envoy-ip-tags",
  "x-envoy-hedge-on-per-try-timeout",
  "x-envoy-original-path",
  "x-envoy-original-url",
  "x-envoy-internal",
  "x-envoy-peer-metadata",
  "x-envoy-peer-metadata-id",
]);

/** Headers that only matter between proxies: the edge takes them from strangers. */
const MESH_HEADERS: ReadonlySet<string> = new Set([
  "x-envoy-decorator-operation",
  "x-envoy-downstream-service-cluster",
  "x-envoy-downstream-service-node",
]);

function isInternalHeader(name: string): boolean {
  // All begin with "x-": most names cost two comparisons.
  return name.charCodeAt(0) === 120 && name.charCodeAt(1) === 45 && INTERNAL_HEADERS.has(name);
}

function isEdgeHeader(name: string): boolean {
  return isInternalHeader(name) || (name.startsWith("x-envoy-") && MESH_HEADERS.has(name));
}

function sanitizeHeaders(exchange: Exchange): void {
  const { headers } = exchange.head;
  if (exchange.isInternal) headers.set("x-envoy-internal", "true");
  else headers.removeWhere(exchange.manager.useRemoteAddress ? isEdgeHeader : isInternalHeader);
  forwardedClientCert(exchange.connection, exchange.manager, headers);
}

function setForwardedHeaders(exchange: Exchange): void {
  const { manager, connection, head } = exchange;
  const { headers } = head;
  const scheme = connection.isTls ? "https" : "http";
  if (manager.useRemoteAddress) {
    if (!manager.skipXffAppend) {
      const before = headers.get("x-forwarded-for");
      const address = connection.remoteIp;
      headers.set("x-forwarded-for", before === undefined ? address : `${before},${address}`);
    }
    // Proxies before this one that are believed have said it already.
    const said = manager.xffTrustedHops > 0 ? headers.first("x-forwarded-proto") : undefined;
    if (said !== "http" && said !== "https") headers.set("x-forwarded-proto", scheme);
    // Envoy: at the edge, whose address is believed; upstreams need not read x-forwarded-for.
    headers.set("x-envoy-external-address", exchange.remoteIp);
  } else if (!headers.has("x-forwarded-proto")) {
    headers.add("x-forwarded-proto", head.scheme ?? scheme);
  }
}

function setRequestId(exchange: Exchange): void {
  const { manager, head } = exchange;
  if (!manager.generateRequestId) return;
  const isEdge = manager.useRemoteAddress && !exchange.isInternal;
  const isExternal = isEdge && !manager.preserveExternalRequestId;
  if (!isExternal && head.headers.has("x-request-id")) return;
  head.headers.set("x-request-id", randomUUID());
}

function matchRoute(exchange: Exchange): RouteConfig | undefined {
  const host = exchange.manager.routeTable()?.virtualHost(exchange.head.authority.toLowerCase());
  if (host === undefined) return undefined;
  exchange.virtualHost = host;
  if (host.requiresTls !== undefined && needsTls(exchange, host.requiresTls)) return TLS_REDIRECT;
  const routes = exchange.method === "CONNECT" ? connectRoutes(host.routes) : host.routes;
  return selectRoute(routes, exchange.target, exchange);
}

/** As Envoy: what x-forwarded-proto says counts, and without it nothing is redirected. */
function needsTls({ head, isInternal }: Exchange, required: "all" | "external"): boolean {
  const scheme = head.headers.first("x-forwarded-proto");
  if (scheme === undefined || scheme === "https") return false;
  return required === "all" || !isInternal;
}

const TLS_REDIRECT: RouteConfig = {
  name: "",
  path: { kind: "prefix", prefix: "/", ignoreCase: false },
  headers: [],
  queryParameters: [],
  action: {
    kind: "redirect",
    status: 301,
    location: (path, host) => `https://${host}${path}`,
  },
  filterOverrides: new Map(),
  requestHeaders: undefined,
  responseHeaders: undefined,
};

function refuseUnrouted(exchange: Exchange): void {
  if (exchange.manager.routeTable() === undefined) {
    exchange.fail({ kind: "routeConfigurationNotFound" });
    return;
  }
  count(exchange, "no_route");
  exchange.fail({ kind: "routeNotFound" });
}

type ForwardAction = Extract<RouteActionConfig, { kind: "forward" }>;

function answerDirectly(
  exchange: Exchange,
  action: Extract<RouteActionConfig, { kind: "direct" }>,
): void {
  const { status, body } = action;
  count(exchange, "rq_direct_response");
  exchange.reply({ status, body, details: "direct_response", isOverloaded: false }, []);
}

function redirect(
  exchange: Exchange,
  action: Extract<RouteActionConfig, { kind: "redirect" }>,
): void {
  count(exchange, "rq_direct_response");
  const location = action.location(
    exchange.target,
    exchange.head.authority,
    exchange.head.headers.first("x-forwarded-proto") ?? exchange.scheme,
  );
  exchange.reply(
    { status: action.status, body: "", details: "direct_response", isOverloaded: false },
    [["location", Buffer.from(location, "utf8").toString("latin1")]],
  );
}

/** Before the filters, so that what they answer counts for the cluster it kept from (as in Envoy). */
function chooseCluster(exchange: Exchange, action: ForwardAction): void {
  const { config } = exchange;
  const { clusters } = action;
  const choice = clusters.length === 1 ? clusters[0] : pickAt(clusters, pointOf(exchange, action));
  exchange.clusterChoice = choice;
  if (choice === undefined) return;
  const { clusterHeader } = choice;
  const name = clusterHeader === undefined ? choice.cluster : (exchange.get(clusterHeader) ?? "");
  exchange.upstreamCluster = config.cluster(name);
}

/** Where the request falls among the weights of the route's clusters. Source: Envoy's WeightedCluster. */
function pointOf(exchange: Exchange, action: ForwardAction): number {
  const { totalWeight, clusterChoice } = action;
  if (clusterChoice.kind === "hash") {
    const { hash } = hashOf(exchange, action);
    if (hash !== undefined) return Number(hash % BigInt(totalWeight));
  } else if (clusterChoice.kind === "header") {
    const text = exchange.get(clusterChoice.name) ?? "";
    if (/^\d{1,20}$/.test(text)) return Number(BigInt(text) % BigInt(totalWeight));
  }
  return exchange.context.random() * totalWeight;
}

function count(exchange: Exchange, stat: string): void {
  const { manager, context } = exchange;
  context.telemetry.counter(`http.${manager.statPrefix}.${stat}`).add(1);
}

function forward(exchange: Exchange, route: RouteConfig, action: ForwardAction): void {
  const { context, head, clusterChoice: choice, upstreamCluster: clusterConfig } = exchange;
  if (choice === undefined || clusterConfig === undefined) {
    count(exchange, "no_cluster");
    exchange.fail({ kind: "clusterNotFound", status: action.clusterNotFoundStatus });
    return;
  }
  const { headers } = head;
  // The first try begins; as Envoy, headers can tell its number.
  exchange.attemptCount = 1;
  if (choice.requestHeaders !== undefined) mutateHeaders(headers, choice.requestHeaders, exchange);
  if (route.requestHeaders !== undefined) mutateHeaders(headers, route.requestHeaders, exchange);
  rewriteHost(exchange, action, choice.hostRewrite);
  const rewritten = rewrittenTarget(route.path, exchange.target, action);
  if (rewritten !== undefined) {
    exchange.originalPath = exchange.target;
    headers.set("x-envoy-original-path", exchange.target);
    exchange.target = rewritten;
  }
  const policy = requestPolicy(exchange, action);
  if (head.expectsContinue) {
    // As Envoy by default: the proxy invites the body itself and the upstream never hears of it.
    headers.remove("expect");
    exchange.downstream.sendContinue();
  }
  exchange.forward({
    cluster: context.clusters.get(context, clusterConfig),
    clusterConfig,
    ...policy,
    isHighPriority: action.isHighPriority,
    mirrors: action.mirrors,
    includeAttemptCount: exchange.virtualHost?.includeAttemptCount ?? false,
    weightedResponseHeaders: choice.responseHeaders,
    autoHost: action.hostRewrite?.isAutomatic === true ? action.hostRewrite : undefined,
    hash: isHashed(clusterConfig) ? hashOf(exchange, action) : undefined,
    tunnel: tunnelOf(exchange, action),
    destination: clusterConfig.originalDst && destinationOf(exchange, clusterConfig),
  });
}

/** As Envoy: the header goes before the connection, where the cluster believes it. */
function destinationOf(
  { authority, connection, head }: Exchange,
  { originalDst }: ClusterConfig,
): Destination | undefined {
  if (originalDst?.requestedPort !== undefined) {
    const asked = requestedDestination(authority, originalDst.requestedPort);
    const isSelf =
      asked !== undefined && formatAddress(asked.address, asked.port) === connection.localAddress;
    // Who asks a proxy for itself would go round in circles.
    return isSelf ? undefined : asked;
  }
  const header = originalDst?.header;
  const asked = header === undefined ? undefined : head.headers.first(header);
  const named = asked === undefined ? undefined : parseHostPort(asked);
  return named ?? connection.originalDestination;
}

function rewriteHost(
  exchange: Exchange,
  { hostRewrite }: ForwardAction,
  ofChoice: string | undefined,
): void {
  if (hostRewrite === undefined && ofChoice === undefined) return;
  const { headers } = exchange.head;
  const appends = hostRewrite?.appendsForwardedHost === true;
  // One after the other, as Envoy: the route's has the last word.
  if (ofChoice !== undefined) setHost(headers, ofChoice, appends);
  if (hostRewrite === undefined) return;
  const ofRoute = rewrittenHost(hostRewrite, pathOf(exchange.target), (name) => exchange.get(name));
  if (ofRoute !== undefined) setHost(headers, ofRoute, appends);
}

function isHashed({ lbPolicy }: ClusterConfig): boolean {
  return lbPolicy === "ring_hash" || lbPolicy === "maglev";
}

function hashOf(exchange: Exchange, action: ForwardAction): RequestHash {
  const { connection, head, target } = exchange;
  return requestHash(action.hashPolicies, {
    header: (name) => exchange.get(name) ?? head.headers.get(name),
    target,
    remoteIp: connection.remoteIp,
    connection: `${connection.localAddress}${connection.remoteAddress}`,
  });
}
