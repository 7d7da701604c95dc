import type { HttpConnectionManagerConfig, TlsConfig } from "./config/runtime-config.ts";
import type { ProxyContext } from "./context.ts";
import type { BodyFraming, ResponseHead } from "./core/http1/head-parser.ts";
import type { HeaderBlock } from "./core/http1/header-block.ts";
import type { UpstreamReset } from "./core/rescue.ts";
import type { Destination } from "./net/original-destination.ts";
import type { TlsSession } from "./tls/certificate-facts.ts";
import type { PeerIdentity } from "./tls/secure-contexts.ts";
import type { Exchange } from "./upstream/exchange.ts";

/**
 * Whether a body follows a head: none, one of the length its fields announce, or of unknown length;
 * `tunnel`: bytes both ways until the end, no HTTP any more.
 */
export type BodyKind = "none" | "length" | "unknown" | "tunnel";

/** What a request wants its connection to become. */
export type Tunnel =
  | { readonly kind: "upgrade"; readonly protocol: string }
  /** CONNECT: forwarded as such, or ended here with a raw connection to the cluster. */
  | { readonly kind: "connect" | "tcp" };

/** What a message's framing says about its body. */
export function bodyKind({ kind }: BodyFraming): BodyKind {
  return kind === "none" || kind === "length" ? kind : "unknown";
}

/** What is known about the connection a request came on, whatever its protocol. */
export interface DownstreamConnection {
  readonly context: ProxyContext;
  readonly manager: HttpConnectionManagerConfig;
  /** `ip:port` of our end. */
  readonly localAddress: string;
  /** `ip:port` of the client. */
  readonly remoteAddress: string;
  readonly remoteIp: string;
  readonly isTls: boolean;
  /** The client's certificate; undefined without mutual TLS. */
  readonly identity: PeerIdentity | undefined;
  readonly requestedServerName: string;
  readonly tlsSession: TlsSession | undefined;
  /** Where the connection was going before it was redirected here. */
  readonly originalDestination: Destination | undefined;
  /** What this hop says about its client in x-forwarded-client-cert; undefined without mutual TLS. */
  readonly clientCertElement: string | undefined;
}

/** The client's side of one exchange: an HTTP/1.1 connection, or one stream of an HTTP/2 connection. */
export interface DownstreamStream {
  /** As access logs name it. */
  readonly protocol: "HTTP/1.0" | "HTTP/1.1" | "HTTP/2";
  /** The client does not keep up: stop reading the response until `Exchange.onDownstreamDrain`. */
  readonly isBlocked: boolean;
  /** `Date` as of this second. */
  dateHeader(): string;
  /** The request asks for a tunnel: what the client sends behind it is kept, and never read as a request. */
  expectTunnel(): void;
  sendContinue(): void;
  /** Writes the response head. May edit `headers` for the protocol's sake. `reason` begins with a space. */
  writeHead(
    exchange: Exchange,
    status: number,
    reason: string,
    headers: HeaderBlock,
    body: BodyKind,
  ): void;
  writeData(bytes: Buffer, start: number, end: number): void;
  writeEnd(trailers: HeaderBlock | undefined): void;
  flush(): void;
  /** Stops taking the request's body. */
  pauseReading(): void;
  resumeReading(): void;
  /** Ends the exchange inside a response, so that the client cannot take the part for the whole. */
  breakOff(): void;
  /** The exchange is over. */
  exchangeFinished(exchange: Exchange): void;
}

/** A request as an upstream gets it; the authority is the field `host`. */
export interface UpstreamRequestHead {
  readonly method: string;
  /** Path and query. */
  readonly target: string;
  readonly scheme: "http" | "https";
  readonly headers: HeaderBlock;
  readonly body: BodyKind;
  readonly tunnel?: Tunnel | undefined;
}

/** A place on an upstream connection: all of it under HTTP/1.1, one stream of it under HTTP/2. */
export interface UpstreamRequest {
  readonly protocol: "HTTP/1.1" | "HTTP/2";
  readonly tls: TlsConfig | undefined;
  /** `ip:port` of our end. */
  readonly localAddress: string;
  /** The upstream does not keep up: stop reading the request until `onUpstreamDrain`. */
  readonly isBlocked: boolean;
  writeHead(request: UpstreamRequestHead): void;
  writeData(bytes: Buffer, start: number, end: number): void;
  writeEnd(trailers: HeaderBlock | undefined): void;
  /** Ends our side of a tunnel. */
  endTunnel?(): void;
  flush(): void;
  /** Stops reading the response while the downstream is behind. */
  pause(): void;
  resume(): void;
  /** Nobody wants this response, though the connection is fine. */
  discard(): void;
  /** The exchange is given up. */
  abandon(): void;
}

/** Who waits for a response from an upstream. */
export interface UpstreamStream {
  /** Counts against the cluster's limits for priority HIGH. */
  readonly isHighPriority?: boolean;
  /** The place is its own now: write the request. */
  onConnection(connection: UpstreamRequest): void;
  /** The place is free for others: the end of the response, already here, is handed over next. */
  onReleased?(): void;
  onResponseHead(head: ResponseHead): void;
  onResponseData(bytes: Buffer, start: number, end: number): void;
  onResponseEnd(trailers: HeaderBlock | undefined): void;
  /** What one read brought has been handed over: pass on what was gathered. */
  onResponseFlush(): void;
  /** The place, or the attempt to get one, is gone. */
  onReset(reason: UpstreamReset["reason"], transportFailure: string): void;
  /** The upstream takes more again. */
  onUpstreamDrain(): void;
}
