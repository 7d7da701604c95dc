import type { AccessLogRecord } from "../runtime-config.ts";
import type { CustomTag, TagSource } from "./config.ts";
import type { LocalNode } from "./span.ts";

/** gRPC statuses that Envoy takes for an upstream's failure. */
const GRPC_ERRORS: ReadonlySet<string> = new Set(["2", "4", "12", "13", "14", "15"]);

/** One try of a request, for the span that it has of its own. */
export interface TryRecord {
  /** 0 = no response. */
  readonly status: number;
  readonly protocol: string | undefined;
  /** `ip:port` of the host. */
  readonly address: string;
  readonly responseFlags: string;
  /** From 0. */
  readonly retryCount: number;
  /** Given up by the proxy. */
  readonly isCanceled: boolean;
  /** Why it broke; "" = it did not. */
  readonly errorReason: string;
  header(name: string): string | undefined;
}

/** The tags of a request's span, as Envoy names them. `peerIp`: of the connection. */
export function requestTags(
  record: AccessLogRecord,
  node: LocalNode,
  request: {
    readonly scheme: string;
    readonly peerIp: string;
    readonly maxPathTagLength: number;
    readonly originalPath: string;
  },
): Map<string, string> {
  const tags = new Map<string, string>([
    ["node_id", node.id],
    ["zone", node.zone],
  ]);
  const header = (name: string): string | undefined => record.requestHeader(name);
  const copy = (tag: string, name: string): void => {
    const value = header(name);
    if (value !== undefined) tags.set(tag, value);
  };
  copy("guid:x-request-id", "x-request-id");
  const path = request.originalPath.slice(0, request.maxPathTagLength);
  tags.set("http.url", `${request.scheme}://${record.authority}${path}`);
  tags.set("http.method", record.method);
  tags.set("downstream_cluster", header("x-envoy-downstream-service-cluster") ?? "-");
  tags.set("user_agent", header("user-agent") ?? "-");
  tags.set("http.protocol", record.protocol);
  tags.set("peer.address", request.peerIp);
  copy("guid:x-client-trace-id", "x-client-trace-id");
  if (record.isGrpc) {
    tags.set("grpc.path", request.originalPath);
    tags.set("grpc.authority", record.authority);
    copy("grpc.content_type", "content-type");
    copy("grpc.timeout", "grpc-timeout");
  }
  tags.set("request_size", String(record.bytesReceived));
  tags.set("response_size", String(record.bytesSent));
  setOutcome(tags, record, record.responseCode, record.responseFlags);
  return tags;
}

/** The tags of a try's span. */
export function tryTags(record: AccessLogRecord, attempt: TryRecord): Map<string, string> {
  const tags = new Map<string, string>();
  if (attempt.retryCount > 0) tags.set("retry.count", String(attempt.retryCount));
  tags.set("http.protocol", attempt.protocol ?? "-");
  tags.set("upstream_address", attempt.address);
  tags.set("peer.address", attempt.address);
  setOutcome(tags, record, attempt.status, attempt.responseFlags);
  if (attempt.isCanceled) tags.set("canceled", "true");
  if (attempt.errorReason !== "") {
    tags.set("error", "true");
    tags.set("error.reason", attempt.errorReason);
  }
  return tags;
}

function setOutcome(
  tags: Map<string, string>,
  { upstreamCluster: cluster }: AccessLogRecord,
  status: number,
  flags: string,
): void {
  tags.set("component", "proxy");
  if (cluster !== undefined) {
    tags.set("upstream_cluster", cluster.name);
    tags.set("upstream_cluster.name", cluster.altStatName);
  }
  tags.set("http.status_code", String(status));
  if (status === 0 || status >= 500) tags.set("error", "true");
  tags.set("response_flags", flags || "-");
}

/** What a response says of gRPC, in its trailers or its head. */
export function setGrpcOutcome(
  tags: Map<string, string>,
  read: (name: string) => string | undefined,
): void {
  const status = read("grpc-status");
  if (status === undefined) return;
  tags.set("grpc.status_code", status);
  const message = read("grpc-message");
  if (message !== undefined) tags.set("grpc.message", message);
  if (GRPC_ERRORS.has(status)) tags.set("error", "true");
}

/** Adds the tags of the configuration; a later one of the same name wins. */
export function setCustomTags(
  tags: Map<string, string>,
  source: TagSource,
  ...lists: readonly (readonly CustomTag[])[]
): void {
  for (const list of lists) {
    for (const { tag, value } of list) {
      const text = value(source);
      if (text !== undefined && text !== "") tags.set(tag, text);
    }
  }
}
