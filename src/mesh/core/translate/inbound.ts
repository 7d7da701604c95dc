import { durationFromMs, type MessageTypes, packAny, structFromJson } from "../../../xds/index.ts";
import type { MeshModel } from "../model.ts";
import { type EffectiveTlsMode, mutualTlsModeOf } from "../model-peer-authentication.ts";
import { type PortProtocol, protocolOf } from "../model-protocol.ts";
import type { MeshService, ServedPort } from "../model-services.ts";
import type { MeshSettings } from "../model-settings.ts";
import type { SidecarIngress } from "../model-sidecars.ts";
import type { MeshView } from "../model-view.ts";
import type { ProxyNode } from "../proxy-node.ts";
import { type AccessLogs, accessLogField } from "./access-log.ts";
import { connectionManager } from "./connection-manager.ts";
import { INBOUND_PASSTHROUGH_CLUSTER, inboundClusterName } from "./names.ts";
import { type TracingFields, tracingFields } from "./tracing.ts";
import { meshCertificates } from "./upstream-tls.ts";
import { securityOf, type WorkloadSecurity } from "./workload-security.ts";

type Cluster = MessageTypes["envoy.config.cluster.v3.Cluster"];
type Filter = MessageTypes["envoy.config.listener.v3.Filter"];
type FilterChain = MessageTypes["envoy.config.listener.v3.FilterChain"];
type Listener = MessageTypes["envoy.config.listener.v3.Listener"];
type ListenerFilter = MessageTypes["envoy.config.listener.v3.ListenerFilter"];
type TransportSocket = MessageTypes["envoy.config.core.v3.TransportSocket"];

/** A port of the application behind a sidecar. */
export interface InboundPort {
  readonly number: number;
  readonly protocol: PortProtocol;
  /** The application's own port, where a Sidecar says that it is another one. */
  readonly targetPort?: number | undefined;
  /** Services that lead to it, oldest first. */
  readonly services: readonly MeshService[];
}

/** Ports that the sidecar itself listens on. */
const SIDECAR_PORTS = new Set([15000, 15001, 15006, 15020, 15021, 15090]);
/** TrafficDirection.INBOUND */
const INBOUND = 1;
const LOOPBACK = "127.0.0.1";
/** TlsParameters.TlsProtocol.TLSv1_2 */
const TLS_V1_2 = 3;
const HTTP_ALPN = ["istio-http/1.0", "istio-http/1.1", "istio-h2"];
const TCP_ALPN = ["istio", "istio-peer-exchange"];

/**
 * The application's ports: what the pod's containers declare, and what services lead to. The
 * service says what a port speaks, else the container port's name does. A Sidecar with ingress
 * listeners replaces the list (Istio).
 */
export function inboundPorts(model: MeshView, node: ProxyNode): readonly InboundPort[] {
  const pod = model.workloads.get(`${node.namespace}/${node.name}`);
  if (pod === undefined) return [];
  const served = Map.groupBy(model.servedPorts.get(pod) ?? [], (each) => each.targetPort);
  const ingress = model.sidecar?.ingress ?? [];
  if (ingress.length > 0) return ingress.map((listener) => ingressPort(listener, served));
  const names = new Map<number, string | undefined>([
    ...[...served.keys()].map((number) => [number, undefined] as const),
    ...pod.containerPorts.map((port) => [port.number, port.name] as const),
  ]);
  return [...names.entries()]
    .filter(([number]) => !SIDECAR_PORTS.has(number))
    .sort(([a], [b]) => a - b)
    .map(([number, name]) => {
      const behind = served.get(number) ?? [];
      const declared = behind.find(({ port }) => port.protocol !== "auto") ?? behind[0];
      const own = protocolOf({ number, transport: "TCP", appProtocol: undefined, name });
      return {
        number,
        protocol: declared?.port.protocol ?? own,
        services: [...new Set(behind.map((each) => each.service))],
      };
    });
}

function ingressPort(
  { port: number, protocol, name, targetPort }: SidecarIngress,
  served: ReadonlyMap<number, readonly ServedPort[]>,
): InboundPort {
  const behind = served.get(number) ?? [];
  const appProtocol = protocol?.toLowerCase();
  return {
    number,
    protocol: protocolOf({ number, transport: "TCP", appProtocol, name }),
    targetPort,
    services: [...new Set(behind.map((each) => each.service))],
  };
}

/**
 * The cluster of an application port: the application's own address. A redirected connection goes on
 * to where it was going, unless a Sidecar names another port.
 */
export function inboundCluster(port: InboundPort, node: ProxyNode): Cluster {
  const name = inboundClusterName(port.number);
  const isRedirected = node.interceptionMode !== "NONE" && port.targetPort === undefined;
  return {
    name,
    connect_timeout: { seconds: 10 },
    ...UNLIMITED,
    ...(isRedirected ? originalDestination(node) : applicationAddress(name, port, node)),
    ...(port.protocol === "http2" ? HTTP2_UPSTREAM : {}),
    metadata: {
      filter_metadata: {
        istio: structFromJson({
          services: port.services.map(({ host, name: service, namespace }) => ({
            host,
            name: service,
            namespace,
          })),
        }),
      },
    },
  };
}

/** Where redirected connections go on to whose port nobody declared. */
export function inboundPassthroughCluster(node: ProxyNode): Cluster {
  return {
    name: INBOUND_PASSTHROUGH_CLUSTER,
    connect_timeout: { seconds: 10 },
    ...UNLIMITED,
    ...originalDestination(node),
  };
}

const UNLIMITED: Cluster = {
  circuit_breakers: {
    thresholds: [
      {
        max_connections: { value: 0xff_ff_ff_ff },
        max_pending_requests: { value: 0xff_ff_ff_ff },
        max_requests: { value: 0xff_ff_ff_ff },
        max_retries: { value: 0xff_ff_ff_ff },
        track_remaining: true,
      },
    ],
  },
};

/** Cluster.DiscoveryType */
const TYPE = { STATIC: 0, ORIGINAL_DST: 4 } as const;
/** LbPolicy.CLUSTER_PROVIDED */
const CLUSTER_PROVIDED = 6;

/** From Istio's address of inbound connections, which the redirection rules leave alone. */
function originalDestination({ ipAddress }: ProxyNode): Cluster {
  const address = ipAddress.includes(":") ? "::6" : "127.0.0.6";
  return {
    type: TYPE.ORIGINAL_DST,
    lb_policy: CLUSTER_PROVIDED,
    upstream_bind_config: { source_address: { address, port_value: 0 } },
  };
}

function applicationAddress(name: string, port: InboundPort, node: ProxyNode): Cluster {
  const address = node.applicationAddress ?? LOOPBACK;
  const port_value = port.targetPort ?? port.number;
  return {
    type: TYPE.STATIC,
    load_assignment: {
      cluster_name: name,
      endpoints: [
        { lb_endpoints: [{ endpoint: { address: { socket_address: { address, port_value } } } }] },
      ],
    },
  };
}

const HTTP_OPTIONS = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions";
const HTTP2_UPSTREAM: Cluster = {
  typed_extension_protocol_options: {
    [HTTP_OPTIONS]: packAny(HTTP_OPTIONS, {
      explicit_http_config: { http2_protocol_options: {} },
    }),
  },
};

/** The listener of an application port, `<pod IP>_<port>`: what it takes is up to PeerAuthentication. */
export function inboundListener(
  port: InboundPort,
  node: ProxyNode,
  model: MeshModel,
  options: { readonly accessLogs: AccessLogs },
): Listener {
  const { chains, inspectsTls, inspectsHttp } = inboundChains(
    { ...port, cluster: inboundClusterName(port.number) },
    node,
    model,
    options,
  );
  const inspectors: ListenerFilter[] = [
    ...(inspectsTls ? [TLS_INSPECTOR] : []),
    ...(inspectsHttp ? [HTTP_INSPECTOR] : []),
  ];
  return {
    name: `${node.ipAddress}_${port.number}`,
    address: { socket_address: { address: node.ipAddress, port_value: port.number } },
    traffic_direction: INBOUND,
    ...(inspectors.length > 0 ? { listener_filters: inspectors } : {}),
    // Istio: a client that says nothing may be waiting for a server that speaks first.
    listener_filters_timeout: durationFromMs(0),
    filter_chains: chains,
  };
}

/** A port, and the cluster its traffic goes to. */
interface InboundTarget extends InboundPort {
  readonly cluster: string;
}

/** What a port takes, and what has to be found out about its connections. */
interface InboundChains {
  readonly chains: FilterChain[];
  readonly inspectsTls: boolean;
  readonly inspectsHttp: boolean;
}

/** The filter chains of a port, as PeerAuthentication says. */
export function inboundChains(
  port: InboundTarget,
  node: ProxyNode,
  model: MeshModel,
  options: { readonly accessLogs: AccessLogs },
): InboundChains {
  const pod = model.workloads.get(`${node.namespace}/${node.name}`);
  const labels = pod?.labels ?? node.labels;
  const mode = mutualTlsModeOf(
    model.peerAuthentications,
    { namespace: node.namespace, labels },
    port.number,
    model.rootNamespace,
  );
  const security = securityOf(model, { namespace: node.namespace, labels });
  const tracing = tracingFields(model, { namespace: node.namespace, labels }, "inbound");
  const http = inboundHttp(port, options.accessLogs, tracing, security.http, model.settings);
  return {
    chains: filterChains(port, mode, http, options.accessLogs, security),
    inspectsTls: mode !== "DISABLE",
    inspectsHttp: port.protocol === "auto" && mode !== "STRICT",
  };
}

/** Finds out whether a connection is TLS, and what its client offers. */
export const TLS_INSPECTOR: ListenerFilter = {
  name: "envoy.filters.listener.tls_inspector",
  typed_config: packAny("envoy.extensions.filters.listener.tls_inspector.v3.TlsInspector", {}),
};
/** Finds out whether plain text is HTTP. */
export const HTTP_INSPECTOR: ListenerFilter = {
  name: "envoy.filters.listener.http_inspector",
  typed_config: packAny("envoy.extensions.filters.listener.http_inspector.v3.HttpInspector", {}),
};

function filterChains(
  port: InboundTarget,
  mode: EffectiveTlsMode,
  manager: Filter,
  accessLogs: AccessLogs,
  security: WorkloadSecurity,
): FilterChain[] {
  const http: Filter[] = [manager];
  const tcp: Filter[] = [...security.tcp, inboundTcp(port, accessLogs)];
  const isHttp = port.protocol === "http" || port.protocol === "http2";
  const chains: FilterChain[] = [];
  if (mode !== "DISABLE") chains.push(...tlsChains(port, mode, http, tcp));
  if (mode === "STRICT") return chains;
  if (isHttp) {
    chains.push({ name: "http", filter_chain_match: plain, filters: http });
  } else if (port.protocol === "auto") {
    chains.push({
      name: "http",
      filter_chain_match: { ...plain, application_protocols: ["http/1.0", "http/1.1", "h2c"] },
      filters: http,
    });
    chains.push({ name: "tcp", filter_chain_match: plain, filters: tcp });
  } else {
    chains.push({ name: "tcp", filter_chain_match: plain, filters: tcp });
  }
  // The application's own TLS passes through as it is.
  if (mode === "PERMISSIVE" || mode === "DISABLE") {
    chains.push({ name: "tls-passthrough", filter_chain_match: tls, filters: tcp });
  }
  return chains;
}

const plain = { transport_protocol: "raw_buffer" } as const;
const tls = { transport_protocol: "tls" } as const;

/** Mutual TLS, told from the application's own by Istio's ALPN where plain text is taken too. */
function tlsChains(
  port: InboundPort,
  mode: EffectiveTlsMode,
  http: Filter[],
  tcp: Filter[],
): FilterChain[] {
  const isHttp = port.protocol === "http" || port.protocol === "http2";
  const httpSocket = downstreamTls(["h2", "http/1.1"]);
  const tcpSocket = downstreamTls(["istio"]);
  const chain = (name: string, alpn: string[], filters: Filter[], socket: TransportSocket) => ({
    name,
    filter_chain_match: {
      ...tls,
      ...(alpn.length > 0 ? { application_protocols: alpn } : {}),
    },
    transport_socket: socket,
    filters,
  });
  if (isHttp) {
    const alpn = mode === "STRICT" ? [] : [...HTTP_ALPN, ...TCP_ALPN];
    return [chain("http-mtls", alpn, http, httpSocket)];
  }
  const tcpAlpn = mode === "STRICT" ? [] : TCP_ALPN;
  return [
    ...(port.protocol === "auto" ? [chain("http-mtls", HTTP_ALPN, http, httpSocket)] : []),
    chain("tcp-mtls", tcpAlpn, tcp, tcpSocket),
  ];
}

function downstreamTls(alpn: string[]): TransportSocket {
  return {
    name: "envoy.transport_sockets.tls",
    typed_config: packAny("envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext", {
      require_client_certificate: { value: true },
      common_tls_context: {
        ...meshCertificates([]),
        tls_params: { tls_minimum_protocol_version: TLS_V1_2 },
        alpn_protocols: alpn,
      },
    }),
  };
}

function inboundHttp(
  port: InboundTarget,
  accessLogs: AccessLogs,
  tracing: TracingFields,
  securityFilters: WorkloadSecurity["http"],
  { pathNormalization }: MeshSettings,
): Filter {
  const name = port.cluster;
  const host = port.services[0]?.host;
  return connectionManager({
    statPrefix: `inbound_0.0.0.0_${port.number}`,
    direction: "inbound",
    accessLogs,
    tracing,
    securityFilters,
    pathNormalization,
    routes: {
      name,
      validate_clusters: { value: false },
      virtual_hosts: [
        {
          name: `inbound|http|${port.number}`,
          domains: ["*"],
          routes: [
            {
              name: "default",
              match: { prefix: "/" },
              route: { cluster: name, timeout: durationFromMs(0) },
              ...(host === undefined
                ? {}
                : { decorator: { operation: `${host}:${port.number}/*` } }),
            },
          ],
        },
      ],
    },
  });
}

function inboundTcp(port: InboundTarget, accessLogs: AccessLogs): Filter {
  const name = port.cluster;
  return {
    name: "envoy.filters.network.tcp_proxy",
    typed_config: packAny("envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy", {
      stat_prefix: name,
      cluster: name,
      ...accessLogField(accessLogs),
    }),
  };
}
