import type { StringMap } from "../../../api/index.ts";
import { durationFromMs, type MessageTypes, packAny } from "../../../xds/index.ts";
import { destinationRulesFor } from "../model-destination-rules.ts";
import { type GatewayServer, hostsOnServer } from "../model-gateways.ts";
import { coversHost } from "../model-hosts.ts";
import type { Destination } from "../model-istio.ts";
import type { MeshView } from "../model-view.ts";
import type { MeshVirtualService, TcpRoute, TlsRoute } from "../model-virtual-services.ts";
import { type AccessLogs, accessLogField } from "./access-log.ts";
import {
  BLACK_HOLE_CLUSTER,
  INVALID_BACKEND,
  meshServerName,
  outboundClusterName,
} from "./names.ts";
import { policyFor, tcpIdleTimeoutMs } from "./traffic-policy.ts";

type Filter = MessageTypes["envoy.config.listener.v3.Filter"];

/** A filter chain of a listener. */
export type Chain = MessageTypes["envoy.config.listener.v3.FilterChain"];

/** Where connections come in: a gateway's server, or a service's port in a sidecar. */
export interface L4Client {
  readonly namespace: string;
  readonly labels: StringMap;
  /** `namespace/name` of the Gateway, `mesh` for a sidecar. */
  readonly gateway: string;
  readonly server: Pick<GatewayServer, "port" | "hosts">;
  /** Before the connection is passed on. */
  readonly filters: readonly Filter[];
  readonly accessLogs: AccessLogs;
}

type Targets = readonly {
  readonly destination: Destination;
  readonly weight?: number | undefined;
}[];
type Match = NonNullable<TcpRoute["match"]>[number];

/** The chain for connections of which only the port is known: the first TCP route that applies. */
export function tcpChain(
  virtualServices: readonly MeshVirtualService[],
  view: MeshView,
  client: L4Client,
): Chain | undefined {
  for (const virtualService of virtualServices) {
    if (hostsOnServer(virtualService, client.server).length === 0) continue;
    const route = virtualService.tcp.find(({ match = [] }) =>
      match.length === 0 ? true : match.some((each) => applies(each, client)),
    );
    if (route !== undefined) return { filters: passedOn(route.route, view, client) };
  }
  return undefined;
}

/** One chain for each TLS route that applies, by the server names it asks for. */
export function tlsPassthroughChains(
  virtualServices: readonly MeshVirtualService[],
  view: MeshView,
  client: L4Client,
): readonly Chain[] {
  return virtualServices.flatMap((virtualService) => {
    const hosts = hostsOnServer(virtualService, client.server);
    return virtualService.tls.flatMap((route) => chainsOf(route, hosts, view, client));
  });
}

function chainsOf(
  route: TlsRoute,
  hosts: readonly string[],
  view: MeshView,
  client: L4Client,
): readonly Chain[] {
  return route.match
    .filter((match) => applies(match, client))
    .flatMap(({ sniHosts }) => {
      const names = sniHosts
        .map((name) => name.toLowerCase())
        .filter((name) => hosts.some((host) => coversHost(host, name)));
      if (names.length === 0) return [];
      return [
        {
          filter_chain_match: {
            transport_protocol: "tls",
            ...(names.includes("*") ? {} : { server_names: [...new Set(names)] }),
          },
          filters: passedOn(route.route, view, client),
        },
      ];
    });
}

/** One chain per service port and subset that the server takes, by the mesh's own server names. */
export function autoPassthroughChains(view: MeshView, client: L4Client): readonly Chain[] {
  return view.services
    .filter(({ host }) => client.server.hosts.some(({ dnsName }) => coversHost(dnsName, host)))
    .flatMap(({ host, ports }) =>
      ports.flatMap(({ number }) => {
        const subsets = view.destinationRules
          .filter((rule) => rule.host === host)
          .flatMap((rule) => rule.subsets.map(({ name }) => name));
        return ["", ...new Set(subsets)].map((subset) => ({
          filter_chain_match: {
            transport_protocol: "tls",
            server_names: [meshServerName(host, number, subset)],
          },
          filters: passedOn([{ destination: { host, port: { number }, subset } }], view, client),
        }));
      }),
    );
}

/** The part of a match that is decided when the configuration is made. */
function applies(match: Match, { gateway, namespace, labels, server }: L4Client): boolean {
  const gateways = match.gateways ?? [];
  if (gateways.length > 0 && !gateways.includes(gateway)) return false;
  if ((match.port ?? 0) !== 0 && match.port !== server.port) return false;
  if (gateways.length > 0) return true;
  if (match.sourceNamespace && match.sourceNamespace !== namespace) return false;
  return Object.entries(match.sourceLabels ?? {}).every(([key, value]) => labels[key] === value);
}

/** The idle timeout of the rule for a destination, for its whole service. */
function idleTimeoutMs(
  { host, port, subset }: Destination,
  view: MeshView,
  client: L4Client,
): number | undefined {
  const service = view.serviceByHost.get(host);
  if (service === undefined) return undefined;
  const rules = destinationRulesFor(view.destinationRules, client.namespace, view.rootNamespace);
  const rule = rules(service);
  const named = rule?.subsets.find(({ name }) => name === subset);
  return tcpIdleTimeoutMs(policyFor(rule, named, port?.number ?? client.server.port));
}

/** The filters that pass a connection on to one of the targets, by weight. */
export function passedOn(targets: Targets, view: MeshView, client: L4Client): Filter[] {
  const clusterOf = ({ host, port, subset }: Destination): string => {
    if (host === INVALID_BACKEND) return BLACK_HOLE_CLUSTER;
    const ports = view.serviceByHost.get(host)?.ports ?? [];
    const only = ports.length === 1 ? ports[0]?.number : undefined;
    return outboundClusterName(host, port?.number ?? only ?? client.server.port, subset);
  };
  const [first] = targets;
  const several = targets.filter(({ weight = 0 }) => weight > 0);
  const idleMs = first === undefined ? undefined : idleTimeoutMs(first.destination, view, client);
  const cluster = first === undefined ? "" : clusterOf(first.destination);
  return [
    ...client.filters,
    {
      name: "envoy.filters.network.tcp_proxy",
      typed_config: packAny("envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy", {
        stat_prefix: targets.length === 1 ? cluster : client.gateway,
        ...(targets.length === 1
          ? { cluster }
          : {
              weighted_clusters: {
                clusters: several.map(({ destination, weight = 0 }) => ({
                  name: clusterOf(destination),
                  weight,
                })),
              },
            }),
        ...(idleMs === undefined ? {} : { idle_timeout: durationFromMs(idleMs) }),
        ...accessLogField(client.accessLogs),
      }),
    },
  ];
}
