import type { Socket } from "node:net";
import type { AccessLogRecord, ListenerConfig } from "../config/runtime-config.ts";
import type { ProxyContext } from "../context.ts";
import { formatAddress } from "./connection-info.ts";
import type { Destination } from "./original-destination.ts";

/** What a listener's own access logs may say of a connection while it lasts. */
export interface ConnectionLog {
  /** No filter chain takes it. */
  refusedByChains(): void;
  /** What the client's first bytes named. */
  named(serverName: string): void;
  /** HTTP runs on it. */
  served(connection: { readonly protocol: string }): void;
}

/** Writes a line to the listener's access logs when `socket` closes; undefined where there are none. */
export function logConnection(
  context: ProxyContext,
  { accessLogs = [] }: ListenerConfig,
  socket: Socket,
  destination: Destination | undefined,
): ConnectionLog | undefined {
  if (accessLogs.length === 0) return undefined;
  const startTimeMs = performance.now();
  const localAddress = formatAddress(
    destination?.address ?? socket.localAddress,
    destination?.port ?? socket.localPort,
  );
  const remoteAddress = formatAddress(socket.remoteAddress, socket.remotePort);
  let flags = "";
  let requestedServerName = "";
  let http: { readonly protocol: string } | undefined;
  socket.once("close", () => {
    const record: AccessLogRecord = {
      startTimeMs,
      method: "",
      path: "",
      originalPath: undefined,
      protocol: http?.protocol ?? "",
      responseCode: 0,
      responseFlags: flags,
      responseCodeDetails: flags === "" ? "" : "filter_chain_not_found",
      // As in Envoy, what no chain takes is not read.
      bytesReceived: flags === "" ? socket.bytesRead : 0,
      bytesSent: socket.bytesWritten,
      durationMs: performance.now() - startTimeMs,
      upstreamServiceTimeMs: undefined,
      authority: "",
      routeName: "",
      upstreamCluster: undefined,
      upstreamHost: undefined,
      upstreamLocalAddress: "",
      downstreamLocalAddress: localAddress,
      downstreamRemoteAddress: remoteAddress,
      downstreamPeerPrincipal: undefined,
      downstreamPeer: undefined,
      isMutualTls: false,
      requestedServerName,
      upstreamTransportFailureReason: "",
      attemptCount: 0,
      direction: "unspecified",
      isGrpc: false,
      logType: "NotSet",
      requestHeader: () => undefined,
      responseHeader: () => undefined,
      responseTrailer: () => undefined,
    };
    context.telemetry.log(record, accessLogs);
  });
  return {
    refusedByChains() {
      flags = "NR";
    },
    named(serverName) {
      requestedServerName = serverName;
    },
    served(connection) {
      http = connection;
    },
  };
}
