import { formatTimestampMs } from "../../xds/index.ts";
import { peerValidity, TLS_OPERATORS } from "./certificate-operators.ts";
import { grpcStatusName, grpcStatusOf } from "./grpc.ts";
import type { MetadataValue } from "./metadata.ts";
import {
  compileMetadataOf,
  compileMetadataOperator,
  dynamicMetadata,
} from "./metadata-operators.ts";
import { longResponseFlags } from "./response-flags.ts";
import { pathOf, queryValues } from "./route.ts";
import type { AccessLogRecord } from "./runtime-config.ts";
import { compileTimeFormat } from "./time-format.ts";

/** What a command operator yields; undefined = nothing. */
export type OperatorValue = Exclude<MetadataValue, null> | undefined;
/** A command operator (`%PROTOCOL%`), compiled. */
export type Operator = (record: AccessLogRecord) => OperatorValue;

/** A value as text; undefined when there is none. */
export function operatorText(value: OperatorValue): string | undefined {
  if (typeof value === "string" || value === undefined) return value;
  return typeof value === "object" ? JSON.stringify(value) : String(value);
}

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
  ...TLS_OPERATORS,
  STREAM_ID: (r) => r.requestHeader("x-request-id"),
  CONNECTION_ID: (r) => r.connectionId,
  UNIQUE_ID: (r) => r.uniqueId?.(),
  UPSTREAM_HOST_NAME: (r) => r.upstreamHost && (r.upstreamHost.hostname || r.upstreamHost.key),
  UPSTREAM_HOST_NAME_WITHOUT_PORT: (r) =>
    r.upstreamHost && (r.upstreamHost.hostname || withoutPort(r.upstreamHost.key)),
  DOWNSTREAM_DIRECT_LOCAL_ADDRESS: (r) => r.downstreamLocalAddress || undefined,
  DOWNSTREAM_DIRECT_LOCAL_ADDRESS_WITHOUT_PORT: (r) => withoutPort(r.downstreamLocalAddress),
  DOWNSTREAM_DIRECT_LOCAL_PORT: (r) => portOf(r.downstreamLocalAddress),
  REQUEST_DURATION: (r) => whole(sinceStart(r, r.requestEndMs)),
  REQUEST_TX_DURATION: (r) => whole(sinceStart(r, requestSentMs(r))),
  RESPONSE_TX_DURATION: (r) => {
    const begin = sinceStart(r, responseStartMs(r));
    return begin === undefined ? undefined : whole(r.durationMs - begin);
  },
  METHOD: (r) => r.method || undefined,
  PROTOCOL: (r) => r.protocol || undefined,
  RESPONSE_CODE: (r) => r.responseCode,
  RESPONSE_FLAGS: (r) => r.responseFlags || "-",
  RESPONSE_FLAGS_LONG: (r) => longResponseFlags(r.responseFlags) || "-",
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
  TRACE_ID: (r) => r.traceId,
  SPAN_ID: (r) => r.spanId,
  ROUTE_NAME: (r) => r.routeName || undefined,
  GRPC_STATUS_NUMBER: (r) => {
    const status = grpcStatus(r);
    return status === undefined ? undefined : Number(status);
  },
};

/**
 * As Envoy: from the trailers, else the head, else what the HTTP status stands for; undefined unless the
 * request is gRPC. What is no number is -1.
 */
function grpcStatus(record: AccessLogRecord): string | undefined {
  if (!record.isGrpc) return undefined;
  const sent = record.responseTrailer("grpc-status") || record.responseHeader("grpc-status");
  if (sent) return /^\d{1,9}$/.test(sent) ? String(Number(sent)) : "-1";
  return record.responseCode === 0 ? undefined : String(grpcStatusOf(record.responseCode));
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
  RESPONSE_CODE_DETAILS: (argument, _, fail) => {
    if (argument === "ALLOW_WHITESPACES") return (r) => r.responseCodeDetails || undefined;
    if (argument) fail("RESPONSE_CODE_DETAILS: only ALLOW_WHITESPACES is known");
    return (r) => r.responseCodeDetails.replaceAll(" ", "_") || undefined;
  },
  REQUESTED_SERVER_NAME: (argument, _, fail) => serverNameOperator(argument ?? "", fail),
  GRPC_STATUS: (argument, _, fail) => grpcStatusOperator(argument ?? "", fail),
  // No filter here keeps state of that kind.
  FILTER_STATE: (argument, _, fail) => {
    if (!argument) fail("FILTER_STATE requires parameters");
    return () => undefined;
  },
  METADATA: (argument, _, fail) => compileMetadataOperator(argument ?? "", fail),
  CLUSTER_METADATA: (argument, _, fail) => compileMetadataOf("CLUSTER", argument ?? "", fail),
  UPSTREAM_METADATA: (argument, _, fail) =>
    compileMetadataOf("UPSTREAM_HOST", argument ?? "", fail),
  COALESCE: (argument, options, fail) => coalesce(argument ?? "", options, fail),
  COMMON_DURATION: (argument, _, fail) => durationOperator(argument ?? "", fail),
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
    return dynamicMetadata(argument ?? "");
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
  if (name === "EMIT_TIME") {
    if (maxLength !== undefined) fail("EMIT_TIME does not allow length to be specified");
    const format = argument ? compileTimeFormat(argument, fail) : formatTimestampMs;
    return (r) => format(options.timeOriginMs + r.startTimeMs + r.durationMs);
  }
  const validity = peerValidity(name);
  if (validity !== undefined) {
    const format = compileTimeFormat(argument || CERTIFICATE_TIME, fail);
    return (r) => {
      const ms = validity(r);
      return ms === undefined ? undefined : format(ms);
    };
  }
  const compile = Object.hasOwn(WITH_ARGUMENT, ALIASES[name] ?? name)
    ? WITH_ARGUMENT[ALIASES[name] ?? name]
    : undefined;
  if (compile === undefined) {
    fail(`command operator %${name}% is not supported`);
    return nothing;
  }
  const found = compile(argument, options, fail);
  if (maxLength === undefined) return found;
  return (record) => {
    const value = found(record);
    return typeof value === "number" ? value : operatorText(value)?.slice(0, maxLength);
  };
}

const CERTIFICATE_TIME = "%Y-%m-%dT%H:%M:%S.000Z";

/** Other names of the same operators. */
const ALIASES: Readonly<Record<string, string>> = {
  REQUEST_HEADER: "REQ",
  RESPONSE_HEADER: "RESP",
  RESPONSE_TRAILER: "TRAILER",
  UPSTREAM_FILTER_STATE: "FILTER_STATE",
};

function whole(ms: number | undefined): number | undefined {
  return ms === undefined ? undefined : Math.trunc(ms);
}

function sinceStart(
  { startTimeMs }: AccessLogRecord,
  atMs: number | undefined,
): number | undefined {
  return atMs === undefined ? undefined : atMs - startTimeMs;
}

/** When the last byte of the request left. */
function requestSentMs({ attemptStartMs, requestEndMs }: AccessLogRecord): number | undefined {
  if (attemptStartMs === undefined || requestEndMs === undefined) return undefined;
  return Math.max(attemptStartMs, requestEndMs);
}

function responseStartMs(r: AccessLogRecord): number | undefined {
  if (r.attemptStartMs === undefined || r.upstreamServiceTimeMs === undefined) return undefined;
  return r.attemptStartMs + r.upstreamServiceTimeMs;
}

const endMs = (r: AccessLogRecord): number => r.startTimeMs + r.durationMs;

/** COMMON_DURATION's moments. */
const MOMENTS: Readonly<Record<string, (record: AccessLogRecord) => number | undefined>> = {
  DS_RX_BEG: (r) => r.startTimeMs,
  DS_RX_END: (r) => r.requestEndMs,
  US_TX_BEG: (r) => r.attemptStartMs,
  US_TX_END: requestSentMs,
  US_RX_BEG: responseStartMs,
  US_RX_END: (r) => (responseStartMs(r) === undefined ? undefined : endMs(r)),
  DS_TX_BEG: responseStartMs,
  DS_TX_END: endMs,
};
const PRECISIONS: Readonly<Record<string, number>> = { ms: 1, us: 1_000, ns: 1_000_000 };

function durationOperator(argument: string, fail: (message: string) => void): Operator {
  const [begin = "", end = "", precision = ""] = argument.split(":");
  const [from, to] = [MOMENTS[begin], MOMENTS[end]];
  const perMs = PRECISIONS[precision];
  if (from === undefined || to === undefined || perMs === undefined) {
    fail(
      `COMMON_DURATION: must be begin:end:precision of ${Object.keys(MOMENTS).join(", ")} and ms, us, ns`,
    );
    return () => undefined;
  }
  return (record) => {
    const [fromMs, toMs] = [from(record), to(record)];
    if (fromMs === undefined || toMs === undefined || toMs < fromMs) return undefined;
    return Math.trunc((toMs - fromMs) * perMs);
  };
}

function serverNameOperator(argument: string, fail: (message: string) => void): Operator {
  const [order = "", which = ""] = argument.split(":");
  if (!["", "SNI_ONLY", "SNI_FIRST", "HOST_FIRST"].includes(order)) {
    fail(`REQUESTED_SERVER_NAME: ${order} is none of SNI_ONLY, SNI_FIRST, HOST_FIRST`);
  }
  if (!["", "ORIG", "HOST", "ORIG_OR_HOST"].includes(which)) {
    fail(`REQUESTED_SERVER_NAME: ${which} is none of ORIG, HOST, ORIG_OR_HOST`);
  }
  const sni: Operator = (r) => r.requestedServerName || undefined;
  const host: Operator = (r) => {
    const original = r.requestHeader("x-envoy-original-host");
    const found = which === "HOST" ? r.authority : original;
    return (found ?? (which === "ORIG" ? undefined : r.authority)) || undefined;
  };
  if (order === "SNI_FIRST") return (r) => sni(r) ?? host(r);
  return order === "HOST_FIRST" ? (r) => host(r) ?? sni(r) : sni;
}

function grpcStatusOperator(argument: string, fail: (message: string) => void): Operator {
  const read = (write: (status: string) => OperatorValue): Operator => {
    return (record) => {
      const status = grpcStatus(record);
      return status === undefined ? undefined : write(status);
    };
  };
  switch (argument) {
    case "":
    case "CAMEL_STRING":
      return read(grpcStatusName);
    case "SNAKE_STRING":
      return read((status) =>
        grpcStatusName(status)
          .replaceAll(/(?<=[a-z])(?=[A-Z])/g, "_")
          .toUpperCase(),
      );
    case "NUMBER":
      return read(Number);
    default:
      fail(`GRPC_STATUS: ${argument} is none of CAMEL_STRING, SNAKE_STRING, NUMBER`);
      return () => undefined;
  }
}

/** The first of several operators that has a value: `{"operators": [name | {command, param, max_length}]}`. */
function coalesce(
  argument: string,
  options: OperatorOptions,
  fail: (message: string) => void,
): Operator {
  const operators: Operator[] = [];
  for (const text of coalesced(argument) ?? [])
    operators.push(compileOperator(text, options, fail));
  if (operators.length === 0) {
    fail('COALESCE requires {"operators": [...]} with names or {command, param, max_length}');
  }
  return (record) => {
    for (const operator of operators) {
      const value = operator(record);
      if (value !== undefined) return value;
    }
    return undefined;
  };
}

function coalesced(argument: string): readonly OperatorText[] | undefined {
  let json: unknown;
  try {
    json = JSON.parse(argument);
  } catch {
    // The caller says what it should have been.
    return undefined;
  }
  if (typeof json !== "object" || json === null || !("operators" in json)) return undefined;
  if (!Array.isArray(json.operators)) return undefined;
  const texts = json.operators.map(operatorTextOf);
  return texts.every((text) => text !== undefined) ? texts : undefined;
}

function operatorTextOf(entry: unknown): OperatorText | undefined {
  if (typeof entry === "string") return { name: entry, argument: undefined, maxLength: undefined };
  if (typeof entry !== "object" || entry === null || !("command" in entry)) return undefined;
  if (typeof entry.command !== "string") return undefined;
  const argument = "param" in entry ? entry.param : undefined;
  const maxLength = "max_length" in entry ? entry.max_length : undefined;
  if (argument !== undefined && typeof argument !== "string") return undefined;
  if (maxLength !== undefined && typeof maxLength !== "number") return undefined;
  return { name: entry.command, argument, maxLength };
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

function withoutPort(address: string | undefined): string | undefined {
  if (!address) return undefined;
  const host = address.slice(0, address.lastIndexOf(":"));
  return host.startsWith("[") ? host.slice(1, -1) : host;
}

function portOf(address: string | undefined): number | undefined {
  return address ? Number(address.slice(address.lastIndexOf(":") + 1)) : undefined;
}
