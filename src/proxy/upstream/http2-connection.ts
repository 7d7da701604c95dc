import type { OnReadOpts, Socket } from "node:net";
import type { TlsConfig } from "../config/runtime-config.ts";
import type { HeadLimits, ResponseHead } from "../core/http1/head-parser.ts";
import type { HeaderBlock } from "../core/http1/header-block.ts";
import { ConnectionError, ERROR, PREFACE, SETTING } from "../core/http2/frame.ts";
import { HeadBuilder, isProblem } from "../core/http2/message-head.ts";
import type { UpstreamReset } from "../core/rescue.ts";
import { Http2Connection } from "../http2/connection.ts";
import { Http2Stream } from "../http2/stream.ts";
import type { Tunnel, UpstreamRequest, UpstreamRequestHead, UpstreamStream } from "../streams.ts";
import type { HostPool } from "./host-pool.ts";
import { releaseReadBuffer } from "./upstream-socket.ts";

const RESPONSE_LIMITS: HeadLimits = { maxHeadBytes: 61_440, maxHeaders: 200 };
/** RFC 9113 §5.1.1: a client that has used up its stream identifiers needs a new connection. */
const LAST_STREAM_ID = 2_147_483_645;

/** One request on an HTTP/2 connection to an upstream. */
class ClientStream extends Http2Stream implements UpstreamRequest {
  readonly protocol = "HTTP/2";
  readonly #connection: Http2ClientConnection;
  #stream: UpstreamStream | undefined;
  readonly #isHead: boolean;
  #hasHead = false;
  #tunnel: Tunnel | undefined;

  constructor(
    connection: Http2ClientConnection,
    id: number,
    stream: UpstreamStream,
    method: string,
  ) {
    super(connection, id);
    this.#connection = connection;
    this.#stream = stream;
    this.#isHead = method === "HEAD";
  }

  get tls(): TlsConfig | undefined {
    return this.#connection.tls;
  }

  get localAddress(): string {
    return this.#connection.localAddress;
  }

  writeHead(request: UpstreamRequestHead): void {
    if (this.isLocalEnded) return;
    this.#tunnel = request.tunnel;
    const endStream = request.body === "none" && request.tunnel === undefined;
    this.#connection.writeRequest(this.id, request, endStream);
    if (endStream) this.isLocalEnded = true;
  }

  /** The request of a tunnel is over with its head; the stream goes on. */
  override writeEnd(trailers: HeaderBlock | undefined): void {
    if (this.#tunnel === undefined) super.writeEnd(trailers);
  }

  endTunnel(): void {
    super.writeEnd(undefined);
  }

  pause(): void {
    this.pauseReading();
  }

  resume(): void {
    this.resumeReading();
  }

  discard(): void {
    this.abandon();
  }

  abandon(): void {
    this.#stream = undefined;
    this.#connection.resetStream(this, ERROR.cancel);
  }

  /** The fields of a header block: the response's head, an interim one, or trailers. */
  onFields(builder: HeadBuilder, endStream: boolean): void {
    if (this.#hasHead) {
      const trailers = builder.trailers();
      if (isProblem(trailers) || !endStream) this.#refuse("malformed trailers");
      else this.#connection.ended(this, trailers);
      return;
    }
    const head = builder.response(endStream);
    if (isProblem(head)) {
      this.#refuse(head.details);
      return;
    }
    if (head.status < 200) return;
    this.#hasHead = true;
    this.#onHead(head, builder.contentLength, endStream);
  }

  #onHead(head: ResponseHead, contentLength: number | undefined, endStream: boolean): void {
    const isBodiless = this.#isHead || head.status === 304 || head.status === 204;
    if (!isBodiless) this.remainingContentBytes = contentLength;
    this.#stream?.onResponseHead(this.#asUpgraded(head));
    if (endStream) this.#connection.ended(this, undefined);
    else this.#connection.touch(this);
  }

  /** RFC 8441 §5: what HTTP/2 answers with 200 is HTTP/1.1's 101. */
  #asUpgraded(head: ResponseHead): ResponseHead {
    if (this.#tunnel?.kind !== "upgrade" || head.status !== 200) return head;
    return { ...head, status: 101, reason: " Switching Protocols", upgrade: this.#tunnel.protocol };
  }

  /** The upstream broke the rules of messages (RFC 9113 §8.1.1). */
  #refuse(details: string): void {
    this.#connection.resetStream(this, ERROR.protocolError);
    this.#lose("protocol error", details);
  }

  override onBody(bytes: Buffer, start: number, end: number): void {
    if (!this.#hasHead) {
      this.#refuse("DATA before the response's head");
      return;
    }
    this.#stream?.onResponseData(bytes, start, end);
  }

  override onRemoteEnd(trailers: HeaderBlock | undefined): void {
    const stream = this.#stream;
    if (!this.#hasHead) {
      this.#refuse("stream ended without a response");
      return;
    }
    this.#stream = undefined;
    // The rest of the request interests nobody any more.
    if (!this.isLocalEnded) this.#connection.resetStream(this, ERROR.noError);
    stream?.onResponseEnd(trailers);
  }

  override onReadEnd(): void {
    this.#stream?.onResponseFlush();
  }

  protected override onDrain(): void {
    this.#stream?.onUpstreamDrain();
  }

  override onReset(code: number, byPeer: boolean): void {
    if (!byPeer) this.#lose("protocol error", "");
    else if (code === ERROR.refusedStream) this.#lose("remote refused stream reset", "");
    else this.#lose("remote reset", "");
  }

  override onConnectionLost(reason: string): void {
    this.#lose("connection termination", reason);
  }

  /** The upstream said that it never took this request (GOAWAY). */
  refused(): void {
    this.stopSending();
    this.#lose("remote refused stream reset", "");
  }

  #lose(reason: UpstreamReset["reason"], transportFailure: string): void {
    const stream = this.#stream;
    this.#stream = undefined;
    stream?.onReset(reason, transportFailure);
  }
}

/** One HTTP/2 connection to an upstream host; it carries many requests at once. */
export class Http2ClientConnection extends Http2Connection {
  readonly pool: HostPool;
  readonly tls: TlsConfig | undefined;
  readonly localAddress: string;
  readonly #onCapacity: (connection: Http2ClientConnection) => void;
  readonly #onGone: (connection: Http2ClientConnection) => void;
  readonly #buffer: Buffer;
  #nextId = 1;
  #isRetired = false;
  readonly connectedAtMs: number = performance.now();
  /** `performance.now()` when its last stream ended. */
  idleSinceMs: number = performance.now();

  /** `socket` is connected and reads into `buffer` through `readers`. */
  constructor(options: {
    readonly pool: HostPool;
    readonly tls: TlsConfig | undefined;
    readonly socket: Socket;
    readonly buffer: Buffer;
    readonly onCapacity: (connection: Http2ClientConnection) => void;
    readonly onGone: (connection: Http2ClientConnection) => void;
  }) {
    const { pool, socket } = options;
    const { http2 } = pool.cluster.config;
    super(socket, http2, RESPONSE_LIMITS);
    this.pool = pool;
    this.tls = options.tls;
    this.#buffer = options.buffer;
    this.#onCapacity = options.onCapacity;
    this.#onGone = options.onGone;
    this.localAddress = `${socket.localAddress ?? ""}:${socket.localPort ?? 0}`;
    this.output.bytes(PREFACE, 0, PREFACE.length);
    this.start([
      [SETTING.enablePush, 0],
      [SETTING.initialWindowSize, http2.initialStreamWindowBytes],
      [SETTING.maxHeaderListSize, RESPONSE_LIMITS.maxHeadBytes],
    ]);
    socket.on("end", () => socket.destroy());
  }

  /** Another request may be sent now. */
  get hasCapacity(): boolean {
    return this.isUsable && this.streams.size < this.#limit;
  }

  get isUsable(): boolean {
    return !this.isOver && !this.isGoingAway && !this.#isRetired && this.#nextId < LAST_STREAM_ID;
  }

  get activeStreams(): number {
    return this.streams.size;
  }

  get #limit(): number {
    const { maxConcurrentStreams } = this.pool.cluster.config.http2;
    return Math.min(this.peerMaxConcurrentStreams, maxConcurrentStreams);
  }

  /** Reads what came into the connection's buffer. */
  receive(length: number): void {
    this.read(this.#buffer, 0, length);
  }

  /** Gives a request a stream. */
  attach(stream: UpstreamStream, method: string): void {
    const id = this.#nextId;
    this.#nextId += 2;
    const limit = this.pool.cluster.config.maxRequestsPerConnection;
    if (limit > 0 && (id + 1) / 2 >= limit) {
      this.isGoingAway = true;
      this.pool.cluster.stats.maxRequestsReached.add(1);
    }
    const request = new ClientStream(this, id, stream, method);
    this.addStream(request);
    stream.onConnection(request);
  }

  writeRequest(streamId: number, request: UpstreamRequestHead, endStream: boolean): void {
    const { method, target, scheme, headers, tunnel } = request;
    const protocol = tunnel?.kind === "upgrade" ? tunnel.protocol : undefined;
    this.writeHeaders(streamId, endStream, (encoder, output) => {
      encoder.field(output, ":method", protocol === undefined ? method : "CONNECT");
      encoder.field(output, ":authority", headers.first("host") ?? "");
      if (protocol !== undefined) encoder.field(output, ":protocol", protocol);
      if (method !== "CONNECT") {
        encoder.field(output, ":scheme", scheme);
        encoder.field(output, ":path", target);
      }
      headers.forEach((name, value) => {
        if (name !== "host") encoder.field(output, name, value);
      });
    });
  }

  /** A response has ended with a header block. */
  ended(stream: Http2Stream, trailers: HeaderBlock | undefined): void {
    this.remoteEnded(stream, trailers);
  }

  /** No further requests; closes when the last response has ended. */
  retire(): void {
    this.#isRetired = true;
    if (this.streams.size === 0) this.close(ERROR.noError);
  }

  destroy(): void {
    this.socket.destroy();
  }

  protected override onHeaderBlock(
    streamId: number,
    endStream: boolean,
    bytes: Buffer,
    start: number,
    end: number,
  ): void {
    const builder = new HeadBuilder(RESPONSE_LIMITS);
    this.decodeBlock(bytes, start, end, builder.add);
    const stream = this.streams.get(streamId);
    if (stream instanceof ClientStream) {
      if (stream.isRemoteEnded) {
        this.resetStream(stream, ERROR.streamClosed);
        stream.onReset(ERROR.streamClosed, false);
        return;
      }
      stream.onFields(builder, endStream);
      return;
    }
    if (this.isIdleStream(streamId)) {
      throw new ConnectionError(ERROR.protocolError, "HEADERS on an idle stream");
    }
    this.onStrayHeaders(streamId);
  }

  protected override isIdleStream(streamId: number): boolean {
    return streamId % 2 === 0 || streamId >= this.#nextId;
  }

  protected override onGoaway(lastStreamId: number): void {
    this.isGoingAway = true;
    for (const stream of [...this.streams.values()]) {
      if (stream.id <= lastStreamId || !(stream instanceof ClientStream)) continue;
      this.forget(stream);
      stream.refused();
    }
    if (this.streams.size === 0) this.close(ERROR.noError);
    this.#onCapacity(this);
  }

  protected override onSettings(): void {
    if (this.hasCapacity) this.#onCapacity(this);
  }

  protected override onPingAck(): void {}

  protected override onStreamClosed(): void {
    if (this.streams.size === 0) {
      this.idleSinceMs = performance.now();
      if (this.#isRetired || this.isGoingAway) {
        this.close(ERROR.noError);
        return;
      }
    }
    if (this.hasCapacity) this.#onCapacity(this);
  }

  protected override onViolation(): void {
    this.pool.cluster.stats.protocolError.add(1);
  }

  protected override onClosed(): void {
    releaseReadBuffer(this.#buffer);
    this.#onGone(this);
  }
}

/** Options for a socket that hands its bytes to whatever `receive` is at the time. */
export function readInto(buffer: Buffer, receive: (length: number) => void): OnReadOpts {
  return {
    buffer,
    callback: (length) => {
      receive(length);
      return true;
    },
  };
}
