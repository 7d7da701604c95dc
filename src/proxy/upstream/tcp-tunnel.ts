import type { Socket } from "node:net";
import { messageOf } from "../../base/index.ts";
import type { TlsConfig } from "../config/runtime-config.ts";
import { HeaderBlock } from "../core/http1/header-block.ts";
import { formatAddress } from "../net/connection-info.ts";
import { ReadBuffer } from "../net/read-buffer.ts";
import type { UpstreamRequest, UpstreamStream } from "../streams.ts";
import type { HostPool } from "./host-pool.ts";
import { openUpstreamSocket } from "./upstream-socket.ts";

/**
 * Opens a raw connection to a host for a CONNECT that this proxy ends (connect_config): once it is
 * there the stream gets a response 200, then what the host sends. False when the circuit breaker
 * refuses.
 */
export function openTcpTunnel(host: HostPool, stream: UpstreamStream): boolean {
  const { circuit, stats } = host.cluster;
  if (!circuit.connections.canTake) {
    stats.connectionOverflow.add(1);
    return false;
  }
  const tunnel = new TcpTunnel(host, stream);
  // Later, because the caller has not been told yet that it is accepted.
  queueMicrotask(() => tunnel.begin());
  return true;
}

class TcpTunnel implements UpstreamRequest {
  readonly protocol = "HTTP/1.1";
  readonly tls: TlsConfig | undefined;
  readonly #host: HostPool;
  readonly #socket: Socket;
  readonly #buffer: ReadBuffer;
  readonly #cancelConnectTimeout: () => void;
  #stream: UpstreamStream | undefined;
  #isConnected = false;
  #isTimeout = false;
  #failure = "";

  constructor(host: HostPool, stream: UpstreamStream) {
    const { cluster } = host;
    this.#host = host;
    this.#stream = stream;
    this.tls = cluster.config.tlsFor(host.endpoint);
    cluster.connectionOpened(cluster.circuit);
    this.#buffer = new ReadBuffer(this.tls !== undefined);
    const onread = this.#buffer.onread((bytes, length) => {
      this.#stream?.onResponseData(bytes, 0, length);
      this.#stream?.onResponseFlush();
    });
    this.#socket = openUpstreamSocket(host, this.tls, [], onread, () => this.#onConnected());
    this.#socket.setNoDelay(true);
    this.#socket.on("drain", () => this.#stream?.onUpstreamDrain());
    this.#socket.on("error", (error) => {
      this.#failure = messageOf(error);
    });
    this.#socket.on("end", () => this.#onEnd());
    this.#socket.on("close", () => this.#onClose());
    this.#cancelConnectTimeout = host.context.clock.schedule(
      cluster.config.connectTimeoutMs,
      () => {
        this.#isTimeout = true;
        this.#socket.destroy();
      },
    );
  }

  begin(): void {
    this.#stream?.onConnection(this);
  }

  get localAddress(): string {
    return formatAddress(this.#socket.localAddress, this.#socket.localPort);
  }

  get isBlocked(): boolean {
    return this.#socket.writableNeedDrain;
  }

  // The request's head and its end belong to this hop; the host gets the tunnel's bytes only.
  writeHead(): void {}
  writeEnd(): void {}

  endTunnel(): void {
    this.#socket.end();
  }

  writeData(bytes: Buffer, start: number, end: number): void {
    // A copy: `bytes` is valid during the call only.
    this.#socket.write(Buffer.from(bytes.subarray(start, end)));
  }

  flush(): void {}

  pause(): void {
    this.#socket.pause();
  }

  resume(): void {
    this.#socket.resume();
  }

  discard(): void {
    this.abandon();
  }

  abandon(): void {
    this.#stream = undefined;
    // What the client sent before it left is still delivered.
    if (this.#isConnected) this.#socket.destroySoon();
    else this.#socket.destroy();
  }

  #onConnected(): void {
    this.#isConnected = true;
    this.#cancelConnectTimeout();
    this.#stream?.onResponseHead({
      status: 200,
      reason: " OK",
      headers: new HeaderBlock(),
      framing: { kind: "untilClose" },
      close: true,
      keepAliveSeconds: undefined,
    });
    this.#stream?.onResponseFlush();
  }

  #onEnd(): void {
    const stream = this.#stream;
    this.#stream = undefined;
    this.#socket.destroySoon();
    stream?.onResponseEnd(undefined);
  }

  #onClose(): void {
    this.#cancelConnectTimeout();
    this.#buffer.release();
    const { stats } = this.#host.cluster;
    this.#host.cluster.connectionClosed(this.#host.cluster.circuit);
    if (!this.#isConnected) {
      stats.connectFail.add(1);
      if (this.#isTimeout) stats.connectTimeout.add(1);
    }
    const stream = this.#stream;
    this.#stream = undefined;
    if (this.#isConnected) stream?.onReset("connection termination", this.#failure);
    else {
      const reason = this.#isTimeout ? "connection timeout" : "remote connection failure";
      stream?.onReset(reason, this.#failure);
    }
  }
}
