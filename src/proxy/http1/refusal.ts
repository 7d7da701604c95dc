import type { AccessLogRecord } from "../config/runtime-config.ts";
import type { LocalReply } from "../core/rescue.ts";
import type { DownstreamConnection } from "../streams.ts";

/** Tells telemetry about bytes that were refused before they were a request. */
export function recordRefusal(
  connection: DownstreamConnection,
  protocol: "HTTP/1.0" | "HTTP/1.1" | "HTTP/2",
  answer: LocalReply,
  bytesSent: number,
): void {
  const record: AccessLogRecord = {
    startTimeMs: performance.now(),
    method: "",
    path: "",
    originalPath: undefined,
    protocol,
    responseCode: answer.status,
    responseFlags: answer.flag,
    responseCodeDetails: answer.details,
    bytesReceived: 0,
    bytesSent,
    durationMs: 0,
    upstreamServiceTimeMs: undefined,
    authority: "",
    routeName: "",
    upstreamCluster: undefined,
    upstreamHost: undefined,
    upstreamLocalAddress: "",
    downstreamLocalAddress: connection.localAddress,
    downstreamRemoteAddress: connection.remoteAddress,
    downstreamPeerPrincipal: connection.identity?.principal,
    downstreamPeer: undefined,
    isMutualTls: connection.identity !== undefined,
    requestedServerName: connection.requestedServerName,
    upstreamTransportFailureReason: "",
    attemptCount: 0,
    direction: connection.manager.direction,
    isGrpc: false,
    logType: "DownstreamEnd",
    requestHeader: () => undefined,
    responseHeader: (name) => (name === ":status" ? String(answer.status) : undefined),
    responseTrailer: () => undefined,
  };
  connection.context.telemetry.requestFinished(record, connection.manager.accessLogs);
}
