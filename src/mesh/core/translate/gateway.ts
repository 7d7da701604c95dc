import { type MessageTypes, packAny } from "../../../xds/index.ts";
import type { MeshModel } from "../model.ts";
import { destinationRulesFor } from "../model-destination-rules.ts";
import {
  type GatewayServer,
  gatewaysOf,
  hostsOnServer,
  type MeshGateway,
} from "../model-gateways.ts";
import { isVisible } from "../model-hosts.ts";
import { compare } from "../model-object.ts";
import type { MeshView } from "../model-view.ts";
import type { MeshVirtualService } from "../model-virtual-services.ts";
import type { ProxyNode } from "../proxy-node.ts";
import type { AccessLogs } from "./access-log.ts";
import { connectionManager } from "./connection-manager.ts";
import type { CredentialRef } from "./credentials.ts";
import { isTerminated, missingCredential, serverTransport } from "./gateway-tls.ts";
import {
  autoPassthroughChains,
  type Chain,
  type L4Client,
  tcpChain,
  tlsPassthroughChains,
} from "./l4-routes.ts";
import { tracingFields } from "./tracing.ts";
import { virtualServiceRoutes } from "./virtual-service-routes.ts";
import { securityOf } from "./workload-security.ts";

type Listener = MessageTypes["envoy.config.listener.v3.Listener"];
type ListenerFilter = MessageTypes["envoy.config.listener.v3.ListenerFilter"];
type Route = MessageTypes["envoy.config.route.v3.Route"];
type RouteConfiguration = MessageTypes["envoy.config.route.v3.RouteConfiguration"];

interface Server {
  readonly gateway: MeshGateway;
  readonly server: GatewayServer;
}

/** One port of a gateway pod with the servers of all its Gateways. */
export interface GatewayPort {
  readonly number: number;
  readonly servers: readonly Server[];
}

const HTTP_PROTOCOLS = new Set(["HTTP", "HTTP2", "GRPC", "GRPC-WEB"]);
/** TrafficDirection.OUTBOUND, as Istio says of gateways. */
const OUTBOUND = 2;
const ANY_ADDRESS = "0.0.0.0";
const HTTP_ALPN = ["h2", "http/1.1"];

/** The ports that the Gateways give a gateway pod, by number. What lacks its Secret is left out. */
export function gatewayPorts(
  model: MeshModel,
  node: Pick<ProxyNode, "namespace" | "labels">,
): readonly GatewayPort[] {
  const ports = new Map<number, GatewayPort>();
  for (const gateway of gatewaysOf(model.gateways, node)) {
    for (const server of gateway.servers) {
      if (missingCredential(server, model.credentials, node.namespace) !== undefined) continue;
      const servers = ports.get(server.port)?.servers ?? [];
      ports.set(server.port, { number: server.port, servers: [...servers, { gateway, server }] });
    }
  }
  return [...ports.values()].sort((a, b) => a.number - b.number);
}

/** The credential names that a gateway pod's servers ask for. */
export function gatewayCredentials(model: MeshModel, node: ProxyNode): readonly CredentialRef[] {
  return gatewaysOf(model.gateways, node).flatMap(({ servers }) =>
    servers.flatMap(({ tls }) =>
      tls?.credentialName === undefined
        ? []
        : [{ name: tls.credentialName, namespace: tls.credentialNamespace }],
    ),
  );
}

const isPlainHttp = ({ server }: Server): boolean => HTTP_PROTOCOLS.has(server.protocol);
const isHttps = ({ server }: Server): boolean =>
  server.protocol === "HTTPS" && isTerminated(server);

/** Istio's names: all plain servers of a port share their routes, each HTTPS server has its own. */
function routeNameOf({ gateway, server }: Server): string {
  return server.protocol === "HTTPS"
    ? `https.${server.port}.${server.name}.${gateway.name}.${gateway.namespace}`
    : `http.${server.port}`;
}

/** The listener of a gateway port, on the port that the gateway's Service leads to. */
export function gatewayListener(
  port: GatewayPort,
  node: ProxyNode,
  model: MeshView,
  options: { readonly accessLogs: AccessLogs },
): Listener | undefined {
  // Without redirection every pod of the machine shares one network: only the pod's own address.
  const address = node.interceptionMode === "NONE" ? node.ipAddress : ANY_ADDRESS;
  const number = targetPort(port.number, node, model);
  const statPrefix = `outbound_${address}_${number}`;
  const security = securityOf(model, node);
  const http = (routes: string) =>
    connectionManager({
      statPrefix,
      direction: "gateway",
      routes,
      accessLogs: options.accessLogs,
      tracing: tracingFields(model, node, "outbound"),
      securityFilters: security.http,
      pathNormalization: model.settings.pathNormalization,
    });
  const chains: Chain[] = [];
  const plain = port.servers.find(isPlainHttp);
  if (plain !== undefined) chains.push({ filters: [http(routeNameOf(plain))] });
  for (const each of port.servers) {
    const { gateway, server } = each;
    const client = l4Client(node, gateway, server, options.accessLogs, security.tcp);
    if (isHttps(each) && server.tls !== undefined) {
      chains.push({
        filter_chain_match: { transport_protocol: "tls", ...serverNames(server) },
        transport_socket: serverTransport(server.tls, HTTP_ALPN),
        filters: [http(routeNameOf(each))],
      });
    } else if (server.tls?.mode === "AUTO_PASSTHROUGH") {
      chains.push(...autoPassthroughChains(model, client));
    } else if (server.tls !== undefined && !isTerminated(server)) {
      chains.push(...tlsPassthroughChains(boundTo(model, gateway, node), model, client));
    } else if (!isPlainHttp(each)) {
      const chain = tcpChain(boundTo(model, gateway, node), model, client);
      if (chain === undefined) continue;
      chains.push(
        server.tls === undefined
          ? chain
          : {
              ...chain,
              filter_chain_match: { transport_protocol: "tls", ...serverNames(server) },
              transport_socket: serverTransport(server.tls, []),
            },
      );
    }
  }
  const distinct = distinctChains(chains);
  if (distinct.length === 0) return undefined;
  const needsInspector = distinct.some(({ filter_chain_match: match }) => match !== undefined);
  return {
    name: `${address}_${number}`,
    address: { socket_address: { address, port_value: number } },
    traffic_direction: OUTBOUND,
    ...(needsInspector ? { listener_filters: [TLS_INSPECTOR] } : {}),
    filter_chains: distinct,
  };
}

const TLS_INSPECTOR: ListenerFilter = {
  name: "envoy.filters.listener.tls_inspector",
  typed_config: packAny("envoy.extensions.filters.listener.tls_inspector.v3.TlsInspector", {}),
};

function l4Client(
  node: ProxyNode,
  gateway: MeshGateway,
  server: GatewayServer,
  accessLogs: AccessLogs,
  filters: L4Client["filters"],
): L4Client {
  return {
    namespace: node.namespace,
    labels: node.labels,
    gateway: `${gateway.namespace}/${gateway.name}`,
    server,
    filters,
    accessLogs,
  };
}

function serverNames({ hosts }: GatewayServer): { readonly server_names?: string[] } {
  const names = [...new Set(hosts.map(({ dnsName }) => dnsName))];
  return names.includes("*") ? {} : { server_names: names };
}

/** Envoy refuses two chains for the same connections: of two servers for one name the first counts. */
function distinctChains(chains: readonly Chain[]): Chain[] {
  const seen = new Set<string>();
  return chains.flatMap((chain) => {
    const { server_names: names = [], ...rest } = chain.filter_chain_match ?? {};
    const key = (name: string): string => JSON.stringify([rest, name]);
    const free = (names ?? []).filter((name) => !seen.has(key(name)));
    const isTaken = (names ?? []).length > 0 ? free.length === 0 : seen.has(key(""));
    if (isTaken) return [];
    for (const name of free.length > 0 ? free : [""]) seen.add(key(name));
    return free.length === 0
      ? [chain]
      : [{ ...chain, filter_chain_match: { ...rest, server_names: free } }];
  });
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
  node: Pick<ProxyNode, "namespace" | "labels">,
  model: MeshView,
): readonly RouteConfiguration[] {
  const http = port.servers.filter((each) => isPlainHttp(each) || isHttps(each));
  const byName = Map.groupBy(http, routeNameOf);
  return [...byName].map(([name, servers]) => routesOf(name, port, servers, node, model));
}

function routesOf(
  name: string,
  port: GatewayPort,
  servers: readonly Server[],
  node: Pick<ProxyNode, "namespace" | "labels">,
  model: MeshView,
): RouteConfiguration {
  const byHost = new Map<string, { routes: Route[]; isRedirected: boolean }>();
  const { namespace, labels } = node;
  const ruleOf = destinationRulesFor(model.destinationRules, namespace, model.rootNamespace);
  const entryOf = (host: string) => {
    const entry = byHost.get(host) ?? { routes: [], isRedirected: false };
    byHost.set(host, entry);
    return entry;
  };
  for (const { gateway, server } of servers) {
    const gateways = [`${gateway.namespace}/${gateway.name}`];
    const client = { namespace, labels, gateways, ruleOf };
    for (const virtualService of boundTo(model, gateway, node)) {
      if (virtualService.http.length === 0) continue;
      const routes = virtualServiceRoutes(virtualService, port.number, model, client);
      for (const host of hostsOnServer(virtualService, server)) {
        const entry = entryOf(host);
        entry.routes.push(...routes);
        entry.isRedirected ||= server.httpsRedirect;
      }
    }
    // Clients are sent on even where nobody has routes yet.
    if (server.httpsRedirect) {
      for (const { dnsName } of server.hosts) entryOf(dnsName).isRedirected = true;
    }
  }
  return {
    name,
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

function boundTo(
  model: MeshModel,
  { namespace, name }: MeshGateway,
  node: Pick<ProxyNode, "namespace">,
): readonly MeshVirtualService[] {
  return model.virtualServices.filter(
    (each) => each.gateways.includes(`${namespace}/${name}`) && isVisible(each, node.namespace),
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
