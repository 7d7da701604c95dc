import type { MessageTypes } from "../../../xds/index.ts";
import type { MeshModel } from "../model.ts";
import { destinationRulesFor } from "../model-destination-rules.ts";
import {
  type GatewayServer,
  gatewaysOf,
  hostsOnServer,
  type MeshGateway,
} from "../model-gateways.ts";
import { compare } from "../model-object.ts";
import type { MeshVirtualService } from "../model-virtual-services.ts";
import type { ProxyNode } from "../proxy-node.ts";
import { connectionManager } from "./connection-manager.ts";
import { virtualServiceRoutes } from "./virtual-service-routes.ts";
import { securityOf } from "./workload-security.ts";

type Listener = MessageTypes["envoy.config.listener.v3.Listener"];
type Route = MessageTypes["envoy.config.route.v3.Route"];
type RouteConfiguration = MessageTypes["envoy.config.route.v3.RouteConfiguration"];

/** One port of a gateway pod with the servers of all its Gateways. */
export interface GatewayPort {
  readonly number: number;
  readonly servers: readonly { readonly gateway: MeshGateway; readonly server: GatewayServer }[];
}

const HTTP_PROTOCOLS = new Set(["HTTP", "HTTP2", "GRPC", "GRPC-WEB"]);
/** TrafficDirection.OUTBOUND, as Istio says of gateways. */
const OUTBOUND = 2;
const ANY_ADDRESS = "0.0.0.0";

/** The plain HTTP ports that the Gateways give a gateway pod, by number. */
export function gatewayPorts(model: MeshModel, node: ProxyNode): readonly GatewayPort[] {
  const ports = new Map<number, GatewayPort>();
  for (const gateway of gatewaysOf(model.gateways, node.labels)) {
    for (const server of gateway.servers) {
      if (!HTTP_PROTOCOLS.has(server.protocol) || server.hasTls) continue;
      const servers = ports.get(server.port)?.servers ?? [];
      ports.set(server.port, { number: server.port, servers: [...servers, { gateway, server }] });
    }
  }
  return [...ports.values()].sort((a, b) => a.number - b.number);
}

/** Name of a gateway port's routes. */
export function gatewayRouteName(port: number): string {
  return `http.${port}`;
}

/** The listener of a gateway port, on the port that the gateway's Service leads to. */
export function gatewayListener(
  port: GatewayPort,
  node: ProxyNode,
  model: MeshModel,
  options: { readonly accessLog: boolean },
): Listener {
  // Without redirection every pod of the machine shares one network: only the pod's own address.
  const address = node.interceptionMode === "NONE" ? node.ipAddress : ANY_ADDRESS;
  const number = targetPort(port.number, node, model);
  return {
    name: `${address}_${number}`,
    address: { socket_address: { address, port_value: number } },
    traffic_direction: OUTBOUND,
    filter_chains: [
      {
        filters: [
          connectionManager({
            statPrefix: `outbound_${address}_${number}`,
            direction: "gateway",
            routes: gatewayRouteName(port.number),
            accessLog: options.accessLog,
            securityFilters: securityOf(model, node).http,
          }),
        ],
      },
    ],
  };
}

/** Istio: the Gateway names the Service's port, the pod listens on its target. */
function targetPort(port: number, node: ProxyNode, model: MeshModel): number {
  const pod = model.workloads.get(`${node.namespace}/${node.name}`);
  const served = pod === undefined ? [] : (model.servedPorts.get(pod) ?? []);
  return served.find((each) => each.port.number === port)?.targetPort ?? port;
}

/** The routes of a gateway port: what the VirtualServices bound to its Gateways say, host by host. */
export function gatewayRoutes(
  port: GatewayPort,
  node: ProxyNode,
  model: MeshModel,
): RouteConfiguration {
  const byHost = new Map<string, { routes: Route[]; isRedirected: boolean }>();
  const { namespace, labels } = node;
  const ruleOf = destinationRulesFor(model.destinationRules, namespace, model.rootNamespace);
  for (const { gateway, server } of port.servers) {
    const name = `${gateway.namespace}/${gateway.name}`;
    const client = { namespace, labels, gateways: [name], ruleOf };
    for (const virtualService of boundTo(model, name)) {
      const routes = virtualServiceRoutes(virtualService, port.number, model, client);
      for (const host of hostsOnServer(virtualService, server)) {
        const entry = byHost.get(host) ?? { routes: [], isRedirected: false };
        entry.routes.push(...routes);
        entry.isRedirected ||= server.httpsRedirect;
        byHost.set(host, entry);
      }
    }
  }
  return {
    name: gatewayRouteName(port.number),
    virtual_hosts: [...byHost.entries()]
      .sort(([a], [b]) => compare(a, b))
      .map(([host, { routes, isRedirected }]) => ({
        name: `${host}:${port.number}`,
        domains: [host],
        include_request_attempt_count: true,
        routes: isRedirected ? [TO_HTTPS] : catchAllLast(routes),
      })),
    validate_clusters: { value: false },
    // A browser may name the port or not.
    ignore_port_in_host_matching: true,
  };
}

const TO_HTTPS: Route = { match: { prefix: "/" }, redirect: { https_redirect: true } };

function boundTo(model: MeshModel, gateway: string): readonly MeshVirtualService[] {
  return model.virtualServices.filter(
    ({ gateways, http }) => gateways.includes(gateway) && http.length > 0,
  );
}

/** Several VirtualServices of one host are merged: what catches everything comes last (Istio). */
function catchAllLast(routes: readonly Route[]): Route[] {
  const isLast = ({ match }: Route): boolean =>
    match?.prefix === "/" &&
    (match.headers ?? []).length === 0 &&
    (match.query_parameters ?? []).length === 0;
  return [...routes.filter((route) => !isLast(route)), ...routes.filter(isLast)];
}
