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
import { HTTP_PROXY_ROUTE, outboundClusterName, PASSTHROUGH_CLUSTER } from "./names.ts";
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
export function httpProxyRoutes(
  model: MeshView,
  node: Pick<ProxyNode, "namespace" | "labels">,
): RouteConfiguration {
  const ruleOf = destinationRulesFor(model.destinationRules, node.namespace, model.rootNamespace);
  const client: RouteClient = { ...node, gateways: [MESH_GATEWAY], ruleOf };
  const virtualServices = visibleVirtualServices(model.virtualServices, client.namespace).filter(
    // One without HTTP rules (only tcp, tls) leaves HTTP as it is.
    ({ gateways, http }) => gateways.includes(MESH_GATEWAY) && http.length > 0,
  );
  const virtualServiceOf = hostLookup(virtualServices, ({ hosts }) => hosts);
  const domains = createDomainRegister();
  const hosts: VirtualHost[] = [];
  // A service of the client's own namespace has the first claim on a name.
  const services = model.services.toSorted(
    (a, b) => Number(b.namespace === client.namespace) - Number(a.namespace === client.namespace),
  );
  for (const service of services) {
    const ports = service.ports.filter((port) => isHttpProtocol(port.protocol));
    const virtualService = virtualServiceOf(service.host);
    for (const port of ports) {
      const claimed = domains.claim(serviceDomains(service, port, ports, client.namespace));
      if (claimed.length === 0) continue;
      hosts.push({
        name: `${service.host}:${port.number}`,
        domains: claimed,
        include_request_attempt_count: true,
        routes:
          virtualService === undefined
            ? [defaultRoute(service, port, model, ruleOf)]
            : virtualServiceRoutes(virtualService, port.number, model, client),
      });
    }
  }
  hosts.push(...otherHosts(virtualServices, model, client, domains), elsewhere(model));
  return {
    name: HTTP_PROXY_ROUTE,
    virtual_hosts: hosts,
    // Clusters may come and go on their own; a route to one that is not there answers 503.
    validate_clusters: { value: false },
    max_direct_response_body_size_bytes: { value: MAX_DIRECT_BODY_BYTES },
  };
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
  const { host, name, namespace } = service;
  const short = [
    ...(namespace === clientNamespace ? [name] : []),
    `${name}.${namespace}`,
    `${name}.${namespace}.svc`,
  ];
  const names = [
    host,
    // A ServiceEntry's name is no name of the service.
    ...(service.isEntry ? [] : short),
    ...service.clusterIps.map((ip) => (ip.includes(":") ? `[${ip}]` : ip)),
  ];
  const portless = httpPorts.find((each) => each.number === HTTP_PORT) ?? httpPorts[0];
  return names.flatMap((each) =>
    port === portless ? [each, `${each}:${port.number}`] : [`${each}:${port.number}`],
  );
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
  virtualServices: readonly MeshVirtualService[],
  model: MeshView,
  client: RouteClient,
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
  const { sidecar, settings } = view;
  if ((sidecar?.outboundMode ?? settings.outboundMode) === "REGISTRY_ONLY") {
    return {
      name: "block_all",
      domains: ["*"],
      routes: [{ name: "block_all", match: { prefix: "/" }, direct_response: { status: 502 } }],
    };
  }
  const proxy = sidecar?.egressProxy;
  const cluster =
    proxy === undefined
      ? PASSTHROUGH_CLUSTER
      : outboundClusterName(
          resolveHost(proxy.host, sidecar?.namespace ?? "", (host) => view.serviceByHost.has(host)),
          proxy.port.number,
          proxy.subset,
        );
  return {
    name: "allow_any",
    domains: ["*"],
    include_request_attempt_count: true,
    routes: [
      { name: "allow_any", match: { prefix: "/" }, route: { cluster, ...timeoutFields(0) } },
    ],
  };
}
