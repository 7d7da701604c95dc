import type { RouteOrigin } from "../model-istio.ts";

/** `outbound|9080|v1|reviews.default.svc.cluster.local`; the subset is empty for the whole service. */
export function outboundClusterName(host: string, port: number, subset = ""): string {
  return `outbound|${port}|${subset}|${host}`;
}

/** `inbound|9080||`: the application of the proxy's own pod. */
export function inboundClusterName(port: number): string {
  return `inbound|${port}||`;
}

/** The server name of mesh mTLS: `outbound_.9080_.v1_.reviews.default.svc.cluster.local`. */
export function meshServerName(host: string, port: number, subset = ""): string {
  return `outbound_.${port}_.${subset}_.${host}`;
}

/** `spiffe://cluster.local/ns/default/sa/bookinfo-reviews`. */
export function spiffeId(
  trustDomain: string,
  account: { readonly namespace: string; readonly name: string },
): string {
  return `spiffe://${trustDomain}/ns/${account.namespace}/sa/${account.name}`;
}

/** Where Istio's proxies note which resource a piece of configuration comes from. */
export function configPath(kind: string, source: { namespace: string; name: string }): string {
  return `/apis/networking.istio.io/v1/namespaces/${source.namespace}/${kind}/${source.name}`;
}

/** As `configPath`, of a route of Gateway API. */
export function routeConfigPath({ kind, namespace, name }: RouteOrigin): string {
  const group = "gateway.networking.k8s.io/v1";
  return `/apis/${group}/namespaces/${namespace}/${kind.toLowerCase()}/${name}`;
}

/**
 * The cluster of a destination that a route may not have (Gateway API): never there, and asked of
 * nobody. As a host it is a name that no resource can hold.
 */
export const INVALID_BACKEND = "(invalid backend)";
/** Cluster without endpoints: where traffic goes that has no place to go. */
export const BLACK_HOLE_CLUSTER = "BlackHoleCluster";
/** Where traffic goes on to that nobody knows, where that is allowed. */
export const PASSTHROUGH_CLUSTER = "PassthroughCluster";
/** Where inbound traffic goes on to for a port of the application that nobody declared. */
export const INBOUND_PASSTHROUGH_CLUSTER = "InboundPassthroughCluster";
/** Name of the route configuration of the outbound HTTP proxy listener. */
export const HTTP_PROXY_ROUTE = "http_proxy";

/** Name of the routes of an outbound port: `9080`. */
export function portRouteName(port: number): string {
  return String(port);
}

/** Name of the routes of one service's port: `reviews.default.svc.cluster.local:9080`. */
export function serviceRouteName(host: string, port: number): string {
  return `${host}:${port}`;
}
