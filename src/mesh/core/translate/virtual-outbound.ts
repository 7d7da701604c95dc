import { durationFromMs, type MessageTypes } from "../../../xds/index.ts";
import type { MeshView } from "../model-view.ts";
import {
  MESH_GATEWAY,
  type MeshVirtualService,
  visibleVirtualServices,
} from "../model-virtual-services.ts";
import type { ProxyNode } from "../proxy-node.ts";
import type { AccessLogs } from "./access-log.ts";
import { connectionManager } from "./connection-manager.ts";
import { HTTP_INSPECTOR, TLS_INSPECTOR } from "./inbound.ts";
import {
  type Chain,
  type L4Client,
  passedOn,
  tcpChain,
  tlsPassthroughChains,
} from "./l4-routes.ts";
import { BLACK_HOLE_CLUSTER, portRouteName, serviceRouteName } from "./names.ts";
import { outboundPorts } from "./redirected-ports.ts";
import { tcpTo, wildcardOf } from "./redirection.ts";
import { tracingFields } from "./tracing.ts";
import { elsewhereCluster, type PortOfService } from "./virtual-hosts.ts";

type Filter = MessageTypes["envoy.config.listener.v3.Filter"];
type Listener = MessageTypes["envoy.config.listener.v3.Listener"];
type ListenerFilter = MessageTypes["envoy.config.listener.v3.ListenerFilter"];

/** Where `serin init` redirects outbound connections to (istio-init's -p). */
const PORT = 15_001;
/** TrafficDirection.OUTBOUND */
const OUTBOUND = 2;
/** What Istio takes for plain HTTP on a port that others may share. */
const HTTP = { transport_protocol: "raw_buffer", application_protocols: ["http/1.1", "h2c"] };

/**
 * The listeners of redirected outbound connections: the one that they all arrive at, which hands each
 * to the listener of its destination, `0.0.0.0_<port>` or `<address>_<port>`, or, where there is
 * none, lets it go on or not as the outbound traffic policy says. Source: Istio's virtualOutbound.
 */
export function virtualOutboundListeners(
  view: MeshView,
  node: ProxyNode,
  options: { readonly accessLogs: AccessLogs },
): readonly Listener[] {
  const make = new ListenerMaker(view, node, options.accessLogs);
  const ports = outboundPorts(view);
  const numbers = [...new Set([...ports.shared.keys(), ...ports.loose.keys()])];
  return [
    make.virtual(),
    ...numbers
      .sort((a, b) => a - b)
      .map((number) =>
        make.shared(number, ports.shared.has(number), ports.loose.get(number) ?? []),
      ),
    ...ports.sniffed.flatMap((port) => port.addresses.map((at) => make.sniffed(at, port))),
    ...ports.tcp.flatMap((port) => port.addresses.map((at) => make.tcp(at, port))),
  ];
}

class ListenerMaker {
  readonly #view: MeshView;
  readonly #node: ProxyNode;
  readonly #accessLogs: AccessLogs;
  readonly #virtualServices: readonly MeshVirtualService[];
  readonly #elsewhere: string;
  readonly #takesAnyHost: boolean;

  constructor(view: MeshView, node: ProxyNode, accessLogs: AccessLogs) {
    this.#view = view;
    this.#node = node;
    this.#accessLogs = accessLogs;
    this.#virtualServices = visibleVirtualServices(view.virtualServices, node.namespace).filter(
      ({ gateways }) => gateways.includes(MESH_GATEWAY),
    );
    this.#elsewhere = elsewhereCluster(view) ?? BLACK_HOLE_CLUSTER;
    this.#takesAnyHost = view.services.some(({ resolution }) => resolution === "requested");
  }

  virtual(): Listener {
    return {
      name: "virtualOutbound",
      address: { socket_address: { address: wildcardOf(this.#node), port_value: PORT } },
      use_original_dst: { value: true },
      traffic_direction: OUTBOUND,
      filter_chains: [
        {
          // A connection to the proxy's own port would come back to it for ever.
          name: "virtualOutbound-blackhole",
          filter_chain_match: { destination_port: { value: PORT } },
          filters: [tcpTo(BLACK_HOLE_CLUSTER, [])],
        },
        { name: "virtualOutbound-catchall-tcp", filters: this.#goOn() },
      ],
    };
  }

  /** A port that several services may have. What is no HTTP of theirs goes on as it is. */
  shared(number: number, hasHttp: boolean, loose: readonly PortOfService[]): Listener {
    const address = wildcardOf(this.#node);
    const [first] = loose.filter(({ port }) => port.protocol !== "tls");
    const sni = loose
      .filter(({ port }) => port.protocol === "tls")
      .flatMap((each) => this.#tlsChains(each, true));
    const http = this.#http(address, number, portRouteName(number));
    return this.#listener(address, number, {
      chains: [...(hasHttp ? [{ filter_chain_match: HTTP, filters: [http] }] : []), ...sni],
      last:
        first === undefined
          ? { name: "PassthroughFilterChain", filters: this.#goOn() }
          : this.#tcpChain(first),
      filters: [TLS_INSPECTOR, ...(hasHttp ? [HTTP_INSPECTOR] : [])],
    });
  }

  /** The port of one service of which nobody said what it speaks. */
  sniffed(address: string, each: PortOfService): Listener {
    const { number } = each.port;
    const http = this.#http(address, number, serviceRouteName(each.service.host, number));
    return this.#listener(address, number, {
      chains: [{ filter_chain_match: HTTP, filters: [http] }],
      last: this.#tcpChain(each),
      filters: [TLS_INSPECTOR, HTTP_INSPECTOR],
    });
  }

  tcp(address: string, each: PortOfService): Listener {
    const tls = this.#tlsChains(each, false);
    return this.#listener(address, each.port.number, {
      chains: tls,
      last: this.#tcpChain(each),
      // Who speaks first does not matter where nothing has to be found out.
      filters: tls.length === 0 ? [] : [TLS_INSPECTOR],
    });
  }

  #listener(
    address: string,
    port: number,
    parts: { readonly chains: Chain[]; readonly last: Chain; readonly filters: ListenerFilter[] },
  ): Listener {
    return {
      name: `${address}_${port}`,
      address: { socket_address: { address, port_value: port } },
      bind_to_port: { value: false },
      traffic_direction: OUTBOUND,
      ...(parts.filters.length === 0
        ? {}
        : {
            listener_filters: parts.filters,
            listener_filters_timeout: durationFromMs(0),
            continue_on_listener_filters_timeout: true,
          }),
      ...(parts.chains.length === 0
        ? { filter_chains: [parts.last] }
        : { filter_chains: distinct(parts.chains), default_filter_chain: parts.last }),
    };
  }

  #http(address: string, port: number, routes: string): Filter {
    return connectionManager({
      statPrefix: `outbound_${address}_${port}`,
      direction: "outbound",
      routes,
      accessLogs: this.#accessLogs,
      tracing: tracingFields(this.#view, this.#node, "outbound"),
      pathNormalization: this.#view.settings.pathNormalization,
      takesAnyHost: this.#takesAnyHost,
    });
  }

  #goOn(): Filter[] {
    return [tcpTo(this.#elsewhere, this.#accessLogs)];
  }

  /** To where the first TCP route says, else to the service. */
  #tcpChain(each: PortOfService): Chain {
    const client = this.#clientOf(each);
    const { service, port } = each;
    return (
      tcpChain(this.#virtualServices, this.#view, client) ?? {
        filters: passedOn(
          [{ destination: { host: service.host, port: { number: port.number } } }],
          this.#view,
          client,
        ),
      }
    );
  }

  /** By server name: the TLS routes, and, where nothing else tells it apart, the service itself. */
  #tlsChains(each: PortOfService, isShared: boolean): Chain[] {
    const client = this.#clientOf(each);
    const routed = tlsPassthroughChains(this.#virtualServices, this.#view, client);
    if (!isShared || each.service.host === "*") return [...routed];
    const chain = this.#tcpChain(each);
    const filter_chain_match = { transport_protocol: "tls", server_names: [each.service.host] };
    return [...routed, { ...chain, filter_chain_match }];
  }

  #clientOf({ service, port }: PortOfService): L4Client {
    return {
      namespace: this.#node.namespace,
      labels: this.#node.labels,
      gateway: MESH_GATEWAY,
      server: { port: port.number, hosts: [{ namespace: "*", dnsName: service.host }] },
      filters: [],
      accessLogs: this.#accessLogs,
    };
  }
}

/** Envoy refuses two chains for the same connections: the first one counts. */
function distinct(chains: readonly Chain[]): Chain[] {
  const seen = new Set<string>();
  return chains.flatMap((chain) => {
    const { server_names, ...rest } = chain.filter_chain_match ?? {};
    const names = server_names ?? [];
    const free = names.filter((name) => !seen.has(name));
    for (const name of free) seen.add(name);
    if (names.length === 0) {
      const key = JSON.stringify(rest);
      if (seen.has(key)) return [];
      seen.add(key);
      return [chain];
    }
    return free.length === 0
      ? []
      : [{ ...chain, filter_chain_match: { ...rest, server_names: free } }];
  });
}
