import type { MessageTypes } from "../../../xds/index.ts";
import { type DestinationRuleLookup, destinationRulesFor } from "../model-destination-rules.ts";
import { hostLookup, resolveHost } from "../model-hosts.ts";
import { isHttpProtocol } from "../model-protocol.ts";
import type { MeshService, ServicePort } from "../model-services.ts";
import type { MeshView } from "../model-view.ts";
import {
  MESH_GATEWAY,
  type MeshVirtualService,
  visibleVirtualServices,
} from "../model-virtual-services.ts";
import type { ProxyNode } from "../proxy-node.ts";
import { hashPolicies } from "./consistent-hash.ts";
import {
  HTTP_PROXY_ROUTE,
  outboundClusterName,
  PASSTHROUGH_CLUSTER,
  portRouteName,
  serviceRouteName,
} from "./names.ts";
import { defaultRetryPolicy, timeoutFields } from "./route-action.ts";
import { type RouteClient, virtualServiceRoutes } from "./virtual-service-routes.ts";

type Route = MessageTypes["envoy.config.route.v3.Route"];
type VirtualHost = MessageTypes["envoy.config.route.v3.VirtualHost"];
type RouteConfiguration = MessageTypes["envoy.config.route.v3.RouteConfiguration"];

/** Istio's limit; Envoy's own is 4 KiB. */
const MAX_DIRECT_BODY_BYTES = 1_048_576;
const HTTP_PORT = 80;
const HTTPS_PORT = 443;

/**
 * The routes of the outbound HTTP proxy listener: a virtual host per service and HTTP port, then the
 * hosts that only VirtualServices know. A host nobody knows is passed on to, or gets 502, as the
 * outbound traffic policy says.
 */
export function httpProxyRoutes(model: MeshView, node: Node): RouteConfiguration {
  const outbound = outboundOf(model, node);
  const domains = createDomainRegister();
  const hosts = outbound.services.flatMap((service) => {
    const ports = service.ports.filter((port) => isHttpProtocol(port.protocol));
    return ports.flatMap((port) => {
      const names = serviceDomains(service, port, ports, node.namespace);
      return virtualHostOf(service, port, domains.claim(names), model, outbound);
    });
  });
  hosts.push(...otherHosts(outbound, model, domains));
  return configuration(HTTP_PROXY_ROUTE, hosts, model);
}

/**
 * The routes of redirected connections, where the port is known: one configuration per port, and one
 * for each port of `own`, whose listener is the service's alone.
 */
export function redirectedRoutes(
  model: MeshView,
  node: Node,
  { shared, own }: RedirectedPorts,
): readonly RouteConfiguration[] {
  const outbound = outboundOf(model, node);
  const virtualHost = (
    { service, port }: PortOfService,
    domains: ReturnType<typeof createDomainRegister>,
  ): VirtualHost[] => {
    const names = namesOf(service, node.namespace);
    const both = names.flatMap((name) => [name, `${name}:${port.number}`]);
    return virtualHostOf(service, port, domains.claim(both), model, outbound);
  };
  const byPort = [...shared].map(([number, ports]) => {
    const domains = createDomainRegister();
    const hosts = byNamespace(ports, node.namespace).flatMap((each) => virtualHost(each, domains));
    // Istio: hosts that only VirtualServices know are at port 80.
    if (number === HTTP_PORT) hosts.push(...otherHosts(outbound, model, domains));
    return configuration(portRouteName(number), hosts, model);
  });
  const byService = own.map((each) => {
    const name = serviceRouteName(each.service.host, each.port.number);
    return configuration(name, virtualHost(each, createDomainRegister()), model);
  });
  return [...byPort, ...byService];
}

/** A port together with its service. */
export interface PortOfService {
  readonly service: MeshService;
  readonly port: ServicePort;
}

/** The HTTP ports of redirected connections. */
export interface RedirectedPorts {
  /** By number: those of all services that have no listener of their own there. */
  readonly shared: ReadonlyMap<number, readonly PortOfService[]>;
  readonly own: readonly PortOfService[];
}

type Node = Pick<ProxyNode, "namespace" | "labels">;

/** What the routes of one client are made of. */
interface Outbound {
  readonly client: RouteClient;
  /** Those of the client's own namespace first: they have the first claim on a name. */
  readonly services: readonly MeshService[];
  readonly virtualServices: readonly MeshVirtualService[];
  readonly virtualServiceOf: (host: string) => MeshVirtualService | undefined;
}

function outboundOf(model: MeshView, node: Node): Outbound {
  const ruleOf = destinationRulesFor(model.destinationRules, node.namespace, model.rootNamespace);
  const client: RouteClient = { ...node, gateways: [MESH_GATEWAY], ruleOf };
  const virtualServices = httpVirtualServices(model, client.namespace);
  const own = (service: MeshService): number => Number(service.namespace === client.namespace);
  return {
    client,
    services: model.services.toSorted((a, b) => own(b) - own(a)),
    virtualServices,
    virtualServiceOf: hostLookup(virtualServices, ({ hosts }) => hosts),
  };
}

function byNamespace(ports: readonly PortOfService[], namespace: string): readonly PortOfService[] {
  const own = ({ service }: PortOfService): number => Number(service.namespace === namespace);
  return ports.toSorted((a, b) => own(b) - own(a));
}

/** Nothing when all of the service's names are taken. */
function virtualHostOf(
  service: MeshService,
  port: ServicePort,
  domains: string[],
  model: MeshView,
  { client, virtualServiceOf }: Outbound,
): VirtualHost[] {
  if (domains.length === 0) return [];
  const virtualService = virtualServiceOf(service.host);
  return [
    {
      name: `${service.host}:${port.number}`,
      domains,
      include_request_attempt_count: true,
      routes:
        virtualService === undefined
          ? [defaultRoute(service, port, model, client.ruleOf)]
          : virtualServiceRoutes(virtualService, port.number, model, client),
    },
  ];
}

function configuration(name: string, hosts: VirtualHost[], model: MeshView): RouteConfiguration {
  return {
    name,
    virtual_hosts: [...hosts, elsewhere(model)],
    // Clusters may come and go on their own; a route to one that is not there answers 503.
    validate_clusters: { value: false },
    max_direct_response_body_size_bytes: { value: MAX_DIRECT_BODY_BYTES },
  };
}

/** The VirtualServices that sidecars of a namespace route requests by; the first of a host counts. */
export function httpVirtualServices(
  model: MeshView,
  namespace: string,
): readonly MeshVirtualService[] {
  return visibleVirtualServices(model.virtualServices, namespace).filter(
    // One without HTTP rules (only tcp, tls) leaves HTTP as it is.
    ({ gateways, http }) => gateways.includes(MESH_GATEWAY) && http.length > 0,
  );
}

/** Envoy refuses a table with one domain twice: the first virtual host keeps it. */
function createDomainRegister() {
  const seen = new Set<string>();
  return {
    claim(domains: readonly string[]): string[] {
      const free = [...new Set(domains)].filter((domain) => !seen.has(domain));
      for (const domain of free) seen.add(domain);
      return free;
    },
  };
}

/** The names a client may use; without a port they mean port 80, or the first HTTP port. */
function serviceDomains(
  service: MeshService,
  port: ServicePort,
  httpPorts: readonly ServicePort[],
  clientNamespace: string,
): readonly string[] {
  const names = namesOf(service, clientNamespace);
  const portless = httpPorts.find((each) => each.number === HTTP_PORT) ?? httpPorts[0];
  return names.flatMap((each) =>
    port === portless ? [each, `${each}:${port.number}`] : [`${each}:${port.number}`],
  );
}

function namesOf(service: MeshService, clientNamespace: string): readonly string[] {
  const { host, name, namespace } = service;
  const short = [
    ...(namespace === clientNamespace ? [name] : []),
    `${name}.${namespace}`,
    `${name}.${namespace}.svc`,
  ];
  return [
    host,
    // A ServiceEntry's name is no name of the service.
    ...(service.isEntry ? [] : short),
    ...service.clusterIps.map((ip) => (ip.includes(":") ? `[${ip}]` : ip)),
  ];
}

function defaultRoute(
  service: MeshService,
  port: ServicePort,
  model: MeshView,
  ruleOf: DestinationRuleLookup,
): Route {
  const hashing = hashPolicies([{ host: service.host }], port.number, model, ruleOf);
  return {
    name: "default",
    match: { prefix: "/" },
    route: {
      cluster: outboundClusterName(service.host, port.number),
      ...timeoutFields(0),
      retry_policy: defaultRetryPolicy(),
      ...(hashing.length === 0 ? {} : { hash_policy: [...hashing] }),
    },
    decorator: { operation: `${service.host}:${port.number}/*` },
  };
}

/** Hosts of VirtualServices that are no service: whatever the port, by Host alone. */
function otherHosts(
  { virtualServices, client }: Outbound,
  model: MeshView,
  domains: ReturnType<typeof createDomainRegister>,
): VirtualHost[] {
  const out: VirtualHost[] = [];
  for (const virtualService of virtualServices) {
    for (const host of virtualService.hosts) {
      if (model.serviceByHost.has(host) || host === "*") continue;
      // A wildcard at the end and one at the front do not go together in Envoy.
      const withPorts = host.startsWith("*")
        ? [`${host}:${HTTP_PORT}`, `${host}:${HTTPS_PORT}`]
        : [`${host}:*`];
      const claimed = domains.claim([host, ...withPorts]);
      if (claimed.length === 0) continue;
      const routes = virtualServiceRoutes(virtualService, HTTP_PORT, model, client);
      out.push({
        name: `${host}:${HTTP_PORT}`,
        domains: claimed,
        include_request_attempt_count: true,
        routes,
      });
    }
  }
  return out;
}

/** What becomes of requests for a host that nobody knows. */
function elsewhere(view: MeshView): VirtualHost {
  const cluster = elsewhereCluster(view);
  if (cluster === undefined) {
    return {
      name: "block_all",
      domains: ["*"],
      routes: [{ name: "block_all", match: { prefix: "/" }, direct_response: { status: 502 } }],
    };
  }
  return {
    name: "allow_any",
    domains: ["*"],
    include_request_attempt_count: true,
    routes: [
      { name: "allow_any", match: { prefix: "/" }, route: { cluster, ...timeoutFields(0) } },
    ],
  };
}

/** The cluster of traffic to a host that nobody knows; undefined where it is not let out. */
export function elsewhereCluster({
  sidecar,
  settings,
  serviceByHost,
}: MeshView): string | undefined {
  if ((sidecar?.outboundMode ?? settings.outboundMode) === "REGISTRY_ONLY") return undefined;
  const proxy = sidecar?.egressProxy;
  if (proxy === undefined) return PASSTHROUGH_CLUSTER;
  const host = resolveHost(proxy.host, sidecar?.namespace ?? "", (each) => serviceByHost.has(each));
  return outboundClusterName(host, proxy.port.number, proxy.subset);
}
