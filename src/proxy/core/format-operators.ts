import { formatTimestampMs } from "../../xds/index.ts";
import { grpcStatusName } from "./grpc.ts";
import { type MetadataValue, metadataAt } from "./metadata.ts";
import { pathOf, queryValues } from "./route.ts";
import type { AccessLogRecord } from "./runtime-config.ts";
import { compileTimeFormat } from "./time-format.ts";

/** What a command operator yields; undefined = nothing. */
export type OperatorValue = string | number | undefined;
/** A command operator (`%PROTOCOL%`), compiled. */
export type Operator = (record: AccessLogRecord) => OperatorValue;

/** What operators know beside the record. */
export interface OperatorOptions {
  /** Milliseconds since the epoch at `performance.now()` 0. */
  readonly timeOriginMs: number;
  environment(name: string): string | undefined;
  /** This machine's name. */
  readonly hostname?: string;
}

/** `%NAME(argument):maxLength%` as it is written. */
export interface OperatorText {
  readonly name: string;
  readonly argument: string | undefined;
  readonly maxLength: number | undefined;
}

/** Operators that take neither argument nor length. */
const PLAIN: Readonly<Record<string, Operator>> = {
  METHOD: (r) => r.method || undefined,
  PROTOCOL: (r) => r.protocol || undefined,
  RESPONSE_CODE: (r) => r.responseCode,
  RESPONSE_FLAGS: (r) => r.responseFlags || "-",
  RESPONSE_CODE_DETAILS: (r) => r.responseCodeDetails.replaceAll(" ", "_") || undefined,
  CONNECTION_TERMINATION_DETAILS: () => undefined,
  DOWNSTREAM_TRANSPORT_FAILURE_REASON: () => undefined,
  // There are no virtual clusters here.
  VIRTUAL_CLUSTER_NAME: () => undefined,
  BYTES_RECEIVED: (r) => r.bytesReceived,
  BYTES_SENT: (r) => r.bytesSent,
  ACCESS_LOG_TYPE: (r) => r.logType,
  DURATION: (r) => Math.trunc(r.durationMs),
  RESPONSE_DURATION: (r) => r.upstreamServiceTimeMs && Math.trunc(r.upstreamServiceTimeMs),
  UPSTREAM_HOST: (r) => r.upstreamHost?.key,
  UPSTREAM_CLUSTER: (r) => r.upstreamCluster?.altStatName,
  UPSTREAM_CLUSTER_RAW: (r) => r.upstreamCluster?.name,
  UPSTREAM_LOCAL_ADDRESS: (r) => r.upstreamLocalAddress || undefined,
  UPSTREAM_LOCAL_ADDRESS_WITHOUT_PORT: (r) => withoutPort(r.upstreamLocalAddress),
  UPSTREAM_LOCAL_PORT: (r) => portOf(r.upstreamLocalAddress),
  UPSTREAM_REMOTE_ADDRESS: upstreamRemote,
  UPSTREAM_REMOTE_ADDRESS_WITHOUT_PORT: (r) => withoutPort(upstreamRemote(r)),
  UPSTREAM_REMOTE_PORT: (r) => portOf(upstreamRemote(r)),
  UPSTREAM_PROTOCOL: (r) => r.upstreamProtocol,
  UPSTREAM_TRANSPORT_FAILURE_REASON: (r) =>
    r.upstreamTransportFailureReason.replaceAll(" ", "_") || undefined,
  UPSTREAM_REQUEST_ATTEMPT_COUNT: (r) => r.attemptCount,
  DOWNSTREAM_LOCAL_ADDRESS: (r) => r.downstreamLocalAddress || undefined,
  DOWNSTREAM_LOCAL_ADDRESS_WITHOUT_PORT: (r) => withoutPort(r.downstreamLocalAddress),
  DOWNSTREAM_LOCAL_PORT: (r) => portOf(r.downstreamLocalAddress),
  DOWNSTREAM_REMOTE_ADDRESS: (r) => r.downstreamRemoteAddress || undefined,
  DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT: (r) => withoutPort(r.downstreamRemoteAddress),
  DOWNSTREAM_REMOTE_PORT: (r) => portOf(r.downstreamRemoteAddress),
  DOWNSTREAM_DIRECT_REMOTE_ADDRESS: (r) => directRemote(r) || undefined,
  DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT: (r) => withoutPort(directRemote(r)),
  DOWNSTREAM_DIRECT_REMOTE_PORT: (r) => portOf(directRemote(r)),
  DOWNSTREAM_PEER_URI_SAN: (r) =>
    r.downstreamCertificate?.uris.join(",") || r.downstreamPeerPrincipal,
  DOWNSTREAM_PEER_SUBJECT: (r) => r.downstreamCertificate?.subject || undefined,
  DOWNSTREAM_PEER_FINGERPRINT_256: (r) => r.downstreamCertificate?.hash || undefined,
  DOWNSTREAM_PEER_DNS_SAN: (r) => r.downstreamCertificate?.dnsNames.join(",") || undefined,
  REQUESTED_SERVER_NAME: (r) => r.requestedServerName || undefined,
  TRACE_ID: (r) => r.traceId,
  SPAN_ID: (r) => r.spanId,
  ROUTE_NAME: (r) => r.routeName || undefined,
  GRPC_STATUS: (r) => {
    const status = grpcStatus(r);
    return status === undefined ? undefined : grpcStatusName(status);
  },
  GRPC_STATUS_NUMBER: (r) => {
    const status = grpcStatus(r);
    return status === undefined ? undefined : Number(status);
  },
};

/** Envoy: from the trailers, else the head; undefined unless the request is gRPC. */
function grpcStatus(record: AccessLogRecord): string | undefined {
  if (!record.isGrpc) return undefined;
  return record.responseTrailer("grpc-status") ?? record.responseHeader("grpc-status");
}

/** Where the connection went, once there is one. */
function upstreamRemote(record: AccessLogRecord): string | undefined {
  return record.upstreamLocalAddress === "" ? undefined : record.upstreamHost?.key;
}

function directRemote(record: AccessLogRecord): string {
  return record.downstreamDirectRemoteAddress ?? record.downstreamRemoteAddress;
}

const REQUEST_PSEUDO: Readonly<Record<string, Operator>> = {
  ":method": (r) => r.method || undefined,
  ":path": (r) => r.path || undefined,
  // Empty is a value where there is a request.
  ":authority": (r) => (r.method === "" ? undefined : r.authority),
  "x-envoy-original-path": originalPath,
};

function originalPath(record: AccessLogRecord): string | undefined {
  return record.originalPath ?? record.requestHeader("x-envoy-original-path");
}

const RESPONSE_PSEUDO: Readonly<Record<string, Operator>> = {
  "x-envoy-upstream-service-time": (r) =>
    r.upstreamServiceTimeMs === undefined ? undefined : String(Math.trunc(r.upstreamServiceTimeMs)),
};

type Compile = (
  argument: string | undefined,
  options: OperatorOptions,
  fail: (message: string) => void,
) => Operator;

/** Operators with an argument, which may be cut to a length. */
const WITH_ARGUMENT: Readonly<Record<string, Compile>> = {
  REQ: (argument, _, fail) =>
    headerOperator("REQ", argument, REQUEST_PSEUDO, (r, key) => r.requestHeader(key), fail),
  RESP: (argument, _, fail) =>
    headerOperator("RESP", argument, RESPONSE_PSEUDO, (r, key) => r.responseHeader(key), fail),
  TRAILER: (argument, _, fail) =>
    headerOperator("TRAILER", argument, {}, (r, key) => r.responseTrailer(key), fail),
  PATH: (argument, _, fail) => pathOperator(argument ?? "", fail),
  QUERY_PARAMS: (argument, _, fail) => {
    if (argument) fail("QUERY_PARAMS: an argument is not supported");
    return ({ path }) => path.slice(pathOf(path).length + 1) || undefined;
  },
  QUERY_PARAM: (argument, _, fail) => {
    if (!argument) fail("QUERY_PARAM requires parameters");
    return ({ path }) => {
      const value = queryValues(path.slice(pathOf(path).length + 1)).get(argument ?? "");
      return value === undefined ? undefined : decoded(value);
    };
  },
  DYNAMIC_METADATA: (argument, _, fail) => {
    if (!argument) fail("DYNAMIC_METADATA requires parameters");
    const [filter = "", ...path] = (argument ?? "").split(":");
    return ({ metadata }) => metadataText(metadataAt(metadata, filter, path));
  },
  // The environment is that of the configuration's arrival.
  ENVIRONMENT: (argument, { environment }, fail) => {
    if (!argument) fail("ENVIRONMENT requires parameters");
    const value = environment(argument ?? "") || "-";
    return () => value;
  },
};

/** Compiles one operator; `fail` is told of unknown ones and bad arguments. */
export function compileOperator(
  { name, argument, maxLength }: OperatorText,
  options: OperatorOptions,
  fail: (message: string) => void,
): Operator {
  const nothing = () => undefined;
  const plain = Object.hasOwn(PLAIN, name) ? PLAIN[name] : undefined;
  if (plain !== undefined) {
    if (argument === undefined && maxLength === undefined) return plain;
    fail(`${name} does not take any parameters or length`);
    return nothing;
  }
  if (name === "HOSTNAME") {
    const { hostname } = options;
    if (hostname === undefined) fail("HOSTNAME is not known here");
    return () => hostname;
  }
  if (name === "START_TIME") {
    if (maxLength !== undefined) fail("START_TIME does not allow length to be specified");
    const { timeOriginMs } = options;
    if (!argument) return (r) => formatTimestampMs(timeOriginMs + r.startTimeMs);
    const format = compileTimeFormat(argument, fail);
    return (r) => format(timeOriginMs + r.startTimeMs);
  }
  const compile = Object.hasOwn(WITH_ARGUMENT, name) ? WITH_ARGUMENT[name] : undefined;
  if (compile === undefined) {
    fail(`command operator %${name}% is not supported`);
    return nothing;
  }
  const found = compile(argument, options, fail);
  if (maxLength === undefined) return found;
  return (record) => {
    const value = found(record);
    return typeof value === "string" ? value.slice(0, maxLength) : value;
  };
}

/** `X?Y`: header X, or Y when X is absent. */
function headerOperator(
  operator: string,
  argument: string | undefined,
  pseudo: Readonly<Record<string, Operator>>,
  read: (record: AccessLogRecord, name: string) => string | undefined,
  fail: (message: string) => void,
): Operator {
  if (!argument) fail(`${operator} requires parameters`);
  const [first = "", second] = (argument ?? "").split("?").map((name) => name.toLowerCase());
  const one = (name: string): Operator => {
    const special = pseudo[name];
    return special ?? ((record) => read(record, name));
  };
  const primary = one(first);
  if (second === undefined) return primary;
  const alternative = one(second);
  return (record) => primary(record) ?? alternative(record);
}

/** `NQ` without, `WQ` with the query; of the path now, before the route rewrote it, or that if any. */
function pathOperator(argument: string, fail: (message: string) => void): Operator {
  const [query = "", which = ""] = argument.split(":");
  if (!["", "WQ", "NQ"].includes(query)) fail(`PATH: query option ${query} is none of WQ, NQ`);
  if (!["", "ORIG", "PATH", "ORIG_OR_PATH"].includes(which)) {
    fail(`PATH: path option ${which} is none of ORIG, PATH, ORIG_OR_PATH`);
  }
  const read = (record: AccessLogRecord): string | undefined => {
    const path = record.path || undefined;
    if (which === "PATH") return path;
    const original = originalPath(record);
    return which === "ORIG" ? original : (original ?? path);
  };
  return (record) => {
    const path = read(record);
    return path !== undefined && query === "NQ" ? pathOf(path) : path;
  };
}

function decoded(text: string): string {
  return text.replace(/%([0-9a-f]{2})/gi, (_, hex: string) =>
    String.fromCharCode(Number.parseInt(hex, 16)),
  );
}

function metadataText(value: MetadataValue | undefined): OperatorValue {
  if (value === undefined || value === null) return undefined;
  return typeof value === "object" ? JSON.stringify(value) : String(value);
}

function withoutPort(address: string | undefined): string | undefined {
  if (!address) return undefined;
  const host = address.slice(0, address.lastIndexOf(":"));
  return host.startsWith("[") ? host.slice(1, -1) : host;
}

function portOf(address: string | undefined): number | undefined {
  return address ? Number(address.slice(address.lastIndexOf(":") + 1)) : undefined;
}
