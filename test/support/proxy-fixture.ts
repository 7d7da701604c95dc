import { once } from "node:events";
import { createServer as createHttpServer, type RequestListener } from "node:http";
import { type AddressInfo, connect, createServer, type Server, type Socket } from "node:net";
import type { TestContext } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import type {
  AccessLogRecord,
  ClusterConfig,
  EndpointConfig,
  FilterChainConfig,
  HttpConnectionManagerConfig,
  ListenerConfig,
  RetryPolicy,
  RouteActionConfig,
  RouteConfig,
  RuntimeConfig,
  TcpProxyConfig,
} from "../../src/proxy/config/runtime-config.ts";
import { UNKNOWN_PEER } from "../../src/proxy/core/peer-metadata.ts";
import { createProxyServer, type RunningProxyServer } from "../../src/proxy/server.ts";
import { createLogger, systemClock } from "../../src/runtime/index.ts";

/** What telemetry was told, copied at that moment. */
export interface Recorded {
  readonly code: number;
  readonly flags: string;
  readonly details: string;
  readonly attempts: number;
  readonly cluster: string | undefined;
  readonly host: string | undefined;
  readonly bytesReceived: number;
  readonly bytesSent: number;
  readonly principal: string | undefined;
  readonly isMutualTls: boolean;
  readonly failureReason: string;
  /** Of gRPC calls: how many messages went up and down. */
  readonly messages: readonly [request: number, response: number] | undefined;
}

/** A TCP connection that telemetry was told of. */
export interface OpenedTcp {
  /** The workload that the client had presented by then. */
  readonly peer: string | undefined;
  readonly transferred: [received: number, sent: number];
}

export interface ProxyFixture {
  readonly server: RunningProxyServer;
  readonly records: Recorded[];
  readonly opened: OpenedTcp[];
  readonly counters: Map<string, number>;
  /** The port of listener "main". */
  readonly port: number;
  apply(config: RuntimeConfig): Promise<void>;
}

/** Starts the real data path with a hand-made configuration; stopped with the test. */
export async function startProxy(
  t: TestContext,
  config: RuntimeConfig,
  random?: () => number,
): Promise<ProxyFixture> {
  const records: Recorded[] = [];
  const opened: OpenedTcp[] = [];
  const counters = new Map<string, number>();
  const stat = (name: string): { add(count: number): void } => ({
    add: (count) => counters.set(name, (counters.get(name) ?? 0) + count),
  });
  const server = createProxyServer({
    telemetry: {
      requestFinished: (record) => records.push(copyOf(record)),
      log: (record) => records.push(copyOf(record)),
      tcpConnectionOpened: (record) => {
        const connection: OpenedTcp = {
          peer: record.downstreamPeer?.workload,
          transferred: [0, 0],
        };
        opened.push(connection);
        return {
          transferred(received, sent) {
            connection.transferred[0] += received;
            connection.transferred[1] += sent;
          },
          closed: () => {},
        };
      },
      counter: stat,
      gauge: stat,
    },
    clock: systemClock,
    logger: createLogger("test", "silent"),
    ...(random === undefined ? {} : { random }),
  });
  t.after(() => server.stop(0));
  const apply = async (next: RuntimeConfig): Promise<void> => {
    const failures = await server.apply(next);
    if (failures[0] !== undefined) throw failures[0].error;
  };
  await apply(config);
  return { server, records, opened, counters, port: server.listenerPort("main") ?? 0, apply };
}

function copyOf(record: AccessLogRecord): Recorded {
  return {
    code: record.responseCode,
    flags: record.responseFlags,
    details: record.responseCodeDetails,
    attempts: record.attemptCount,
    cluster: record.upstreamCluster?.name,
    host: record.upstreamHost?.key,
    bytesReceived: record.bytesReceived,
    bytesSent: record.bytesSent,
    principal: record.downstreamPeerPrincipal,
    isMutualTls: record.isMutualTls,
    failureReason: record.upstreamTransportFailureReason,
    messages: record.grpcMessages && [
      record.grpcMessages.request.count,
      record.grpcMessages.response.count,
    ],
  };
}

export function endpoint(port: number, options: Partial<EndpointConfig> = {}): EndpointConfig {
  const address = options.address ?? "127.0.0.1";
  return {
    key: `${address}:${port}`,
    address,
    port,
    weight: 1,
    priority: 0,
    edsHealth: "UNKNOWN",
    locality: { key: "", weight: 0 },
    hostname: "",
    isCanary: false,
    transportSocketMatch: {},
    peer: undefined,
    ...options,
  };
}

export const HTTP2: ClusterConfig["http2"] = {
  maxConcurrentStreams: 100,
  initialStreamWindowBytes: 262_144,
  initialConnectionWindowBytes: 1_048_576,
};

const UNLIMITED = 2 ** 32 - 1;
export const NO_LIMITS: ClusterConfig["circuitBreaker"] = {
  maxConnections: UNLIMITED,
  maxPendingRequests: UNLIMITED,
  maxRequests: UNLIMITED,
  maxRetries: UNLIMITED,
  retryBudget: undefined,
  tracksRemaining: false,
};

export function cluster(
  name: string,
  endpoints: readonly EndpointConfig[],
  options: Partial<ClusterConfig> = {},
): ClusterConfig {
  return {
    name,
    altStatName: "",
    protocol: "http1",
    http2: HTTP2,
    connectTimeoutMs: 5000,
    lbPolicy: "round_robin",
    leastRequestChoices: 2,
    activeRequestBias: 1,
    slowStart: undefined,
    isLocalityWeighted: false,
    overprovisioningFactor: 140,
    ringSize: { minimum: 1024, maximum: 8_388_608 },
    maglevTableSize: 65_537,
    endpoints,
    tlsFor: () => undefined,
    circuitBreaker: NO_LIMITS,
    highPriorityCircuitBreaker: NO_LIMITS,
    maxConnectionsPerHost: UNLIMITED,
    maxConnectionDurationMs: 0,
    maxRequestsPerConnection: 0,
    idleTimeoutMs: 60_000,
    healthyPanicThresholdPercent: 0,
    healthCheck: undefined,
    ignoreHealthOnHostRemoval: false,
    outlierDetection: undefined,
    service: undefined,
    ...options,
  };
}

export function retryPolicy(retryOn: string, options: Partial<RetryPolicy> = {}): RetryPolicy {
  return {
    retryOn: new Set(retryOn.split(",")),
    retriableStatusCodes: new Set(),
    retriableHeaders: [],
    retriableRequestHeaders: [],
    perTryIdleTimeoutMs: 0,
    omitsCanaryHosts: false,
    previousPriorities: undefined,
    rateLimitedBackoff: undefined,
    numRetries: 2,
    perTryTimeoutMs: 0,
    backoffBaseMs: 1,
    backoffMaxMs: 10,
    avoidPreviousHosts: false,
    hostSelectionRetryMaxAttempts: 5,
    ...options,
  };
}

/** A route that gives the upstream another host. */
export function hostRewrite(literal: string): NonNullable<Forward["hostRewrite"]> {
  return {
    literal,
    header: undefined,
    pathRegex: undefined,
    isAutomatic: false,
    appendsForwardedHost: false,
  };
}

/** A route's timeouts with nothing but the usual one; 0 = none. */
export function timeouts(timeoutMs: number): Forward["timeouts"] {
  return {
    timeoutMs,
    maxStreamDuration: undefined,
    maxGrpcTimeoutMs: undefined,
    grpcTimeoutOffsetMs: 0,
  };
}

type Forward = Extract<RouteActionConfig, { kind: "forward" }>;

/** A route action to one cluster, or to several by weight. */
export function forwardTo(
  weights: string | Readonly<Record<string, number>>,
  options: Partial<Forward> = {},
): Forward {
  const entries = typeof weights === "string" ? [[weights, 1] as const] : Object.entries(weights);
  return {
    kind: "forward",
    clusters: entries.map(([name, weight]) => ({
      cluster: name,
      weight,
      hostRewrite: undefined,
      requestHeaders: undefined,
      responseHeaders: undefined,
      filterOverrides: undefined,
    })),
    clusterChoice: { kind: "random" },
    totalWeight: entries.reduce((sum, [, weight]) => sum + weight, 0),
    timeouts: timeouts(0),
    idleTimeoutMs: undefined,
    isHighPriority: false,
    retry: undefined,
    prefixRewrite: undefined,
    regexRewrite: undefined,
    hostRewrite: undefined,
    mirrors: [],
    hashPolicies: [],
    clusterNotFoundStatus: 503,
    ...options,
  };
}

export function route(
  action: RouteActionConfig,
  prefix = "/",
  options: Partial<RouteConfig> = {},
): RouteConfig {
  return {
    name: "",
    path: { kind: "prefix", prefix, ignoreCase: false },
    headers: [],
    queryParameters: [],
    action,
    filterOverrides: new Map(),
    requestHeaders: undefined,
    responseHeaders: undefined,
    ...options,
  };
}

export function manager(
  routes: readonly RouteConfig[],
  options: Partial<HttpConnectionManagerConfig> = {},
): HttpConnectionManagerConfig {
  const table = {
    name: "test",
    virtualHost: () => ({ name: "all", routes, includeAttemptCount: true }),
  };
  return {
    kind: "http",
    codec: "auto",
    http2: HTTP2,
    statPrefix: "test",
    routeTable: () => table,
    useRemoteAddress: false,
    xffTrustedHops: 0,
    skipXffAppend: false,
    generateRequestId: true,
    preserveExternalRequestId: false,
    clientCertDetails: { cert: false, subject: true, uri: true, dns: true },
    forwardClientCert: "sanitize",
    serverName: "envoy",
    maxRequestHeadersBytes: 61_440,
    maxHeadersCount: 100,
    idleTimeoutMs: 60_000,
    streamIdleTimeoutMs: 60_000,
    requestHeadersTimeoutMs: 0,
    maxStreamDurationMs: 0,
    requestTimeoutMs: 0,
    paths: { isNormalized: true, mergesSlashes: false, escapedSlashes: "keep" },
    accessLogs: [],
    filters: [],
    direction: "outbound",
    ...options,
  };
}

/** A raw relay to one cluster. */
export function tcpTo(name: string, options: Partial<TcpProxyConfig> = {}): TcpProxyConfig {
  return {
    kind: "tcp",
    statPrefix: "test",
    clusters: [{ cluster: name, weight: 1 }],
    idleTimeoutMs: 0,
    maxConnectAttempts: 1,
    accessLogs: [],
    direction: "outbound",
    ...options,
  };
}

export function chain(
  network: FilterChainConfig["network"],
  options: Partial<FilterChainConfig> = {},
): FilterChainConfig {
  return {
    name: "",
    match: {
      transportProtocol: "",
      applicationProtocols: [],
      serverNames: [],
      destinationPort: undefined,
    },
    tls: undefined,
    authorization: [],
    network,
    ...options,
  };
}

export function listener(
  chains: readonly FilterChainConfig[],
  options: Partial<ListenerConfig> = {},
): ListenerConfig {
  return {
    name: "main",
    address: "127.0.0.1",
    port: 0,
    inspectTls: false,
    chains,
    defaultChain: undefined,
    bindToPort: true,
    ...options,
  };
}

export function runtimeConfig(
  clusters: readonly ClusterConfig[],
  listeners: readonly ListenerConfig[],
): RuntimeConfig {
  const byName = new Map(clusters.map((config) => [config.name, config]));
  return {
    self: UNKNOWN_PEER,
    listeners: new Map(listeners.map((config) => [config.name, config])),
    cluster: (name) => byName.get(name),
    clusters: () => byName.values(),
  };
}

/** The usual configuration: one listener, one route list. */
export function httpConfig(
  clusters: readonly ClusterConfig[],
  routes: readonly RouteConfig[],
  options: Partial<HttpConnectionManagerConfig> = {},
): RuntimeConfig {
  return runtimeConfig(clusters, [listener([chain(manager(routes, options))])]);
}

/** A real HTTP server on its own port; closed with the test. */
export async function startHttp(t: TestContext, handler: RequestListener): Promise<number> {
  const server = createHttpServer(handler);
  server.keepAliveTimeout = 60_000;
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  return portOf(server);
}

/** A raw TCP server on its own port; closed with the test. */
export async function startTcp(
  t: TestContext,
  onSocket: (socket: Socket) => void,
): Promise<number> {
  const sockets = new Set<Socket>();
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    sockets.add(socket);
    socket.on("close", () => sockets.delete(socket));
    socket.on("error", () => socket.destroy());
    onSocket(socket);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  t.after(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  return portOf(server);
}

/** A port that was free a moment ago: connecting to it is refused. */
export async function closedPort(): Promise<number> {
  const server = createServer();
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const port = portOf(server);
  server.close();
  await once(server, "close");
  return port;
}

export function portOf(server: Server): number {
  return (server.address() as AddressInfo).port;
}

/** A client that speaks bytes. */
export interface RawClient {
  readonly socket: Socket;
  /** Everything received so far, one character per byte. */
  received(): string;
  send(text: string | Buffer): void;
  /** Resolves with everything received once it matches. */
  until(pattern: RegExp | string): Promise<string>;
  /** Resolves with everything received once the other side has closed. */
  closed(): Promise<string>;
}

export async function rawClient(t: TestContext, port: number): Promise<RawClient> {
  const socket = connect({ port, host: "127.0.0.1" });
  await once(socket, "connect");
  t.after(() => socket.destroy());
  let text = "";
  let isClosed = false;
  socket.setEncoding("latin1");
  socket.on("data", (chunk: string) => {
    text += chunk;
  });
  socket.on("error", () => {});
  socket.on("close", () => {
    isClosed = true;
  });
  return {
    socket,
    received: () => text,
    send: (bytes) => {
      socket.write(bytes);
    },
    until: async (pattern) => {
      await waitFor(
        () => (typeof pattern === "string" ? text.includes(pattern) : pattern.test(text)),
        () => `waiting for ${pattern}, received ${JSON.stringify(text.slice(-2000))}`,
      );
      return text;
    },
    closed: async () => {
      await waitFor(
        () => isClosed,
        () => `waiting for the close, received ${JSON.stringify(text.slice(-2000))}`,
      );
      return text;
    },
  };
}

/** Polls until the condition holds; fails after ten seconds with the message. */
export async function waitFor(
  condition: () => boolean,
  message: () => string = () => "condition not reached",
): Promise<void> {
  const deadline = performance.now() + 10_000;
  while (!condition()) {
    if (performance.now() > deadline) throw new Error(message());
    await delay(2);
  }
}
