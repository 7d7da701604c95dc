import type { Socket } from "node:net";
import type { HttpConnectionManagerConfig } from "../config/runtime-config.ts";
import type { ProxyContext } from "../context.ts";
import { encodeChunkSize, encodeLastChunk } from "../core/http1/encode.ts";
import type { RequestHead } from "../core/http1/head-parser.ts";
import type { HeaderBlock } from "../core/http1/header-block.ts";
import { type MessageSink, RequestDecoder } from "../core/http1/message-decoder.ts";
import type { ProtocolError } from "../core/http1/protocol-error.ts";
import { rescue } from "../core/rescue.ts";
import {
  type ConnectionInfo,
  clientCertElement,
  formatAddress,
  localAddressOf,
} from "../net/connection-info.ts";
import { flushLater, type LateFlush } from "../net/late-flush.ts";
import type { Destination } from "../net/original-destination.ts";
import { isReadBuffer, readFrom, TLS_RECORD_BYTES } from "../net/read-buffer.ts";
import { handleRequest } from "../pipeline.ts";
import type { BodyKind, DownstreamConnection, DownstreamStream } from "../streams.ts";
import type { TlsSession } from "../tls/certificate-facts.ts";
import type { PeerIdentity } from "../tls/secure-contexts.ts";
import { Exchange } from "../upstream/exchange.ts";
import { type ConnectionManagerStats, connectionManagerStats } from "./connection-manager-stats.ts";
import { dateHeader } from "./date-header.ts";
import { localReplyHead } from "./local-reply.ts";
import { Output } from "./output.ts";
import { endsKeepalive, scaledIdle } from "./overload.ts";
import { recordRefusal } from "./refusal.ts";

/** After an answer that overtook its request, this much more of the request is read and dropped. */
const MAX_LINGERING_BYTES = 262_144;
const LINGER_MS = 5_000;

/** One HTTP/1.1 connection from a client: requests one after another, answers in their order. */
export class ServerConnection
  implements MessageSink<RequestHead>, DownstreamConnection, DownstreamStream, LateFlush
{
  readonly context: ProxyContext;
  readonly manager: HttpConnectionManagerConfig;
  readonly socket: Socket;
  readonly localAddress: string;
  readonly remoteAddress: string;
  readonly remoteIp: string;
  readonly #info: ConnectionInfo;
  readonly #decoder: RequestDecoder;
  readonly #output: Output;
  readonly #onClosed: (connection: ServerConnection) => void;
  #exchange: Exchange | undefined;
  /** Bytes behind the current request: the next ones of a pipeline. */
  #unread: Buffer | undefined;
  #isConsuming = false;
  readonly #stats: ConnectionManagerStats;
  #isPaused = false;
  isFlushDue = false;
  #isDraining = false;
  /** No request after the current one. */
  #mustClose = false;
  /** The current request asks for a tunnel: nothing behind it is a request. */
  #awaitsTunnel = false;
  /** No HTTP any more: bytes to and from the upstream. */
  #isTunnel = false;
  #isChunkedResponse = false;
  #lingeringBytes = 0;
  #isLingering = false;
  #clientCertElement: string | undefined;
  /** `performance.now()` of the last request's end, or of the connection's start. */
  #idleSinceMs: number;
  #headSinceMs: number | undefined;
  #lastProgressMs: number;

  constructor(
    context: ProxyContext,
    manager: HttpConnectionManagerConfig,
    socket: Socket,
    info: ConnectionInfo,
    onClosed: (connection: ServerConnection) => void,
  ) {
    this.context = context;
    this.manager = manager;
    this.socket = socket;
    this.#info = info;
    this.#onClosed = onClosed;
    this.localAddress = localAddressOf(socket, info);
    this.remoteIp = socket.remoteAddress ?? "";
    this.remoteAddress = formatAddress(socket.remoteAddress, socket.remotePort);
    this.#decoder = new RequestDecoder({
      maxHeadBytes: manager.maxRequestHeadersBytes,
      maxHeaders: manager.maxHeadersCount,
      http10: manager.http10,
    });
    this.#output = new Output(socket);
    this.#idleSinceMs = performance.now();
    this.#lastProgressMs = this.#idleSinceMs;
    this.#stats = connectionManagerStats(context.telemetry, manager);
    this.#stats.connectionsTotal.add(1);
    this.#stats.connectionsActive.add(1);
    socket.setNoDelay(true);
    readFrom(socket, (bytes) => this.receive(bytes));
    socket.on("drain", () => {
      this.#output.isBlocked = false;
      this.#lastProgressMs = performance.now();
      if (this.#exchange === undefined) this.#readNext();
      else this.#exchange.onDownstreamDrain();
    });
    // As Envoy: a client that shuts down its side is gone; nobody waits for its answer.
    socket.on("end", () => socket.destroy());
    // The close that follows says all there is to know.
    socket.on("error", () => socket.destroy());
    socket.on("close", () => this.#closed());
  }

  get protocol(): "HTTP/1.0" | "HTTP/1.1" {
    return this.#exchange?.head.isHttp10 === true ? "HTTP/1.0" : "HTTP/1.1";
  }

  get isTls(): boolean {
    return this.#info.isTls;
  }

  get identity(): PeerIdentity | undefined {
    return this.#info.identity;
  }

  get originalDestination(): Destination | undefined {
    return this.#info.destination;
  }

  get tlsSession(): TlsSession | undefined {
    return this.#info.tlsSession;
  }

  get requestedServerName(): string {
    return this.#info.requestedServerName;
  }

  get isBlocked(): boolean {
    return this.#output.isBlocked;
  }

  get clientCertElement(): string | undefined {
    this.#clientCertElement ??= clientCertElement(this.#info, this.manager);
    return this.#clientCertElement;
  }

  dateHeader(): string {
    return dateHeader(this.context.clock.nowMs());
  }

  /** Whether the answer to this request is the last on the connection. */
  #willClose(exchange: Exchange): boolean {
    const { head } = exchange;
    const isLast = head.close || this.#awaitsTunnel || this.#isDraining;
    if (isLast || this.context.isDraining) this.#mustClose = true;
    else if (this.context.overload !== undefined && endsKeepalive(this)) this.#mustClose = true;
    return this.#mustClose;
  }

  expectTunnel(): void {
    this.#awaitsTunnel = true;
  }

  sendContinue(): void {
    this.#stats.byClass[1]?.add(1);
    this.#output.text("HTTP/1.1 100 Continue\r\n\r\n");
    this.#output.flush();
  }

  writeHead(
    exchange: Exchange,
    status: number,
    reason: string,
    headers: HeaderBlock,
    body: BodyKind,
  ): void {
    const version = this.protocol;
    if (body === "tunnel") {
      this.#startTunnel();
      this.#output.text(`${version} ${status}${reason}\r\n${headers.encode()}\r\n`);
      return;
    }
    // RFC 9112 §6.1: HTTP/1.0 has no chunks; such a body ends with the connection.
    this.#isChunkedResponse = body === "unknown" && version === "HTTP/1.1";
    if (body === "unknown" && !this.#isChunkedResponse) this.#mustClose = true;
    if (this.#isChunkedResponse) headers.add("transfer-encoding", "chunked");
    else if (body === "none" && !isBodilessAnswer(exchange.method, status)) {
      if (!headers.has("content-length")) headers.add("content-length", "0");
    }
    if (this.#willClose(exchange)) headers.add("connection", "close");
    else if (version === "HTTP/1.0") headers.add("connection", "keep-alive");
    this.#output.text(`${version} ${status}${reason}\r\n${headers.encode()}\r\n`);
  }

  writeData(bytes: Buffer, start: number, end: number): void {
    if (start === end) return;
    if (!this.#isChunkedResponse) {
      this.#output.bytes(bytes, start, end);
      return;
    }
    this.#output.text(encodeChunkSize(end - start));
    this.#output.bytes(bytes, start, end);
    this.#output.text("\r\n");
  }

  writeEnd(trailers: HeaderBlock | undefined): void {
    if (!this.#isChunkedResponse) return;
    const { http1Trailers } = this.manager;
    this.#output.text(encodeLastChunk(http1Trailers === true ? trailers : undefined));
  }

  flush(): void {
    this.#lastProgressMs = performance.now();
    this.#output.flush();
    const unread = this.#unread;
    if (!this.#isTunnel || unread === undefined) return;
    // What the client sent before it knew that the tunnel is there.
    this.#unread = undefined;
    this.resumeReading();
    this.receive(unread);
  }

  #startTunnel(): void {
    this.#isTunnel = true;
    this.#isChunkedResponse = false;
    this.#mustClose = true;
    this.#stats.upgradesTotal.add(1);
    this.#stats.upgradesActive.add(1);
  }

  pauseReading(): void {
    if (this.#isPaused) return;
    this.#isPaused = true;
    this.socket.pause();
  }

  resumeReading(): void {
    if (!this.#isPaused || this.#unread !== undefined) return;
    this.#isPaused = false;
    this.socket.resume();
  }

  /** Ends the connection inside a response: what was written goes out, then nothing more. */
  breakOff(): void {
    this.#mustClose = true;
    this.socket.destroySoon();
  }

  /** The exchange is over: the next request, or the end. */
  exchangeFinished(exchange: Exchange): void {
    this.#stats.requestsActive.add(-1);
    this.#stats.byClass[Math.floor(exchange.responseCode / 100)]?.add(1);
    if (exchange !== this.#exchange) return;
    this.#idleSinceMs = performance.now();
    if (this.socket.destroyed) {
      this.#exchange = undefined;
      return;
    }
    if (!exchange.isRequestComplete) {
      this.#linger();
      return;
    }
    this.#exchange = undefined;
    if (this.#mustClose) {
      this.#close();
      return;
    }
    this.#readNext();
  }

  /** Answers from now on say `Connection: close`; an idle connection may close at once. */
  drain(closeIdle: boolean): void {
    this.#isDraining = true;
    if (closeIdle && this.#exchange === undefined && this.#decoder.isIdle) this.socket.end();
  }

  /** Enforces the timeouts that need no precision; called about once a second. */
  checkIdle(nowMs: number): void {
    const { requestHeadersTimeoutMs } = this.manager;
    const idleTimeoutMs = scaledIdle(this, "connectionIdle", this.manager.idleTimeoutMs);
    if (this.#isLingering) {
      if (nowMs - this.#idleSinceMs > LINGER_MS) this.socket.destroy();
      return;
    }
    if (this.#exchange !== undefined) {
      const streamIdleTimeoutMs = scaledIdle(this, "streamIdle", this.#exchange.idleTimeoutMs);
      if (streamIdleTimeoutMs > 0 && nowMs - this.#lastProgressMs > streamIdleTimeoutMs) {
        this.#expireStream(this.#exchange);
      }
      return;
    }
    if (this.#decoder.isIdle) {
      this.#headSinceMs = undefined;
      if (idleTimeoutMs > 0 && nowMs - this.#idleSinceMs > idleTimeoutMs) this.socket.end();
      return;
    }
    this.#headSinceMs ??= nowMs;
    if (requestHeadersTimeoutMs > 0 && nowMs - this.#headSinceMs > requestHeadersTimeoutMs) {
      this.#refuse(rescue({ kind: "requestTimeout" }));
    }
  }

  #expireStream(exchange: Exchange): void {
    this.#mustClose = true;
    if (exchange.responseCode === 0) {
      exchange.fail({ kind: "idleTimeout", isRequestComplete: exchange.isRequestComplete });
    } else this.socket.destroy();
  }

  onHead(head: RequestHead): void {
    const exchange = new Exchange(this, this, head);
    this.#stats.requestsTotal.add(1);
    this.#stats.requestsActive.add(1);
    this.#exchange = exchange;
    this.#lastProgressMs = exchange.startTimeMs;
    handleRequest(exchange);
  }

  onData(bytes: Buffer, start: number, end: number): void {
    if (this.#isLingering) {
      this.#lingeringBytes += end - start;
      if (this.#lingeringBytes > MAX_LINGERING_BYTES) this.socket.destroySoon();
      return;
    }
    this.#exchange?.onRequestData(bytes, start, end);
  }

  onEnd(trailers: HeaderBlock | undefined): void {
    const exchange = this.#exchange;
    if (exchange === undefined) return;
    exchange.onRequestEnd(this.manager.http1Trailers === true ? trailers : undefined);
    if (!exchange.isFinished) return;
    // It was answered before its end.
    this.#isLingering = false;
    this.#exchange = undefined;
    if (this.#mustClose) this.#close();
    else if (!this.#isConsuming) this.#readNext();
  }

  onProtocolError(error: ProtocolError): void {
    this.#stats.protocolError.add(1);
    this.#mustClose = true;
    const exchange = this.#exchange;
    if (exchange === undefined) {
      this.#refuse(rescue({ kind: "badRequest", status: error.status, details: error.details }));
      return;
    }
    // Inside a body: what follows cannot be understood any more.
    if (exchange.isFinished || exchange.responseCode !== 0) {
      this.socket.destroySoon();
      return;
    }
    exchange.fail({ kind: "badRequest", status: error.status, details: error.details });
    this.#close();
  }

  /** Takes what the client sent. */
  receive(bytes: Buffer): void {
    if (this.#unread !== undefined) {
      // Read before the pause took effect.
      this.#unread = Buffer.concat([this.#unread, bytes]);
      return;
    }
    this.#lastProgressMs = performance.now();
    if (this.#isTunnel) {
      this.#exchange?.onRequestData(bytes, 0, bytes.length);
      this.#exchange?.flushRequest();
      return;
    }
    this.#consume(bytes);
  }

  /** What came of the request goes on to the upstream. */
  flushNow(): void {
    this.#exchange?.flushRequest();
  }

  /** Decodes until the bytes end or a request waits for its turn. */
  #consume(bytes: Buffer): void {
    this.#isConsuming = true;
    let offset = 0;
    for (;;) {
      offset = this.#decoder.decode(bytes, offset, bytes.length, this);
      if (!this.#canTakeNext()) break;
      // Answered within the call: go on in this loop, however long the pipeline is.
      this.#decoder.next();
      if (offset === bytes.length) break;
    }
    this.#isConsuming = false;
    if (this.isTls && bytes.length === TLS_RECORD_BYTES && !this.#decoder.isDone) flushLater(this);
    else this.#exchange?.flushRequest();
    if (offset < bytes.length && !this.#decoder.hasFailed && !this.#mustClose) {
      const rest = bytes.subarray(offset);
      this.#unread = isReadBuffer(bytes) ? Buffer.from(rest) : rest;
      this.pauseReading();
    }
  }

  /** The current request is over, and the client has taken its answer or soon will. */
  #canTakeNext(): boolean {
    return (
      this.#decoder.isDone &&
      this.#exchange === undefined &&
      !this.#mustClose &&
      !this.#output.isBlocked
    );
  }

  #readNext(): void {
    // A client that does not read its answers gets no further ones: `drain` comes back here.
    if (this.#isConsuming || !this.#canTakeNext()) return;
    this.#decoder.next();
    const unread = this.#unread;
    this.#unread = undefined;
    this.resumeReading();
    if (unread !== undefined) this.#consume(unread);
  }

  /** Reads on a little after an early answer, so that the client sees the answer and not a reset. */
  #linger(): void {
    this.#isLingering = true;
    this.#lingeringBytes = 0;
    this.resumeReading();
  }

  /** An answer to bytes that are no request. */
  #refuse(answer: ReturnType<typeof rescue>): void {
    const body = Buffer.from(answer.body);
    const { reason, headers } = localReplyHead({
      status: answer.status,
      bodyBytes: body.length,
      server: this.manager.serverName,
      date: this.dateHeader(),
      extra: [],
    });
    headers.add("connection", "close");
    this.#output.text(`HTTP/1.1 ${answer.status}${reason}\r\n${headers.encode()}\r\n`);
    this.#output.bytes(body, 0, body.length);
    this.#output.flush();
    this.#stats.requestsTotal.add(1);
    this.#stats.byClass[Math.floor(answer.status / 100)]?.add(1);
    recordRefusal(this, this.protocol, answer, body.length);
    this.#close();
  }

  /** Says goodbye after what was written; the client has a moment to read it. */
  #close(): void {
    this.#mustClose = true;
    this.#isLingering = true;
    this.#idleSinceMs = performance.now();
    this.socket.end();
  }

  #closed(): void {
    this.#stats.connectionsActive.add(-1);
    if (this.#isTunnel) this.#stats.upgradesActive.add(-1);
    this.#exchange?.onDownstreamClosed("downstream_remote_disconnect");
    this.#exchange = undefined;
    this.#unread = undefined;
    this.#onClosed(this);
  }
}

/** Answers that end with their head whatever their fields say (RFC 9112 §6.3). */
function isBodilessAnswer(method: string, status: number): boolean {
  return method === "HEAD" || status === 204 || status === 304;
}
