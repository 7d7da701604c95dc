import type { RequestHead } from "../core/http1/head-parser.ts";
import type { HeaderBlock } from "../core/http1/header-block.ts";
import { ERROR } from "../core/http2/frame.ts";
import { scaledIdle } from "../http1/overload.ts";
import { handleRequest } from "../pipeline.ts";
import type { BodyKind, DownstreamStream } from "../streams.ts";
import { Exchange } from "../upstream/exchange.ts";
import type { Http2ServerConnection } from "./server-connection.ts";
import { Http2Stream } from "./stream.ts";

/** One request of an HTTP/2 client. */
export class ServerStream extends Http2Stream implements DownstreamStream {
  readonly protocol = "HTTP/2";
  readonly openedMs: number;
  readonly #connection: Http2ServerConnection;
  #exchange: Exchange | undefined;
  /** What came before the tunnel was there; undefined where none is expected any more. */
  #early: Buffer[] | undefined;
  #isTunnel = false;
  #hasProgressed = true;
  #idleSinceMs: number;

  constructor(connection: Http2ServerConnection, id: number) {
    super(connection, id);
    this.#connection = connection;
    this.openedMs = performance.now();
    this.#idleSinceMs = this.openedMs;
  }

  /** Starts the exchange of a request whose head has come. */
  begin(head: RequestHead): void {
    const exchange = new Exchange(this.#connection, this, head);
    this.#exchange = exchange;
    handleRequest(exchange);
    // The request of a tunnel is its head alone.
    if (this.#early !== undefined) exchange.onRequestEnd(undefined);
  }

  dateHeader(): string {
    return this.#connection.dateHeader();
  }

  /** What the client sends before the tunnel is there waits, as much of it as the window allows. */
  expectTunnel(): void {
    this.#early = [];
    this.pauseReading();
  }

  sendContinue(): void {
    if (!this.isLocalEnded) this.#connection.writeResponse(this.id, 100, undefined, false);
  }

  writeHead(
    _exchange: Exchange,
    status: number,
    _reason: string,
    headers: HeaderBlock,
    body: BodyKind,
  ): void {
    if (this.isLocalEnded) return;
    this.#hasProgressed = true;
    const endStream = body === "none";
    if (body === "tunnel") {
      this.#isTunnel = true;
      // RFC 8441 §5: there is no 101 in HTTP/2.
      this.#connection.writeResponse(this.id, status === 101 ? 200 : status, headers, false);
      queueMicrotask(() => this.#releaseEarly());
      return;
    }
    this.#early = undefined;
    this.#connection.writeResponse(this.id, status, headers, endStream);
    if (!endStream) return;
    this.isLocalEnded = true;
    this.#connection.localEnded(this);
  }

  override writeData(bytes: Buffer, start: number, end: number): void {
    this.#hasProgressed = true;
    super.writeData(bytes, start, end);
  }

  /** The tunnel is there: it gets what waited for it. */
  #releaseEarly(): void {
    const early = this.#early;
    const exchange = this.#exchange;
    this.#early = undefined;
    if (early === undefined || exchange === undefined) return;
    for (const bytes of early) exchange.onRequestData(bytes, 0, bytes.length);
    exchange.flushRequest();
    this.resumeReading();
    if (this.isRemoteEnded) exchange.onTunnelEnd();
  }

  breakOff(): void {
    this.#connection.resetStream(this, ERROR.internalError);
  }

  exchangeFinished(exchange: Exchange): void {
    this.#connection.exchangeFinished(exchange);
    this.#exchange = undefined;
    // An answer that overtook its request: the rest of it is not wanted (RFC 9113 §8.1).
    if (!this.isRemoteEnded && !this.isWaiting) {
      this.#connection.resetStream(this, ERROR.noError);
    }
  }

  /** Gives up a request that nothing happens on. */
  checkIdle(nowMs: number): void {
    if (this.#hasProgressed) {
      this.#hasProgressed = false;
      this.#idleSinceMs = nowMs;
      return;
    }
    const timeoutMs = scaledIdle(
      this.#connection,
      "streamIdle",
      this.#exchange?.idleTimeoutMs ?? 0,
    );
    if (timeoutMs <= 0 || nowMs - this.#idleSinceMs <= timeoutMs) return;
    const exchange = this.#exchange;
    if (exchange === undefined || exchange.responseCode !== 0) {
      this.#connection.resetStream(this, ERROR.noError);
      exchange?.onDownstreamClosed("stream_idle_timeout");
      return;
    }
    exchange.fail({ kind: "idleTimeout", isRequestComplete: exchange.isRequestComplete });
  }

  protected override onDrain(): void {
    this.#exchange?.onDownstreamDrain();
  }

  override onBody(bytes: Buffer, start: number, end: number): void {
    this.#hasProgressed = true;
    if (this.#early !== undefined) this.#early.push(Buffer.from(bytes.subarray(start, end)));
    else this.#exchange?.onRequestData(bytes, start, end);
  }

  override onRemoteEnd(trailers: HeaderBlock | undefined): void {
    // The end of a tunnel is no end of its request, which has ended with its head.
    if (this.#early !== undefined) return;
    if (this.#isTunnel) this.#exchange?.onTunnelEnd();
    else this.#exchange?.onRequestEnd(trailers);
  }

  override onReadEnd(): void {
    this.#exchange?.flushRequest();
  }

  override onReset(code: number, byPeer: boolean): void {
    const exchange = this.#exchange;
    this.#exchange = undefined;
    if (!byPeer) {
      exchange?.onDownstreamClosed("http2.violation.of.messaging.rule");
      return;
    }
    const details = code === ERROR.refusedStream ? "http2.remote_refuse" : "http2.remote_reset";
    exchange?.onDownstreamClosed(details, "DR");
  }

  override onConnectionLost(): void {
    const exchange = this.#exchange;
    this.#exchange = undefined;
    exchange?.onDownstreamClosed("downstream_remote_disconnect");
  }
}
