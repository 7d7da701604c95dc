import type { Socket } from "node:net";
import type { HttpConnectionManagerConfig } from "../config/runtime-config.ts";
import type { ProxyContext } from "../context.ts";
import type { HeadLimits, RequestHead } from "../core/http1/head-parser.ts";
import type { HeaderBlock } from "../core/http1/header-block.ts";
import { ConnectionError, ERROR, PREFACE, SETTING } from "../core/http2/frame.ts";
import { HeadBuilder, type HeadProblem, isProblem } from "../core/http2/message-head.ts";
import { PrematureResets } from "../core/http2/premature-resets.ts";
import { rescue } from "../core/rescue.ts";
import {
  type ConnectionManagerStats,
  connectionManagerStats,
} from "../http1/connection-manager-stats.ts";
import { dateHeader } from "../http1/date-header.ts";
import { localReplyHead } from "../http1/local-reply.ts";
import { endsKeepalive, scaledIdle } from "../http1/overload.ts";
import { recordRefusal } from "../http1/refusal.ts";
import {
  type ConnectionInfo,
  clientCertElement,
  formatAddress,
  localAddressOf,
} from "../net/connection-info.ts";
import type { Destination } from "../net/original-destination.ts";
import type { DownstreamConnection } from "../streams.ts";
import type { TlsSession } from "../tls/certificate-facts.ts";
import type { PeerIdentity } from "../tls/secure-contexts.ts";
import type { Exchange } from "../upstream/exchange.ts";
import { Http2Connection } from "./connection.ts";
import { ServerStream } from "./server-stream.ts";
import type { Http2Stream } from "./stream.ts";

/** Fields that mean something to one HTTP/1 connection only; a route may add them to a response. */
const CONNECTION_FIELDS: ReadonlySet<string> = new Set([
  "connection",
  "keep-alive",
  "proxy-connection",
  "transfer-encoding",
  "upgrade",
]);
const MAX_STREAM_ID = 2_147_483_647;
/** How long a client may go on opening streams after it was told of the end. */
const DRAIN_NOTICE_MS = 1_000;

/** One HTTP/2 connection from a client. */
export class Http2ServerConnection extends Http2Connection implements DownstreamConnection {
  readonly protocol = "HTTP/2";
  readonly context: ProxyContext;
  readonly manager: HttpConnectionManagerConfig;
  readonly localAddress: string;
  readonly remoteAddress: string;
  readonly remoteIp: string;
  readonly #info: ConnectionInfo;
  readonly #limits: HeadLimits;
  readonly #stats: ConnectionManagerStats;
  readonly #resets = new PrematureResets();
  readonly #onGone: (connection: Http2ServerConnection) => void;
  readonly #dispatched = new Set<ServerStream>();
  #prefaceLeft = PREFACE.length;
  #clientCertElement: string | undefined;
  #idleSinceMs: number;
  #midFrameSinceMs: number | undefined;
  #drainingSinceMs: number | undefined;

  constructor(
    context: ProxyContext,
    manager: HttpConnectionManagerConfig,
    socket: Socket,
    info: ConnectionInfo,
    onGone: (connection: Http2ServerConnection) => void,
  ) {
    const limits = {
      maxHeadBytes: manager.maxRequestHeadersBytes,
      maxHeaders: manager.maxHeadersCount,
    };
    super(socket, manager.http2, limits);
    this.context = context;
    this.manager = manager;
    this.#limits = limits;
    this.#info = info;
    this.#onGone = onGone;
    this.localAddress = localAddressOf(socket, info);
    this.remoteIp = socket.remoteAddress ?? "";
    this.remoteAddress = formatAddress(socket.remoteAddress, socket.remotePort);
    this.#idleSinceMs = performance.now();
    this.#stats = connectionManagerStats(context.telemetry, manager);
    this.#stats.connectionsTotal.add(1);
    this.#stats.connectionsActive.add(1);
    context.telemetry.counter(`http.${manager.statPrefix}.downstream_cx_http2_total`).add(1);
    this.start([
      [SETTING.maxConcurrentStreams, manager.http2.maxConcurrentStreams],
      [SETTING.initialWindowSize, manager.http2.initialStreamWindowBytes],
      [SETTING.maxHeaderListSize, manager.maxRequestHeadersBytes],
      ...(manager.http2.allowsConnect === true
        ? [[SETTING.enableConnectProtocol, 1] as const]
        : []),
    ]);
    socket.on("data", (bytes: Buffer) => this.receive(bytes));
    // As for HTTP/1: a client that shuts down its side is gone.
    socket.on("end", () => socket.destroy());
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

  get clientCertElement(): string | undefined {
    this.#clientCertElement ??= clientCertElement(this.#info, this.manager);
    return this.#clientCertElement;
  }

  dateHeader(): string {
    return dateHeader(this.context.clock.nowMs());
  }

  /** Takes what the client sent. */
  receive(bytes: Buffer): void {
    let start = 0;
    if (this.#prefaceLeft > 0) {
      start = Math.min(bytes.length, this.#prefaceLeft);
      const from = PREFACE.length - this.#prefaceLeft;
      if (bytes.compare(PREFACE, from, from + start, 0, start) !== 0) {
        this.fail(ERROR.protocolError, "invalid connection preface");
        return;
      }
      this.#prefaceLeft -= start;
    }
    this.read(bytes, start, bytes.length);
  }

  /** Writes a response head; interim ones have no headers here. */
  writeResponse(
    streamId: number,
    status: number,
    headers: HeaderBlock | undefined,
    endStream: boolean,
  ): void {
    this.writeHeaders(streamId, endStream, (encoder, output) => {
      encoder.field(output, ":status", String(status));
      headers?.forEach((name, value) => {
        if (!CONNECTION_FIELDS.has(name)) encoder.field(output, name, value);
      });
    });
  }

  exchangeFinished(exchange: Exchange): void {
    if (this.context.overload !== undefined && !this.isGoingAway && endsKeepalive(this)) {
      this.drain(false);
    }
    this.#stats.requestsActive.add(-1);
    this.#stats.byClass[Math.floor(exchange.responseCode / 100)]?.add(1);
  }

  /** No new streams: a notice first, so that none that is on its way is lost (RFC 9113 §6.8). */
  drain(closeIdle: boolean): void {
    if (this.isOver || this.isGoingAway) return;
    this.isGoingAway = true;
    if (closeIdle && this.streams.size === 0) {
      this.close(ERROR.noError);
      return;
    }
    this.#drainingSinceMs = performance.now();
    this.writeGoaway(MAX_STREAM_ID, ERROR.noError);
    this.writePing();
  }

  /** Enforces the timeouts that need no precision; called about once a second. */
  checkIdle(nowMs: number): void {
    const { requestHeadersTimeoutMs } = this.manager;
    const idleTimeoutMs = scaledIdle(this, "connectionIdle", this.manager.idleTimeoutMs);
    if (this.isMidFrame) {
      this.#midFrameSinceMs ??= nowMs;
      const waitedMs = nowMs - this.#midFrameSinceMs;
      if (requestHeadersTimeoutMs > 0 && waitedMs > requestHeadersTimeoutMs) {
        this.fail(ERROR.enhanceYourCalm, "request header timeout");
        return;
      }
    } else {
      this.#midFrameSinceMs = undefined;
    }
    for (const stream of [...this.#dispatched]) stream.checkIdle(nowMs);
    this.#finishDraining(nowMs);
    const isIdle = this.streams.size === 0 && idleTimeoutMs > 0;
    if (isIdle && nowMs - this.#idleSinceMs > idleTimeoutMs) this.close(ERROR.noError);
  }

  #finishDraining(nowMs: number): void {
    if (this.#drainingSinceMs === undefined) return;
    if (nowMs - this.#drainingSinceMs > DRAIN_NOTICE_MS) this.#endDraining();
  }

  /** Every stream that the client opened before it knew has come. */
  #endDraining(): void {
    if (this.#drainingSinceMs === undefined || this.isOver) return;
    this.#drainingSinceMs = undefined;
    if (this.streams.size === 0) this.close(ERROR.noError);
    else this.writeGoaway(this.lastPeerStreamId, ERROR.noError);
  }

  protected override onHeaderBlock(
    streamId: number,
    endStream: boolean,
    bytes: Buffer,
    start: number,
    end: number,
  ): void {
    const builder = new HeadBuilder(this.#limits, this.manager.http2.allowsConnect);
    this.decodeBlock(bytes, start, end, builder.add);
    if (streamId % 2 === 0) throw new ConnectionError(ERROR.protocolError, "even stream id");
    const known = this.streams.get(streamId);
    if (known !== undefined) {
      this.#onTrailers(known, endStream, builder);
      return;
    }
    if (streamId <= this.lastPeerStreamId) {
      this.onStrayHeaders(streamId);
      return;
    }
    this.lastPeerStreamId = streamId;
    if (this.#mustRefuse()) {
      this.refuseStream(streamId, ERROR.refusedStream);
      return;
    }
    const head = builder.request(endStream);
    if (isProblem(head)) this.#refuse(streamId, endStream, head);
    else this.#open(streamId, endStream, head, builder.contentLength);
  }

  #mustRefuse(): boolean {
    const isDrained = this.isGoingAway && this.#drainingSinceMs === undefined;
    return isDrained || this.streams.size >= this.manager.http2.maxConcurrentStreams;
  }

  #open(
    streamId: number,
    endStream: boolean,
    head: RequestHead,
    contentLength: number | undefined,
  ): void {
    if (endStream && contentLength !== undefined && contentLength > 0) {
      this.onViolation();
      this.refuseStream(streamId, ERROR.protocolError);
      return;
    }
    const stream = new ServerStream(this, streamId);
    stream.remainingContentBytes = contentLength;
    stream.isRemoteEnded = endStream;
    this.addStream(stream);
    this.#dispatched.add(stream);
    this.#stats.requestsTotal.add(1);
    this.#stats.requestsActive.add(1);
    stream.begin(head);
    this.touch(stream);
    if (endStream) stream.onRemoteEnd(undefined);
    if (endStream && stream.isLocalEnded) this.forget(stream);
  }

  #onTrailers(stream: Http2Stream, endStream: boolean, builder: HeadBuilder): void {
    const trailers = builder.trailers();
    if (stream.isRemoteEnded) {
      this.resetStream(stream, ERROR.streamClosed);
      stream.onReset(ERROR.streamClosed, false);
      return;
    }
    if (isProblem(trailers) || !endStream) {
      this.onViolation();
      this.resetStream(stream, ERROR.protocolError);
      stream.onReset(ERROR.protocolError, false);
      return;
    }
    this.remoteEnded(stream, trailers);
  }

  /** A head that is no request: reset, or an answer where one can be given. */
  #refuse(streamId: number, endStream: boolean, problem: HeadProblem): void {
    if (problem.kind === "malformed") {
      this.onViolation();
      this.refuseStream(streamId, ERROR.protocolError);
      recordRefusal(
        this,
        "HTTP/2",
        { status: 0, body: "", flag: "DPE", details: problem.details, isOverloaded: false },
        0,
      );
      return;
    }
    const answer = rescue({ kind: "badRequest", status: 431, details: problem.details });
    const { headers } = localReplyHead({
      status: answer.status,
      bodyBytes: 0,
      server: this.manager.serverName,
      date: this.dateHeader(),
      extra: [],
    });
    this.writeResponse(streamId, answer.status, headers, true);
    if (!endStream) this.refuseStream(streamId, ERROR.noError);
    this.#stats.byClass[4]?.add(1);
    recordRefusal(this, "HTTP/2", answer, 0);
  }

  protected override isIdleStream(streamId: number): boolean {
    return streamId % 2 === 0 || streamId > this.lastPeerStreamId;
  }

  protected override onGoaway(): void {
    // The client opens no more streams; those it has go on.
    this.isGoingAway = true;
    if (this.streams.size === 0) this.close(ERROR.noError);
  }

  protected override onSettings(): void {}

  protected override onPingAck(): void {
    this.#endDraining();
  }

  protected override onStreamClosed(stream: Http2Stream): void {
    if (stream instanceof ServerStream) {
      this.#dispatched.delete(stream);
      const nowMs = performance.now();
      this.#idleSinceMs = nowMs;
      const isPremature = !stream.isLocalEnded && nowMs - stream.openedMs < 1000;
      if (this.#resets.closed(isPremature)) {
        this.fail(ERROR.enhanceYourCalm, "too many premature resets");
        return;
      }
    }
    if (this.isGoingAway && this.#drainingSinceMs === undefined && this.streams.size === 0) {
      this.close(ERROR.noError);
    }
  }

  protected override onViolation(): void {
    this.#stats.protocolError.add(1);
  }

  protected override onClosed(): void {
    this.#stats.connectionsActive.add(-1);
    this.#onGone(this);
  }
}
