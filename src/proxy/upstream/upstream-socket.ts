import { connect, type OnReadOpts, type Socket } from "node:net";
import { type ConnectionOptions, connect as connectTls } from "node:tls";
import { messageOf } from "../../base/index.ts";
import type { ClusterConfig, TlsConfig } from "../config/runtime-config.ts";
import { clientTlsOptions } from "../tls/client-options.ts";
import type { HostPool } from "./host-pool.ts";

const READ_BUFFER_BYTES = 65_536;
const MAX_SPARE_BUFFERS = 64;

/** The read buffers of closed connections, for the next ones. */
const spareBuffers: Buffer[] = [];

/** A buffer to read into; give it back with `releaseReadBuffer`. */
export function takeReadBuffer(): Buffer {
  return spareBuffers.pop() ?? Buffer.allocUnsafeSlow(READ_BUFFER_BYTES);
}

/** Takes back the buffer of a connection that is closed. */
export function releaseReadBuffer(buffer: Buffer): void {
  if (spareBuffers.length < MAX_SPARE_BUFFERS) spareBuffers.push(buffer);
}

/**
 * Opens a connection to the pool's host, with TLS where the cluster asks for it; `protocols` is the
 * ALPN offer. `onConnected` is called when bytes can be sent. Throws for unusable TLS material.
 */
export function openUpstreamSocket(
  pool: HostPool,
  tls: TlsConfig | undefined,
  protocols: readonly string[],
  onread: OnReadOpts,
  onConnected: () => void,
): Socket {
  const { address, port } = pool.endpoint;
  const local = localEnd(pool.cluster.config);
  if (tls === undefined) {
    const socket = connect({ host: address, port, onread, ...local });
    socket.once("connect", onConnected);
    return socket;
  }
  const { sessions } = pool;
  const session = sessions.get(tls.version);
  const options: ConnectionOptions & { readonly onread: OnReadOpts } = {
    host: address,
    port,
    onread,
    ...local,
    ...clientTlsOptions(pool.context.secureContexts, tls, protocols),
    ...(session === undefined ? {} : { session }),
  };
  const socket = connectTls(options);
  socket.once("secureConnect", onConnected);
  socket.on("session", (ticket) => {
    sessions.clear();
    sessions.set(tls.version, ticket);
  });
  return socket;
}

const SYSTEM_ERRORS: Readonly<Record<string, string>> = {
  ECONNREFUSED: "Connection refused",
  ECONNRESET: "Connection reset by peer",
  ETIMEDOUT: "Connection timed out",
  EHOSTUNREACH: "No route to host",
  ENETUNREACH: "Network is unreachable",
  EADDRNOTAVAIL: "Cannot assign requested address",
};

/** What went wrong with a connection, in Envoy's words where it has some. */
export function connectFailure(
  error: Error & { readonly code?: string },
  isConnected: boolean,
): string {
  const known = error.code === undefined ? undefined : SYSTEM_ERRORS[error.code];
  return known === undefined || isConnected ? messageOf(error) : `delayed connect error: ${known}`;
}

/** The options of our end of a connection, where the cluster asks for them. */
export function localEnd({ bindAddress, keepAliveMs }: ClusterConfig): {
  readonly localAddress?: string;
  readonly keepAlive?: true;
  readonly keepAliveInitialDelay?: number;
} {
  if (bindAddress === undefined && keepAliveMs === undefined) return NOWHERE;
  return {
    ...(bindAddress === undefined ? {} : { localAddress: bindAddress }),
    ...(keepAliveMs === undefined ? {} : { keepAlive: true, keepAliveInitialDelay: keepAliveMs }),
  };
}

const NOWHERE = {};
const HTTP2_PROTOCOLS: ReadonlySet<string> = new Set(["h2", "istio-h2"]);

/** Whether an ALPN protocol is HTTP/2. */
export function isHttp2Protocol(name: string | false | null | undefined): boolean {
  return typeof name === "string" && HTTP2_PROTOCOLS.has(name);
}
