import type { AccessLogRecord } from "../../../src/proxy/config/runtime-config.ts";

/** A finished request with everything filled in; a test overrides what it is about. */
export function record(more: Partial<AccessLogRecord> = {}): AccessLogRecord {
  const request: Readonly<Record<string, string>> = {
    "user-agent": "curl/8",
    "x-request-id": "id-1",
  };
  return {
    startTimeMs: 1500,
    method: "GET",
    path: "/reviews/1",
    originalPath: undefined,
    protocol: "HTTP/1.1",
    responseCode: 200,
    responseFlags: "",
    responseCodeDetails: "via_upstream",
    bytesReceived: 12,
    bytesSent: 345,
    durationMs: 7.4,
    upstreamServiceTimeMs: 6.2,
    authority: "reviews:9080",
    routeName: "default",
    upstreamCluster: undefined,
    upstreamHost: undefined,
    upstreamLocalAddress: "127.0.0.1:40000",
    downstreamLocalAddress: "127.0.0.1:15001",
    downstreamRemoteAddress: "127.0.0.1:50000",
    downstreamPeerPrincipal: undefined,
    downstreamPeer: undefined,
    isMutualTls: false,
    requestedServerName: "",
    upstreamTransportFailureReason: "",
    attemptCount: 1,
    direction: "outbound",
    requestHeader: (name) => request[name],
    responseHeader: () => undefined,
    responseTrailer: () => undefined,
    isGrpc: false,
    logType: "DownstreamEnd",
    ...more,
  };
}
