import { randomUUID } from "node:crypto";
import type { ClusterConfig, RouteActionConfig, RouteConfig } from "./config/runtime-config.ts";
import { type RequestHash, requestHash } from "./core/hash-policy.ts";
import { normalizeTarget, pathOf, pickWeighted, rewritePath, selectRoute } from "./core/route.ts";
import { runFilters } from "./filters.ts";
import { forwardedClientCert } from "./http1/forwarded-client-cert.ts";
import { mutateHeaders } from "./http1/header-mutation.ts";
import type { Exchange } from "./upstream/exchange.ts";

/** What happens to a request, in this order. A step that answers returns false and ends it. */
export function handleRequest(exchange: Exchange): void {
  if (!refuseUpgrades(exchange)) return;
  if (!normalizePath(exchange)) return;
  sanitizeHeaders(exchange);
  setForwardedHeaders(exchange);
  setRequestId(exchange);
  const route = matchRoute(exchange);
  if (route === undefined) return;
  exchange.route = route;
  if (route.action.kind === "forward") chooseCluster(exchange, route.action);
  if (exchange.manager.filters.length === 0) act(exchange, route);
  else runFilters(exchange, route, () => act(exchange, route));
}

function act(exchange: Exchange, route: RouteConfig): void {
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

/** No upgrade is configured: Envoy answers 403; `h2c` is only ignored, as any server may. */
function refuseUpgrades(exchange: Exchange): boolean {
  const { method, upgrade } = exchange.head;
  if (method === "CONNECT") {
    // The client may already be sending what belongs in the tunnel: nothing after it is a request.
    exchange.downstream.closeAfterAnswer();
    exchange.fail({ kind: "routeNotFound" });
    return false;
  }
  if (upgrade === undefined || upgrade.toLowerCase() === "h2c") return true;
  exchange.downstream.closeAfterAnswer();
  exchange.fail({ kind: "upgradeRefused" });
  return false;
}

function normalizePath(exchange: Exchange): boolean {
  const { manager } = exchange;
  if (!manager.normalizePath && !manager.mergeSlashes) return true;
  const target = normalizeTarget(exchange.target, manager.mergeSlashes);
  if (target === undefined) {
    exchange.fail({ kind: "badRequest", status: 400, details: "path_normalization_failed" });
    return false;
  }
  exchange.target = target;
  return true;
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
  "x-envoy-decorator-operation",
  "x-envoy-peer-metadata",
  "x-envoy-peer-metadata-id",
  "x-envoy-downstream-service-cluster",
]);

function isInternalHeader(name: string): boolean {
  // All begin with "x-": most names cost two comparisons.
  return name.charCodeAt(0) === 120 && name.charCodeAt(1) === 45 && INTERNAL_HEADERS.has(name);
}

function sanitizeHeaders(exchange: Exchange): void {
  const { headers } = exchange.head;
  headers.removeWhere(isInternalHeader);
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
    headers.set("x-forwarded-proto", scheme);
  } else if (!headers.has("x-forwarded-proto")) {
    headers.add("x-forwarded-proto", head.scheme ?? scheme);
  }
}

function setRequestId(exchange: Exchange): void {
  const { manager, head } = exchange;
  if (!manager.generateRequestId) return;
  const isExternal = manager.useRemoteAddress && !manager.preserveExternalRequestId;
  if (!isExternal && head.headers.has("x-request-id")) return;
  head.headers.set("x-request-id", randomUUID());
}

function matchRoute(exchange: Exchange): RouteConfig | undefined {
  const table = exchange.manager.routeTable();
  if (table === undefined) {
    exchange.fail({ kind: "routeConfigurationNotFound" });
    return undefined;
  }
  const host = table.virtualHost(exchange.head.authority.toLowerCase());
  if (host !== undefined) {
    exchange.virtualHost = host;
    const route = selectRoute(host.routes, exchange.target, exchange);
    if (route !== undefined) return route;
  }
  count(exchange, "no_route");
  exchange.fail({ kind: "routeNotFound" });
  return undefined;
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
  const location = action.location(exchange.target, exchange.head.authority);
  exchange.reply(
    { status: action.status, body: "", details: "direct_response", isOverloaded: false },
    [["location", Buffer.from(location, "utf8").toString("latin1")]],
  );
}

/** Before the filters, so that what they answer counts for the cluster it kept from (as in Envoy). */
function chooseCluster(exchange: Exchange, action: ForwardAction): void {
  const { context, config } = exchange;
  const random = action.clusters.length > 1 ? context.random() : 0;
  exchange.clusterChoice = pickWeighted(action.clusters, action.totalWeight, random);
  if (exchange.clusterChoice === undefined) return;
  exchange.upstreamCluster = config.cluster(exchange.clusterChoice.cluster);
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
  if (choice.requestHeaders !== undefined) mutateHeaders(headers, choice.requestHeaders);
  if (route.requestHeaders !== undefined) mutateHeaders(headers, route.requestHeaders);
  const rewritten = rewrittenTarget(exchange.target, route, action);
  if (rewritten !== undefined) {
    exchange.originalPath = exchange.target;
    headers.set("x-envoy-original-path", exchange.target);
    exchange.target = rewritten;
  }
  const hostRewrite = action.hostRewrite ?? choice.hostRewrite;
  if (hostRewrite !== undefined) headers.set("host", hostRewrite);
  if (action.timeoutMs > 0) {
    headers.add("x-envoy-expected-rq-timeout-ms", String(action.timeoutMs));
  }
  if (head.expectsContinue) {
    // As Envoy by default: the proxy invites the body itself and the upstream never hears of it.
    headers.remove("expect");
    exchange.downstream.sendContinue();
  }
  exchange.forward({
    cluster: context.clusters.get(context, clusterConfig),
    clusterConfig,
    timeoutMs: action.timeoutMs,
    retry: action.retry,
    mirrors: action.mirrors,
    includeAttemptCount: exchange.virtualHost?.includeAttemptCount ?? false,
    weightedResponseHeaders: choice.responseHeaders,
    hash: isHashed(clusterConfig) ? hashOf(exchange, action) : undefined,
  });
}

/** The target that the upstream sees, where the route rewrites it. */
function rewrittenTarget(
  target: string,
  route: RouteConfig,
  { prefixRewrite, regexRewrite }: ForwardAction,
): string | undefined {
  if (prefixRewrite !== undefined) return rewritePath(route.path, target, prefixRewrite);
  if (regexRewrite === undefined) return undefined;
  const path = pathOf(target);
  const { pattern, substitution } = regexRewrite;
  return path.replace(pattern, substitution) + target.slice(path.length);
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
