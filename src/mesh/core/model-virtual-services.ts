import type { KubeObject } from "../../api/index.ts";
import { isVisible, resolveHost } from "./model-hosts.ts";
import type { Destination, HttpRoute, VirtualServiceSpec } from "./model-istio.ts";

/** A VirtualService with every host written in full. */
export interface MeshVirtualService {
  readonly name: string;
  readonly namespace: string;
  readonly hosts: readonly string[];
  /** `mesh` (the sidecars) or `namespace/name` of a Gateway. */
  readonly gateways: readonly string[];
  readonly exportTo: readonly string[];
  readonly http: readonly HttpRoute[];
  /** By the server name of connections that are TLS to the end. */
  readonly tls: readonly TlsRoute[];
  readonly tcp: readonly TcpRoute[];
}

type Resolved<Spec> = NonNullable<Spec> extends readonly (infer Item)[] ? Item : never;
export type TlsRoute = Resolved<VirtualServiceSpec["tls"]>;
export type TcpRoute = Resolved<VirtualServiceSpec["tcp"]>;

/** The reserved gateway name that stands for all sidecars. */
export const MESH_GATEWAY = "mesh";

/** Resolves the names of a VirtualService against the services of the mesh. */
export function virtualServiceFrom(
  object: KubeObject,
  spec: VirtualServiceSpec,
  isService: (host: string) => boolean,
): MeshVirtualService {
  const { namespace = "default", name } = object.metadata;
  const full = (host: string): string => resolveHost(host, namespace, isService);
  const gateway = (ref: string): string =>
    ref === MESH_GATEWAY || ref.includes("/") ? ref : `${namespace}/${ref}`;
  const gateways = spec.gateways ?? [];
  return {
    name,
    namespace,
    hosts: spec.hosts.map(full),
    gateways: gateways.length > 0 ? gateways.map(gateway) : [MESH_GATEWAY],
    exportTo: (spec.exportTo ?? []).length > 0 ? (spec.exportTo ?? []) : ["*"],
    http: (spec.http ?? []).map((route) => resolvedRoute(route, full, gateway)),
    tls: (spec.tls ?? []).map((route) => resolvedL4(route, full, gateway)),
    tcp: (spec.tcp ?? []).map((route) => resolvedL4(route, full, gateway)),
  };
}

function resolvedRoute(
  route: HttpRoute,
  full: (host: string) => string,
  gateway: (ref: string) => string,
): HttpRoute {
  const destination = (to: Destination): Destination => ({ ...to, host: full(to.host) });
  return {
    ...route,
    match: route.match?.map((match) => ({ ...match, gateways: match.gateways?.map(gateway) })),
    route: route.route?.map((to) => ({ ...to, destination: destination(to.destination) })),
    mirror: route.mirror && destination(route.mirror),
    mirrors: route.mirrors?.map((to) => ({ ...to, destination: destination(to.destination) })),
  };
}

function resolvedL4<Route extends TlsRoute | TcpRoute>(
  route: Route,
  full: (host: string) => string,
  gateway: (ref: string) => string,
): Route {
  return {
    ...route,
    match: route.match?.map((match) => ({ ...match, gateways: match.gateways?.map(gateway) })),
    route: route.route.map(({ destination, weight }) => ({
      destination: { ...destination, host: full(destination.host) },
      weight,
    })),
  };
}

/** Every destination a VirtualService's routes name, mirrors included. */
export function destinationsOf(virtualService: MeshVirtualService): readonly Destination[] {
  const http = virtualService.http.flatMap((route) => [
    ...(route.route ?? []).map((to) => to.destination),
    ...(route.mirror ? [route.mirror] : []),
    ...(route.mirrors ?? []).map((to) => to.destination),
  ]);
  const others = [...virtualService.tls, ...virtualService.tcp].flatMap(({ route }) =>
    route.map((to) => to.destination),
  );
  return [...http, ...others];
}

/**
 * What a client of that namespace sees, in Istio's order: resources private to its namespace, those
 * exported to it by name, then the public ones; the oldest first in each (the order of the input).
 */
export function visibleVirtualServices(
  all: readonly MeshVirtualService[],
  client: string,
): readonly MeshVirtualService[] {
  const rank = (virtualService: MeshVirtualService): number => {
    if (virtualService.exportTo.includes("*")) return 2;
    return virtualService.namespace === client ? 0 : 1;
  };
  return all
    .filter((virtualService) => isVisible(virtualService, client))
    .toSorted((a, b) => rank(a) - rank(b));
}
