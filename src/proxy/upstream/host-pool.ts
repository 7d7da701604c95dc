import type { ClusterConfig, EndpointConfig } from "../config/runtime-config.ts";
import type { ProxyContext } from "../context.ts";
import type { HashedHost } from "../core/balance/balancer.ts";
import type { Circuit } from "../core/circuit.ts";
import type { UpstreamStream } from "../streams.ts";
import type { ClusterRuntime } from "./cluster-runtime.ts";
import { UpstreamConnection } from "./connection.ts";
import { Http2Pool } from "./http2-pool.ts";

interface Waiting {
  readonly stream: UpstreamStream;
  readonly method: string;
}

/**
 * The connections to one host of a cluster and the requests that wait for one. Idle connections are
 * a stack: the most recently used is taken first, so that spare ones grow old and are closed.
 */
export class HostPool implements HashedHost {
  readonly context: ProxyContext;
  readonly cluster: ClusterRuntime;
  endpoint: EndpointConfig;
  activeRequests = 0;
  /** `performance.now()` when it came, or passed its health check after it had failed it. */
  healthySinceMs = performance.now();
  /** TLS sessions for resumption, by version of the material; holds one. */
  readonly sessions = new Map<string, Buffer>();
  readonly #idle: UpstreamConnection[] = [];
  readonly #connections = new Set<UpstreamConnection>();
  #http2: Http2Pool | undefined;
  /** A sidecar of the mesh: it may speak HTTP/2 to us whatever the application speaks. */
  #mayUpgrade: boolean;
  /** What an `auto` host turned out to speak. */
  #speaksHttp1 = false;
  #connecting = 0;
  #waiting: Waiting[] = [];
  #isRetired = false;

  constructor(context: ProxyContext, cluster: ClusterRuntime, endpoint: EndpointConfig) {
    this.context = context;
    this.cluster = cluster;
    this.endpoint = endpoint;
    this.#mayUpgrade = mayUpgrade(cluster.config, endpoint);
  }

  get weight(): number {
    return this.endpoint.weight;
  }

  get hashKey(): string {
    return this.endpoint.key;
  }

  get connectionCount(): number {
    return this.#connections.size + (this.#http2?.connectionCount ?? 0);
  }

  /** The host does not speak HTTP/2. */
  useHttp1(): void {
    this.#speaksHttp1 = true;
  }

  #usesHttp2(isHttp2Request: boolean): boolean {
    switch (this.cluster.config.protocol) {
      case "http1":
        return this.#mayUpgrade && !this.#speaksHttp1;
      case "http2":
        return true;
      case "downstream":
        return isHttp2Request;
      case "auto":
        return !this.#speaksHttp1 && this.cluster.config.tlsFor(this.endpoint) !== undefined;
    }
  }

  /**
   * Gives the stream a connection: an idle one at once, else a new one or the next to become free.
   * False when the circuit breaker refuses. `isHttp2Request`: for clusters that follow the client;
   * `needsHttp1`: a tunnel, which takes a connection of its own.
   */
  acquire(
    stream: UpstreamStream,
    method: string,
    isHttp2Request = false,
    needsHttp1 = false,
  ): boolean {
    if (!needsHttp1 && this.#usesHttp2(isHttp2Request)) {
      this.#http2 ??= new Http2Pool(this);
      return this.#http2.acquire(stream, method);
    }
    const connection = this.#takeIdle();
    if (connection !== undefined) {
      const canAttach = this.cluster.canAttach(stream);
      if (canAttach) connection.attach(stream, method);
      else this.#idle.push(connection);
      return canAttach;
    }
    if (!this.cluster.enqueue(stream)) return false;
    this.#waiting.push({ stream, method });
    this.#connectIfNeeded();
    return true;
  }

  /** The connection that was used last: it is the least likely to be closed by its host just now. */
  #takeIdle(): UpstreamConnection | undefined {
    for (;;) {
      const connection = this.#idle.pop();
      if (connection === undefined) return undefined;
      const { keepAliveMs, idleSinceMs } = connection;
      const isStale = keepAliveMs !== undefined && performance.now() - idleSinceMs > keepAliveMs;
      if (!isStale && connection.isUsable) return connection;
      connection.destroy();
    }
  }

  /** The stream no longer waits. */
  cancel(stream: UpstreamStream): void {
    if (this.#http2?.cancel(stream) === true) return;
    const index = this.#waiting.findIndex((waiting) => waiting.stream === stream);
    if (index < 0) return;
    this.#waiting.splice(index, 1);
    this.cluster.dequeue(stream);
  }

  connected(connection: UpstreamConnection): void {
    this.#connecting -= 1;
    this.release(connection);
  }

  /** The connection is free: the longest waiting request takes it. */
  release(connection: UpstreamConnection): void {
    for (;;) {
      const waiting = this.#waiting.shift();
      if (waiting === undefined) break;
      this.cluster.dequeue(waiting.stream);
      if (this.cluster.canAttach(waiting.stream)) {
        connection.attach(waiting.stream, waiting.method);
        if (this.#waiting.length > 0) this.#connectIfNeeded();
        return;
      }
      waiting.stream.onReset("overflow", "");
    }
    if (this.#isRetired) {
      connection.destroy();
      return;
    }
    connection.idleSinceMs = performance.now();
    this.#idle.push(connection);
  }

  closed(connection: UpstreamConnection, isTimeout: boolean, transportFailure: string): void {
    if (!this.#connections.delete(connection)) return;
    const { stats } = this.cluster;
    this.cluster.connectionClosed(connection.circuit);
    const index = this.#idle.indexOf(connection);
    if (index >= 0) this.#idle.splice(index, 1);
    if (connection.isConnected) {
      this.#connectIfNeeded();
      return;
    }
    this.#connecting -= 1;
    stats.connectFail.add(1);
    if (isTimeout) stats.connectTimeout.add(1);
    // As Envoy: a host that cannot be reached fails all that wait for it.
    const waiting = this.#takeWaiting();
    const reason = isTimeout ? "connection timeout" : "remote connection failure";
    for (const { stream } of waiting) stream.onReset(reason, transportFailure);
  }

  /** A changed endpoint or cluster: connections with other TLS material serve no further request. */
  update(endpoint: EndpointConfig): void {
    this.endpoint = endpoint;
    this.#mayUpgrade = mayUpgrade(this.cluster.config, endpoint);
    const version = this.cluster.config.tlsFor(endpoint)?.version;
    this.#http2?.update(version);
    for (const connection of this.#connections) {
      if (connection.tls?.version !== version) connection.retire();
    }
  }

  /** The host is gone: idle connections close now, busy ones after their response. */
  retire(): void {
    this.#isRetired = true;
    this.#http2?.retire();
    for (const connection of this.#connections) connection.retire();
  }

  closeIdle(nowMs: number): void {
    const { idleTimeoutMs: limitMs, maxConnectionDurationMs } = this.cluster.config;
    this.#http2?.closeIdle(nowMs, limitMs, maxConnectionDurationMs);
    if (maxConnectionDurationMs > 0) this.#retireOld(nowMs, maxConnectionDurationMs);
    for (const connection of [...this.#idle]) {
      const keepMs = Math.min(
        limitMs > 0 ? limitMs : Number.POSITIVE_INFINITY,
        connection.keepAliveMs ?? Number.POSITIVE_INFINITY,
      );
      if (nowMs - connection.idleSinceMs < keepMs) continue;
      this.cluster.stats.idleTimeout.add(1);
      connection.destroy();
    }
  }

  #retireOld(nowMs: number, limitMs: number): void {
    for (const connection of [...this.#connections]) {
      if (!connection.isConnected || !connection.isUsable) continue;
      if (nowMs - connection.connectedAtMs < limitMs) continue;
      this.cluster.stats.maxDurationReached.add(1);
      connection.retire();
    }
  }

  destroy(): void {
    this.#isRetired = true;
    this.#http2?.destroy();
    for (const connection of this.#connections) connection.destroy();
  }

  #connectIfNeeded(): void {
    while (this.#connecting < this.#waiting.length) {
      const next = this.#waiting[this.#connecting];
      if (next === undefined) return;
      const circuit = this.cluster.circuitOf(next.stream);
      if (!this.cluster.canConnect(this.#connections.size, circuit)) return;
      if (!this.#open(circuit)) return;
      this.cluster.connectionOpened(circuit);
      this.cluster.stats.http1Total.add(1);
    }
  }

  #takeWaiting(): readonly Waiting[] {
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const { stream } of waiting) this.cluster.dequeue(stream);
    return waiting;
  }

  #open(circuit: Circuit): boolean {
    this.#connecting += 1;
    try {
      const connection = new UpstreamConnection(
        this,
        this.cluster.config.tlsFor(this.endpoint),
        circuit,
      );
      this.#connections.add(connection);
      return true;
    } catch (error) {
      // TLS material that OpenSSL refuses, or an address that is none: nobody can connect.
      this.#connecting -= 1;
      const waiting = this.#takeWaiting();
      const message = error instanceof Error ? error.message : String(error);
      // Later, because the caller has not been told yet that it waits.
      queueMicrotask(() => {
        for (const { stream } of waiting) stream.onReset("remote connection failure", message);
      });
      return false;
    }
  }
}

const UNLIMITED = 2 ** 32 - 1;

/**
 * Whether requests in HTTP/1.1 may travel to this host over HTTP/2: between sidecars, told by Istio's
 * ALPN, a few connections that stay cost half the CPU of many (bench/results, pair-h1 and pair-h2).
 * Where somebody limits connections or waiting requests, HTTP/1.1 stays, so that limits mean what they say.
 */
function mayUpgrade(
  { circuitBreaker, maxRequestsPerConnection, tlsFor }: ClusterConfig,
  endpoint: EndpointConfig,
): boolean {
  const { maxConnections, maxPendingRequests } = circuitBreaker;
  const isLimited = maxConnections < UNLIMITED || maxPendingRequests < UNLIMITED;
  if (isLimited || maxRequestsPerConnection > 0) return false;
  const protocols = tlsFor(endpoint)?.alpnProtocols ?? [];
  return protocols.includes("istio") && protocols.includes("http/1.1");
}
