import type { Socket } from "node:net";
import { TLSSocket } from "node:tls";
import type { HttpConnectionManagerConfig } from "../config/runtime-config.ts";
import type { ProxyContext } from "../context.ts";
import { PREFACE } from "../core/http2/frame.ts";
import { ServerConnection } from "../http1/server-connection.ts";
import { Http2ServerConnection } from "../http2/server-connection.ts";
import type { ConnectionInfo } from "./connection-info.ts";

/** A client's connection, whichever HTTP it speaks. */
export interface HttpConnection {
  /** As access logs name it; "" while it is not decided. */
  readonly protocol: string;
  /** Asks it to leave with its next answer; an idle one may close at once. */
  drain(closeIdle: boolean): void;
  /** Enforces the timeouts that need no precision; called about once a second. */
  checkIdle(nowMs: number): void;
}

interface Options {
  readonly context: ProxyContext;
  readonly manager: HttpConnectionManagerConfig;
  readonly socket: Socket;
  readonly info: ConnectionInfo;
  readonly onGone: (connection: HttpConnection) => void;
}

/** Starts HTTP on a socket, as the codec setting, ALPN or the first bytes say. */
export function serveHttp(options: Options): HttpConnection {
  const { manager, socket } = options;
  const alpn = socket instanceof TLSSocket ? socket.alpnProtocol : undefined;
  const isHttp2 = manager.codec === "http2" || alpn === "h2" || alpn === "istio-h2";
  if (manager.codec !== "http1" && isHttp2) return http2(options, undefined);
  // A client that negotiated HTTP/1.1 speaks it.
  const isNegotiated = typeof alpn === "string" && alpn.startsWith("http/1");
  if (manager.codec === "http1" || isNegotiated) return http1(options, undefined);
  return new UndecidedConnection(options);
}

function http1(options: Options, first: Buffer | undefined): HttpConnection {
  const { context, manager, socket, info, onGone } = options;
  const connection = new ServerConnection(context, manager, socket, info, onGone);
  if (first !== undefined) connection.receive(first);
  return connection;
}

function http2(options: Options, first: Buffer | undefined): HttpConnection {
  const { context, manager, socket, info, onGone } = options;
  const connection = new Http2ServerConnection(context, manager, socket, info, onGone);
  if (first !== undefined) connection.receive(first);
  return connection;
}

/** A connection whose first bytes will tell what it speaks (RFC 9113 §3.3: prior knowledge). */
class UndecidedConnection implements HttpConnection {
  readonly #options: Options;
  readonly #onData: (bytes: Buffer) => void;
  readonly #onClose: () => void;
  #first: Buffer | undefined;
  #decided: HttpConnection | undefined;
  #isDraining = false;
  readonly #sinceMs = performance.now();

  constructor(options: Options) {
    this.#options = options;
    const { socket } = options;
    this.#onData = (bytes) => this.#receive(bytes);
    this.#onClose = () => options.onGone(this);
    socket.on("data", this.#onData);
    socket.on("close", this.#onClose);
    socket.on("error", () => socket.destroy());
  }

  #receive(bytes: Buffer): void {
    const first = this.#first === undefined ? bytes : Buffer.concat([this.#first, bytes]);
    const length = Math.min(first.length, PREFACE.length);
    const isPreface = first.compare(PREFACE, 0, length, 0, length) === 0;
    if (isPreface && length < PREFACE.length) {
      this.#first = first;
      return;
    }
    const { socket } = this.#options;
    socket.off("data", this.#onData);
    socket.off("close", this.#onClose);
    const options = { ...this.#options, onGone: () => this.#options.onGone(this) };
    this.#decided = isPreface ? http2(options, first) : http1(options, first);
    if (this.#isDraining) this.#decided.drain(false);
  }

  get protocol(): string {
    return this.#decided?.protocol ?? "";
  }

  drain(closeIdle: boolean): void {
    this.#isDraining = true;
    if (this.#decided !== undefined) this.#decided.drain(closeIdle);
    else if (closeIdle && this.#first === undefined) this.#options.socket.end();
  }

  checkIdle(nowMs: number): void {
    if (this.#decided !== undefined) {
      this.#decided.checkIdle(nowMs);
      return;
    }
    const { idleTimeoutMs, requestHeadersTimeoutMs } = this.#options.manager;
    const limitMs = this.#first === undefined ? idleTimeoutMs : requestHeadersTimeoutMs;
    if (limitMs > 0 && nowMs - this.#sinceMs > limitMs) this.#options.socket.destroy();
  }
}
