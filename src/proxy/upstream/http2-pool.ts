import type { Socket } from "node:net";
import { TLSSocket } from "node:tls";
import { messageOf } from "../../base/index.ts";
import type { TlsConfig } from "../config/runtime-config.ts";
import type { Circuit } from "../core/circuit.ts";
import type { UpstreamStream } from "../streams.ts";
import type { HostPool } from "./host-pool.ts";
import { Http2ClientConnection, readInto } from "./http2-connection.ts";
import {
  connectFailure,
  isHttp2Protocol,
  openUpstreamSocket,
  releaseReadBuffer,
  takeReadBuffer,
} from "./upstream-socket.ts";

interface Waiting {
  readonly stream: UpstreamStream;
  readonly method: string;
}

/**
 * The HTTP/2 connections to one host: one carries all requests until it is full or leaves, then
 * another is opened.
 */
export class Http2Pool {
  readonly #pool: HostPool;
  readonly #connections = new Set<Http2ClientConnection>();
  readonly #connecting = new Map<Socket, TlsConfig | undefined>();
  #waiting: Waiting[] = [];
  #isRetired = false;

  constructor(pool: HostPool) {
    this.#pool = pool;
  }

  get connectionCount(): number {
    return this.#connections.size + this.#connecting.size;
  }

  /** Gives the request a stream now or when there is one. False when the circuit breaker refuses. */
  acquire(stream: UpstreamStream, method: string): boolean {
    if (this.#waiting.length === 0) {
      for (const connection of this.#connections) {
        if (!connection.hasCapacity) continue;
        if (!this.#pool.cluster.canAttach(stream)) return false;
        connection.attach(stream, method);
        return true;
      }
    }
    if (!this.#pool.cluster.enqueue(stream)) return false;
    this.#waiting.push({ stream, method });
    this.#connectIfNeeded();
    return true;
  }

  /** The request no longer waits. Returns whether it did. */
  cancel(stream: UpstreamStream): boolean {
    const index = this.#waiting.findIndex((waiting) => waiting.stream === stream);
    if (index < 0) return false;
    this.#waiting.splice(index, 1);
    this.#pool.cluster.dequeue(stream);
    return true;
  }

  /** Connections with other TLS material take no further request. */
  update(version: string | undefined): void {
    for (const connection of this.#connections) {
      if (connection.tls?.version !== version) connection.retire();
    }
  }

  retire(): void {
    this.#isRetired = true;
    for (const connection of [...this.#connections]) connection.retire();
  }

  closeIdle(nowMs: number, limitMs: number, maxAgeMs: number): void {
    const { stats } = this.#pool.cluster;
    for (const connection of [...this.#connections]) {
      if (maxAgeMs > 0 && connection.isUsable && nowMs - connection.connectedAtMs >= maxAgeMs) {
        stats.maxDurationReached.add(1);
        connection.retire();
        continue;
      }
      if (limitMs <= 0) continue;
      if (connection.activeStreams > 0 || nowMs - connection.idleSinceMs < limitMs) continue;
      stats.idleTimeout.add(1);
      connection.retire();
    }
  }

  destroy(): void {
    this.#isRetired = true;
    for (const socket of this.#connecting.keys()) socket.destroy();
    for (const connection of [...this.#connections]) connection.destroy();
  }

  #connectIfNeeded(): void {
    const { cluster } = this.#pool;
    const { config } = cluster;
    const perConnection = Math.min(config.http2.maxConcurrentStreams, 100);
    while (this.#connecting.size * perConnection < this.#waiting.length) {
      const next = this.#waiting[0];
      if (next === undefined) return;
      const circuit = cluster.circuitOf(next.stream);
      if (!cluster.canConnect(this.connectionCount, circuit)) return;
      if (!this.#open(circuit)) return;
    }
  }

  #open(circuit: Circuit): boolean {
    const { cluster, context, endpoint } = this.#pool;
    const { stats, config } = cluster;
    const tls = config.tlsFor(endpoint);
    const buffer = takeReadBuffer();
    let receive: (length: number) => void = () => {};
    let socket: Socket;
    try {
      const onread = readInto(buffer, (length) => receive(length));
      socket = openUpstreamSocket(this.#pool, tls, this.#offer(tls), onread, () => {
        cancelTimeout();
        socket.off("close", onClose);
        this.#connecting.delete(socket);
        receive = this.#connected(socket, tls, buffer, circuit);
      });
    } catch (error) {
      releaseReadBuffer(buffer);
      const message = messageOf(error);
      // Later, because the caller has not been told yet that it waits.
      queueMicrotask(() => this.#failWaiting("remote connection failure", message));
      return false;
    }
    let isTimeout = false;
    let failure = "";
    const cancelTimeout = context.clock.schedule(config.connectTimeoutMs, () => {
      isTimeout = true;
      socket.destroy();
    });
    const onClose = (): void => {
      cancelTimeout();
      releaseReadBuffer(buffer);
      this.#connecting.delete(socket);
      this.#countClosed(circuit);
      stats.connectFail.add(1);
      if (isTimeout) stats.connectTimeout.add(1);
      this.#failWaiting(isTimeout ? "connection timeout" : "remote connection failure", failure);
    };
    socket.on("error", (error) => {
      failure = connectFailure(error, false);
    });
    socket.on("close", onClose);
    this.#connecting.set(socket, tls);
    cluster.connectionOpened(circuit);
    return true;
  }

  #offer(tls: TlsConfig | undefined): readonly string[] {
    if (tls === undefined) return [];
    const { protocol } = this.#pool.cluster.config;
    // Between sidecars: what the cluster offers, and HTTP/2 besides.
    if (protocol === "http1") return [...tls.alpnProtocols, "h2"];
    if (protocol === "auto")
      return tls.alpnProtocols.length > 0 ? tls.alpnProtocols : ["h2", "http/1.1"];
    const spoken = tls.alpnProtocols.filter((name) => !name.startsWith("http/1"));
    return spoken.length > 0 ? spoken : ["h2"];
  }

  #connected(
    socket: Socket,
    tls: TlsConfig | undefined,
    buffer: Buffer,
    circuit: Circuit,
  ): (length: number) => void {
    const { protocol } = this.#pool.cluster.config;
    const isAuto = protocol === "auto" || protocol === "http1";
    const negotiated = socket instanceof TLSSocket ? socket.alpnProtocol : undefined;
    if (isAuto && !isHttp2Protocol(negotiated)) {
      socket.destroy();
      releaseReadBuffer(buffer);
      this.#countClosed(circuit);
      this.#fallBack();
      return () => {};
    }
    const connection = new Http2ClientConnection({
      pool: this.#pool,
      tls,
      socket,
      buffer,
      onCapacity: (free) => this.#serve(free),
      onGone: (gone) => {
        this.#connections.delete(gone);
        this.#countClosed(circuit);
        if (this.#waiting.length > 0) this.#connectIfNeeded();
      },
    });
    this.#connections.add(connection);
    this.#pool.cluster.stats.http2Total.add(1);
    this.#serve(connection);
    if (this.#isRetired) connection.retire();
    return (length) => connection.receive(length);
  }

  /** The host does not speak HTTP/2: those that wait go the other way, and later ones too. */
  #fallBack(): void {
    const waiting = this.#takeWaiting();
    this.#pool.useHttp1();
    for (const { stream, method } of waiting) {
      if (!this.#pool.acquire(stream, method)) stream.onReset("overflow", "");
    }
  }

  /** The longest waiting requests take what the connection has room for. */
  #serve(connection: Http2ClientConnection): void {
    while (connection.hasCapacity) {
      const waiting = this.#waiting.shift();
      if (waiting === undefined) return;
      this.#pool.cluster.dequeue(waiting.stream);
      if (this.#pool.cluster.canAttach(waiting.stream)) {
        connection.attach(waiting.stream, waiting.method);
      } else waiting.stream.onReset("overflow", "");
    }
    if (this.#waiting.length > 0 && !connection.isUsable) this.#connectIfNeeded();
  }

  #failWaiting(reason: "connection timeout" | "remote connection failure", why: string): void {
    const waiting = this.#takeWaiting();
    for (const { stream } of waiting) stream.onReset(reason, why);
  }

  #takeWaiting(): readonly Waiting[] {
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const { stream } of waiting) this.#pool.cluster.dequeue(stream);
    return waiting;
  }

  #countClosed(circuit: Circuit): void {
    this.#pool.cluster.connectionClosed(circuit);
  }
}
