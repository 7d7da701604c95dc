import { connect, type Socket } from "node:net";
import { type ConnectionOptions, connect as connectTls, TLSSocket } from "node:tls";
import type {
  AccessLogRecord,
  AccessLogType,
  ClusterConfig,
  EndpointConfig,
  PeerInfo,
  TcpConnectionTelemetry,
  TcpProxyConfig,
  TlsFacts,
} from "../config/runtime-config.ts";
import type { ProxyContext } from "../context.ts";
import {
  PEER_EXCHANGE_PROTOCOL,
  PeerExchangeReader,
  peerExchangeFrame,
  tcpProtocols,
} from "../core/peer-exchange.ts";
import { pickWeighted } from "../core/route.ts";
import { type ConnectionInfo, formatAddress, localAddressOf } from "../net/connection-info.ts";
import { readFrom, writeBytes } from "../net/read-buffer.ts";
import { tlsFacts } from "../tls/certificate-facts.ts";
import { clientTlsOptions } from "../tls/client-options.ts";
import type { ClusterRuntime } from "../upstream/cluster-runtime.ts";
import type { HostPool } from "../upstream/host-pool.ts";
import { connectFailure, localEnd } from "../upstream/upstream-socket.ts";

/** How often a long connection tells how much it carried (Istio reports every 5 s). */
const REPORT_INTERVAL_MS = 5_000;

/**
 * Joins a client's connection to one of a host of the configured cluster: raw bytes both ways, each
 * side's FIN passed on by itself, each side read only as fast as the other takes it. `downstream`
 * must allow half-open connections. Clusters that pass on the original destination read it from `info`.
 */
export function proxyTcp(
  context: ProxyContext,
  config: TcpProxyConfig,
  downstream: Socket,
  info: ConnectionInfo,
): void {
  new TcpSession(context, config, downstream, info).start();
}

/** One proxied connection, from its first byte to its record in the access log. */
class TcpSession implements AccessLogRecord {
  readonly #context: ProxyContext;
  readonly #config: TcpProxyConfig;
  readonly #downstream: Socket;
  readonly #info: ConnectionInfo;
  readonly startTimeMs = performance.now();
  readonly method = "";
  readonly path = "";
  readonly originalPath = undefined;
  readonly protocol = "";
  readonly responseCode = 0;
  responseFlags = "";
  responseCodeDetails = "";
  durationMs = 0;
  readonly upstreamServiceTimeMs = undefined;
  readonly authority = "";
  readonly routeName = "";
  upstreamCluster: ClusterConfig | undefined;
  upstreamHost: EndpointConfig | undefined;
  upstreamLocalAddress = "";
  readonly downstreamLocalAddress: string;
  readonly downstreamRemoteAddress: string;
  upstreamTransportFailureReason = "";
  attemptCount = 0;
  readonly isGrpc = false;
  logType: AccessLogType = "TcpConnectionEnd";
  #upstream: Socket | undefined;
  #isConnected = false;
  #isJoined = false;
  #isOver = false;
  #telemetry: TcpConnectionTelemetry | undefined;
  /** Of a client that presents its workload first. */
  readonly #clientExchange: PeerExchangeReader | undefined;
  /** What of the bytes sent to the client was said by us. */
  readonly #presentedBytes: number = 0;
  #reported = { received: 0, sent: 0 };
  #cancelReport: () => void = () => {};
  #cancelIdle: () => void = () => {};
  /** `performance.now()` of the last bytes, whichever way they went. */
  #lastActiveMs = 0;
  #cancelLog: (() => void) | undefined;

  constructor(
    context: ProxyContext,
    config: TcpProxyConfig,
    downstream: Socket,
    info: ConnectionInfo,
  ) {
    this.#context = context;
    this.#config = config;
    this.#downstream = downstream;
    this.#info = info;
    this.downstreamLocalAddress = localAddressOf(downstream, info);
    this.downstreamRemoteAddress = formatAddress(downstream.remoteAddress, downstream.remotePort);
    this.#clientExchange = exchangeOf(downstream);
    if (this.#clientExchange !== undefined) this.#presentedBytes = this.#presentTo(downstream);
  }

  get bytesReceived(): number {
    // What waits for an upstream has not been taken yet.
    if (!this.#isJoined) return 0;
    return this.#downstream.bytesRead - (this.#clientExchange?.frameBytes ?? 0);
  }
  get bytesSent(): number {
    return this.#downstream.bytesWritten - this.#presentedBytes;
  }
  get downstreamPeer(): PeerInfo | undefined {
    return this.#clientExchange?.peer;
  }
  get downstreamPeerPrincipal(): string | undefined {
    return this.#info.identity?.principal;
  }
  get isMutualTls(): boolean {
    return this.#info.identity !== undefined;
  }
  get downstreamTls(): TlsFacts | undefined {
    return this.#info.tlsSession && tlsFacts(this.#info.tlsSession);
  }
  get requestedServerName(): string {
    return this.#info.requestedServerName;
  }
  get direction(): AccessLogRecord["direction"] {
    return this.#config.direction;
  }
  requestHeader(): undefined {}
  responseHeader(): undefined {}
  responseTrailer(): undefined {}

  start(): void {
    const { clusters } = this.#config;
    this.#stat("downstream_cx_total").add(1);
    this.#downstream.once("error", () => this.#downstream.destroy());
    this.#downstream.once("close", () => this.#finish());
    if ((this.#config.accessLogTimes?.intervalMs ?? 0) > 0) this.#logLater();
    const total = clusters.reduce((sum, { weight }) => sum + weight, 0);
    const choice = pickWeighted(clusters, total, this.#context.random());
    const config = choice === undefined ? undefined : this.#context.config.cluster(choice.cluster);
    if (config === undefined) {
      this.#stat("downstream_cx_no_route").add(1);
      this.#refuse("NC", "cluster_not_found");
      return;
    }
    this.upstreamCluster = config;
    this.#connect(this.#context.clusters.get(this.#context, config), config);
  }

  #connect(cluster: ClusterRuntime, config: ClusterConfig): void {
    if (!cluster.circuit.connections.canTake) {
      cluster.stats.connectionOverflow.add(1);
      this.#refuse("UO", "");
      return;
    }
    const { destination } = this.#info;
    const host =
      config.originalDst === undefined
        ? cluster.pick(undefined, 0)
        : destination && cluster.hostAt(destination);
    this.attemptCount += 1;
    if (host === undefined) {
      this.#refuse("UH", "");
      return;
    }
    this.upstreamHost = host.endpoint;
    let upstream: Socket;
    try {
      upstream = this.#open(host, config);
    } catch (error) {
      this.upstreamTransportFailureReason = error instanceof Error ? error.message : String(error);
      this.#refuse("UF", "");
      return;
    }
    this.#upstream = upstream;
    this.#watch(upstream, host, cluster, config);
  }

  #open({ endpoint }: HostPool, config: ClusterConfig): Socket {
    const { address, port } = endpoint;
    const tls = config.tlsFor(endpoint);
    const local = localEnd(config);
    if (tls === undefined) return connect({ host: address, port, allowHalfOpen: true, ...local });
    const options: ConnectionOptions & { readonly allowHalfOpen: boolean } = {
      host: address,
      port,
      allowHalfOpen: true,
      ...local,
      ...clientTlsOptions(
        this.#context.secureContexts,
        tls,
        tcpProtocols(tls.alpnProtocols, this.#context.config.peerMetadataHeaders !== undefined),
      ),
    };
    return connectTls(options);
  }

  #watch(upstream: Socket, host: HostPool, cluster: ClusterRuntime, config: ClusterConfig): void {
    const { stats, circuit } = cluster;
    const isTls = config.tlsFor(host.endpoint) !== undefined;
    cluster.connectionOpened(circuit);
    host.activeRequests += 1;
    let isTimeout = false;
    const cancelTimeout = this.#context.clock.schedule(config.connectTimeoutMs, () => {
      isTimeout = true;
      upstream.destroy();
    });
    upstream.once(isTls ? "secureConnect" : "connect", () => {
      cancelTimeout();
      this.#connected(upstream);
    });
    upstream.once("error", (error) => {
      this.upstreamTransportFailureReason = connectFailure(error, this.#isConnected);
      upstream.destroy();
    });
    upstream.once("close", () => {
      cancelTimeout();
      cluster.connectionClosed(circuit);
      host.activeRequests -= 1;
      if (this.#isConnected) return;
      stats.connectFail.add(1);
      if (isTimeout) stats.connectTimeout.add(1);
      cluster.recordOutcome(host, { status: 503, origin: "local" });
      this.#retry(cluster, config);
    });
  }

  #retry(cluster: ClusterRuntime, config: ClusterConfig): void {
    if (this.#isOver) return;
    if (this.attemptCount < this.#config.maxConnectAttempts) {
      this.#connect(cluster, config);
      return;
    }
    // As Envoy: the limit is exceeded even where it allows a single attempt.
    this.#refuse("UF,URX", "");
  }

  #connected(upstream: Socket): void {
    this.#isConnected = true;
    this.upstreamLocalAddress = formatAddress(upstream.localAddress, upstream.localPort);
    // Who the client is comes with its first bytes.
    if (this.#clientExchange === undefined) this.#openTelemetry();
    this.#reportLater();
    if (this.#config.accessLogTimes?.atStart === true) this.#log("TcpUpstreamConnected");
    this.#isJoined = true;
    this.#lastActiveMs = performance.now();
    this.#watchIdle(this.#config.idleTimeoutMs);
    const serverExchange = exchangeOf(upstream);
    if (serverExchange !== undefined) this.#presentTo(upstream);
    this.#relay(this.#downstream, upstream, this.#clientExchange);
    this.#relay(upstream, this.#downstream, serverExchange);
  }

  /** Says whose proxy this is; returns the number of bytes it took. */
  #presentTo(socket: Socket): number {
    const frame = peerExchangeFrame(this.#context.config.peerMetadataHeaders ?? []);
    socket.write(frame);
    return frame.length;
  }

  #openTelemetry(): void {
    this.#telemetry ??= this.#context.telemetry.tcpConnectionOpened(this);
  }

  #logLater(): void {
    const intervalMs = this.#config.accessLogTimes?.intervalMs ?? 0;
    this.#cancelLog = this.#context.clock.schedule(intervalMs, () => {
      this.#log("TcpPeriodic");
      this.#logLater();
    });
  }

  #log(type: AccessLogType): void {
    this.logType = type;
    this.durationMs = performance.now() - this.startTimeMs;
    this.#context.telemetry.log(this, this.#config.accessLogs);
  }

  #relay(from: Socket, to: Socket, exchange: PeerExchangeReader | undefined): void {
    from.setNoDelay(true);
    const pass = (bytes: Buffer): void => {
      this.#lastActiveMs = performance.now();
      if (to.destroyed || to.writableEnded) return;
      if (!writeBytes(to, bytes)) from.pause();
    };
    readFrom(
      from,
      exchange === undefined
        ? pass
        : (bytes) => {
            const own = exchange.take(bytes);
            if (exchange === this.#clientExchange && exchange.isDone) this.#openTelemetry();
            if (own.length > 0) pass(own);
          },
    );
    to.on("drain", () => from.resume());
    from.once("end", () => to.end());
    // A broken side takes the other with it.
    from.once("close", () => {
      if (from.readableEnded) to.destroySoon();
      else to.destroy();
    });
  }

  /** Ends the connection when nothing has come for a while; a timer per read would cost more. */
  #watchIdle(idleTimeoutMs: number): void {
    if (idleTimeoutMs === 0) return;
    const restMs = this.#lastActiveMs + idleTimeoutMs - performance.now();
    if (restMs <= 0) {
      this.#downstream.destroy();
      return;
    }
    this.#cancelIdle = this.#context.clock.schedule(Math.ceil(restMs), () =>
      this.#watchIdle(idleTimeoutMs),
    );
  }

  #reportLater(): void {
    this.#cancelReport = this.#context.clock.schedule(REPORT_INTERVAL_MS, () => {
      this.#report();
      this.#reportLater();
    });
  }

  #report(): void {
    if (this.#isJoined) this.#openTelemetry();
    const { bytesReceived, bytesSent } = this;
    const received = bytesReceived - this.#reported.received;
    const sent = bytesSent - this.#reported.sent;
    this.#reported = { received: bytesReceived, sent: bytesSent };
    this.#stat("downstream_cx_rx_bytes_total").add(received);
    this.#stat("downstream_cx_tx_bytes_total").add(sent);
    this.#telemetry?.transferred(received, sent);
  }

  #refuse(flag: string, details: string): void {
    this.#addFlag(flag);
    this.responseCodeDetails = details;
    this.#downstream.destroy();
  }

  #addFlag(flag: string): void {
    this.responseFlags = this.responseFlags === "" ? flag : `${this.responseFlags},${flag}`;
  }

  #finish(): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#cancelReport();
    this.#cancelIdle();
    this.#cancelLog?.();
    if (!this.#isConnected) {
      this.#upstream?.destroy();
      // The client left while the upstream was being reached.
      if (this.responseFlags === "") this.#addFlag("DC");
    }
    this.#report();
    this.#telemetry?.closed(this);
    this.#log("TcpConnectionEnd");
  }

  #stat(name: string): { add(count: number): void } {
    return this.#context.telemetry.counter(`tcp.${this.#config.statPrefix}.${name}`);
  }
}

/** What takes the frame of the proxy at the other end off, where one was agreed on. */
function exchangeOf(socket: Socket): PeerExchangeReader | undefined {
  const isAgreed = socket instanceof TLSSocket && socket.alpnProtocol === PEER_EXCHANGE_PROTOCOL;
  return isAgreed ? new PeerExchangeReader() : undefined;
}
