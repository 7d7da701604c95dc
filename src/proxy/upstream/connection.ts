import type { Socket } from "node:net";
import type { TlsConfig } from "../config/runtime-config.ts";
import type { Circuit } from "../core/circuit.ts";
import { encodeChunkSize, encodeLastChunk } from "../core/http1/encode.ts";
import type { ResponseHead } from "../core/http1/head-parser.ts";
import type { HeaderBlock } from "../core/http1/header-block.ts";
import { type MessageSink, ResponseDecoder } from "../core/http1/message-decoder.ts";
import type { ProtocolError } from "../core/http1/protocol-error.ts";
import type { UpstreamReset } from "../core/rescue.ts";
import { Output } from "../http1/output.ts";
import { flushLater, type LateFlush } from "../net/late-flush.ts";
import { ReadBuffer } from "../net/read-buffer.ts";
import type { UpstreamRequest, UpstreamRequestHead, UpstreamStream } from "../streams.ts";
import type { HostPool } from "./host-pool.ts";
import { connectFailure, isHttp2Protocol, openUpstreamSocket } from "./upstream-socket.ts";

const RESPONSE_LIMITS = { maxHeadBytes: 61_440, maxHeaders: 200 };
/** A response nobody wants any more is read to its end up to this size, to save the connection. */
const MAX_DISCARDED_BYTES = 65_536;
/** Node's servers and others close idle connections after what Keep-Alive says: be earlier. */
const KEEP_ALIVE_MARGIN_MS = 1000;

const ENDED = { trailers: undefined };
const BODILESS: ReadonlySet<string> = new Set(["GET", "HEAD", "DELETE", "TRACE", "CONNECT"]);

/** One HTTP/1.1 connection to an upstream host; it serves one request at a time. */
export class UpstreamConnection implements MessageSink<ResponseHead>, UpstreamRequest, LateFlush {
  readonly protocol = "HTTP/1.1";
  readonly pool: HostPool;
  /** The limits it counts against. */
  readonly circuit: Circuit;
  readonly tls: TlsConfig | undefined;
  readonly socket: Socket;
  readonly #output: Output;
  readonly #decoder = new ResponseDecoder(RESPONSE_LIMITS);
  readonly #buffer: ReadBuffer;
  readonly #cancelConnectTimeout: () => void;
  #stream: UpstreamStream | undefined;
  #isConnected = false;
  #localAddress = "";
  #isClosed = false;
  /** The response has ended; set until the read that brought its end is dealt with. */
  #ended: { readonly trailers: HeaderBlock | undefined } | undefined;
  #isPaused = false;
  #isRequestComplete = true;
  #mustClose = false;
  #isDiscarding = false;
  #discardedBytes = 0;
  #isChunkedRequest = false;
  #isTunnel = false;
  #served = 0;
  #transportFailure = "";
  #isConnectTimeout = false;
  isFlushDue = false;
  #isLocalClose = false;
  /** `performance.now()` when it was connected. */
  connectedAtMs = 0;
  /** `performance.now()` when it became idle. */
  idleSinceMs = 0;
  /** How long the upstream keeps it when idle; undefined = it did not say. */
  keepAliveMs: number | undefined;

  constructor(pool: HostPool, tls: TlsConfig | undefined, circuit: Circuit) {
    this.pool = pool;
    this.circuit = circuit;
    this.tls = tls;
    this.#buffer = new ReadBuffer(tls !== undefined);
    const onread = this.#buffer.onread((bytes, length) => this.#onData(bytes, length));
    // HTTP/2 is not spoken here, so it is not offered.
    const protocols = (tls?.alpnProtocols ?? []).filter((name) => !isHttp2Protocol(name));
    this.socket = openUpstreamSocket(pool, tls, protocols, onread, () => this.#onConnected());
    this.#output = new Output(this.socket);
    this.socket.setNoDelay(true);
    this.socket.on("error", (error) => this.#noteFailure(error));
    this.socket.on("end", () => this.#onEnd());
    this.socket.on("close", () => this.#onClose());
    this.socket.on("drain", () => {
      this.#output.isBlocked = false;
      this.#stream?.onUpstreamDrain();
    });
    this.#cancelConnectTimeout = pool.context.clock.schedule(
      pool.cluster.config.connectTimeoutMs,
      () => {
        this.#isConnectTimeout = true;
        this.#isLocalClose = true;
        this.socket.destroy();
      },
    );
  }

  /** `ip:port` of our end; "" before it is connected. */
  get localAddress(): string {
    return this.#localAddress;
  }

  /** May carry another request. */
  get isUsable(): boolean {
    return !this.#isClosed && !this.#mustClose && !this.socket.destroyed && this.socket.writable;
  }

  get isConnected(): boolean {
    return this.#isConnected;
  }

  /** The upstream does not keep up: stop reading the request. */
  get isBlocked(): boolean {
    return this.#output.isBlocked;
  }

  /** Hands the connection to a stream. `method` decides whether the response may have a body. */
  attach(stream: UpstreamStream, method: string): void {
    this.#stream = stream;
    this.#served += 1;
    this.#isRequestComplete = false;
    this.#decoder.expect(method);
    stream.onConnection(this);
  }

  writeHead({ method, target, headers, body, tunnel }: UpstreamRequestHead): void {
    this.#isTunnel = tunnel !== undefined;
    if (tunnel?.kind === "upgrade") {
      this.#decoder.expectTunnel("upgrade");
      headers.set("connection", "Upgrade");
      headers.set("upgrade", tunnel.protocol);
    } else if (tunnel !== undefined) this.#decoder.expectTunnel("connect");
    this.#isChunkedRequest = body === "unknown";
    let framing = "";
    if (this.#isChunkedRequest) framing = "transfer-encoding: chunked\r\n";
    // As Envoy: a request without a body says so, unless its method has none anyhow (RFC 9110 §8.6).
    else if (body === "none" && !BODILESS.has(method) && !headers.has("content-length")) {
      framing = "content-length: 0\r\n";
    }
    this.#output.text(`${method} ${target} HTTP/1.1\r\n${headers.encode()}${framing}\r\n`);
  }

  writeData(bytes: Buffer, start: number, end: number): void {
    if (start === end) return;
    if (!this.#isChunkedRequest) {
      this.#output.owned(bytes, start, end);
      return;
    }
    this.#output.text(encodeChunkSize(end - start));
    this.#output.owned(bytes, start, end);
    this.#output.text("\r\n");
  }

  writeEnd(trailers: HeaderBlock | undefined): void {
    if (this.#isChunkedRequest) {
      const { http1Trailers } = this.pool.cluster.config;
      this.#output.text(encodeLastChunk(http1Trailers === true ? trailers : undefined));
    }
    this.#isRequestComplete = true;
  }

  endTunnel(): void {
    this.#output.flush();
    this.socket.end();
  }

  flush(): void {
    this.#output.flush();
  }

  /** What came of the response goes on to the downstream. */
  flushNow(): void {
    this.#stream?.onResponseFlush();
  }

  /** Stops reading the response while the downstream is behind. */
  pause(): void {
    if (this.#isPaused) return;
    this.#isPaused = true;
    this.socket.pause();
  }

  resume(): void {
    if (!this.#isPaused) return;
    this.#isPaused = false;
    this.socket.resume();
  }

  /** The stream gives up on this response: a short rest is read, a long one costs the connection. */
  discard(): void {
    this.#stream = undefined;
    if (!this.#isRequestComplete) {
      this.destroy();
      return;
    }
    this.#isDiscarding = true;
    this.#discardedBytes = 0;
    this.resume();
  }

  /** The stream is gone and so is the connection. */
  abandon(): void {
    this.#stream = undefined;
    if (!this.#isTunnel) {
      this.destroy();
      return;
    }
    // What the client sent before it left is still delivered.
    this.#mustClose = true;
    this.socket.destroySoon();
  }

  /** No further request after the current one. */
  retire(): void {
    this.#mustClose = true;
    if (this.#stream === undefined && !this.#isDiscarding && this.#isConnected) this.destroy();
  }

  destroy(): void {
    this.#mustClose = true;
    this.#isLocalClose = true;
    this.socket.destroy();
  }

  onHead(head: ResponseHead): void {
    if (head.close) this.#mustClose = true;
    if (head.keepAliveSeconds !== undefined) {
      this.keepAliveMs = Math.max(0, head.keepAliveSeconds * 1000 - KEEP_ALIVE_MARGIN_MS);
    }
    this.#stream?.onResponseHead(head);
  }

  onData(bytes: Buffer, start: number, end: number): void {
    if (this.#stream !== undefined) {
      this.#stream.onResponseData(bytes, start, end);
      return;
    }
    this.#discardedBytes += end - start;
    if (this.#discardedBytes > MAX_DISCARDED_BYTES) this.destroy();
  }

  onEnd(trailers: HeaderBlock | undefined): void {
    const isPassed = trailers !== undefined && this.pool.cluster.config.http1Trailers === true;
    this.#ended = isPassed ? { trailers } : ENDED;
  }

  onProtocolError(error: ProtocolError): void {
    this.#reset("protocol error", error.details);
    this.destroy();
  }

  #onData(bytes: Buffer, length: number): void {
    if (this.#stream === undefined && !this.#isDiscarding) {
      // Bytes that answer no request (RFC 9112 §9.2): the connection is out of step.
      this.destroy();
      return;
    }
    const view = length === bytes.length ? bytes : bytes.subarray(0, length);
    const taken = this.#decoder.decode(view, 0, length, this);
    if (this.#ended === undefined) {
      if (length === bytes.length) flushLater(this);
      else this.#stream?.onResponseFlush();
      return;
    }
    // More than the response to the one request that was sent: nobody knows what it answers.
    if (taken < length) this.#mustClose = true;
    this.#finishResponse();
  }

  #finishResponse(): void {
    const stream = this.#stream;
    const trailers = this.#ended?.trailers;
    this.#ended = undefined;
    this.#stream = undefined;
    this.#isDiscarding = false;
    this.resume();
    const limit = this.pool.cluster.config.maxRequestsPerConnection;
    const isWornOut = limit > 0 && this.#served >= limit;
    if (isWornOut) this.pool.cluster.stats.maxRequestsReached.add(1);
    if (!this.#isRequestComplete || isWornOut) this.#mustClose = true;
    this.#decoder.next();
    // The connection first: the client's next request, already here, may take it.
    stream?.onReleased?.();
    if (this.isUsable) this.pool.release(this);
    else this.destroy();
    stream?.onResponseEnd(trailers);
  }

  #onConnected(): void {
    this.#cancelConnectTimeout();
    this.#isConnected = true;
    this.connectedAtMs = performance.now();
    this.#localAddress = `${this.socket.localAddress ?? ""}:${this.socket.localPort ?? 0}`;
    this.pool.connected(this);
  }

  /** The upstream's FIN: the end of a body without a length, or a broken response. */
  #onEnd(): void {
    this.#mustClose = true;
    if (this.#stream !== undefined) this.#decoder.endOfInput(this);
    if (this.#ended !== undefined) this.#finishResponse();
    this.socket.destroy();
  }

  #noteFailure(error: Error): void {
    if (this.#transportFailure === "")
      this.#transportFailure = connectFailure(error, this.#isConnected);
  }

  #onClose(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#mustClose = true;
    this.#cancelConnectTimeout();
    this.#buffer.release();
    this.pool.cluster.countDestroyed(this.#isLocalClose, this.#stream !== undefined);
    this.pool.closed(this, this.#isConnectTimeout, this.#transportFailure);
    this.#reset("connection termination", this.#transportFailure);
  }

  #reset(reason: UpstreamReset["reason"], transportFailure: string): void {
    const stream = this.#stream;
    this.#stream = undefined;
    stream?.onReset(reason, transportFailure);
  }
}
