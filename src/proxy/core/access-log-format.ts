import { formatTimestampMs } from "../../xds/index.ts";
import { grpcStatusName } from "./grpc.ts";
import type { AccessLogRecord } from "./runtime-config.ts";

/** Envoy's default access log format. */
export const DEFAULT_FORMAT =
  '[%START_TIME%] "%REQ(:METHOD)% %REQ(X-ENVOY-ORIGINAL-PATH?:PATH)% %PROTOCOL%" %RESPONSE_CODE% ' +
  "%RESPONSE_FLAGS% %BYTES_RECEIVED% %BYTES_SENT% %DURATION% %RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)% " +
  '"%REQ(X-FORWARDED-FOR)%" "%REQ(USER-AGENT)%" "%REQ(X-REQUEST-ID)%" "%REQ(:AUTHORITY)%" "%UPSTREAM_HOST%"\n';

/** What a command operator yields; undefined = nothing (`-` in text, null in JSON). */
type Value = string | number | undefined;
/** How records become lines. */
export interface FormatOptions {
  readonly omitEmpty: boolean;
  /** Milliseconds since the epoch at `performance.now()` 0. */
  readonly timeOriginMs: number;
}
type Operator = (record: AccessLogRecord) => Value;

const OPERATORS: Readonly<Record<string, Operator>> = {
  METHOD: (r) => r.method,
  PROTOCOL: (r) => r.protocol,
  RESPONSE_CODE: (r) => r.responseCode,
  RESPONSE_FLAGS: (r) => r.responseFlags,
  RESPONSE_CODE_DETAILS: (r) => r.responseCodeDetails.replaceAll(" ", "_"),
  CONNECTION_TERMINATION_DETAILS: () => undefined,
  BYTES_RECEIVED: (r) => r.bytesReceived,
  BYTES_SENT: (r) => r.bytesSent,
  DURATION: (r) => Math.round(r.durationMs),
  RESPONSE_DURATION: (r) => r.upstreamServiceTimeMs && Math.round(r.upstreamServiceTimeMs),
  UPSTREAM_HOST: (r) => r.upstreamHost?.key,
  UPSTREAM_CLUSTER: (r) => r.upstreamCluster?.altStatName,
  UPSTREAM_CLUSTER_RAW: (r) => r.upstreamCluster?.name,
  UPSTREAM_LOCAL_ADDRESS: (r) => r.upstreamLocalAddress,
  UPSTREAM_TRANSPORT_FAILURE_REASON: (r) => r.upstreamTransportFailureReason,
  UPSTREAM_REQUEST_ATTEMPT_COUNT: (r) => r.attemptCount,
  DOWNSTREAM_LOCAL_ADDRESS: (r) => r.downstreamLocalAddress,
  DOWNSTREAM_REMOTE_ADDRESS: (r) => r.downstreamRemoteAddress,
  DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT: (r) => withoutPort(r.downstreamRemoteAddress),
  DOWNSTREAM_DIRECT_REMOTE_ADDRESS: (r) => r.downstreamRemoteAddress,
  DOWNSTREAM_PEER_URI_SAN: (r) => r.downstreamPeerPrincipal,
  REQUESTED_SERVER_NAME: (r) => r.requestedServerName,
  ROUTE_NAME: (r) => r.routeName,
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

const REQUEST_PSEUDO: Readonly<Record<string, Operator>> = {
  ":method": (r) => r.method,
  ":path": (r) => r.path,
  ":authority": (r) => r.authority,
  "x-envoy-original-path": (r) => r.originalPath ?? r.requestHeader("x-envoy-original-path"),
};

const RESPONSE_PSEUDO: Readonly<Record<string, Operator>> = {
  ":status": (r) => r.responseCode,
  "x-envoy-upstream-service-time": (r) =>
    r.upstreamServiceTimeMs === undefined ? undefined : Math.round(r.upstreamServiceTimeMs),
};

/** Compiles a text format; empty values print as `-`. `fail` is told of unknown operators. */
export function compileTextFormat(
  format: string,
  timeOriginMs: number,
  fail: (message: string) => void,
): (record: AccessLogRecord) => string {
  const parts = parse(format, { omitEmpty: false, timeOriginMs }, fail);
  return (record) => {
    let line = "";
    for (const part of parts) {
      if (typeof part === "string") line += part;
      else line += text(part(record));
    }
    return line;
  };
}

/**
 * Compiles a JSON format: a value that is exactly one operator keeps its type and is null when
 * empty; anything else is text. Keys are sorted, as Envoy writes them. One line per record.
 */
export function compileJsonFormat(
  format: Readonly<Record<string, unknown>>,
  options: FormatOptions,
  fail: (message: string) => void,
): (record: AccessLogRecord) => string {
  const render = compileJsonObject(format, options, fail);
  return (record) => `${JSON.stringify(render(record))}\n`;
}

type JsonRender = (record: AccessLogRecord) => unknown;

function compileJsonObject(
  format: Readonly<Record<string, unknown>>,
  options: FormatOptions,
  fail: (message: string) => void,
): JsonRender {
  const fields = Object.keys(format)
    .sort()
    .map((key) => [key, compileJsonValue(format[key], options, fail)] as const);
  return (record) => {
    const out: Record<string, unknown> = {};
    for (const [key, render] of fields) {
      const value = render(record);
      if (value !== null || !options.omitEmpty) out[key] = value;
    }
    return out;
  };
}

function compileJsonValue(
  value: unknown,
  options: FormatOptions,
  fail: (message: string) => void,
): JsonRender {
  if (Array.isArray(value)) {
    const items = value.map((item) => compileJsonValue(item, options, fail));
    return (record) => items.map((render) => render(record));
  }
  if (typeof value === "object" && value !== null) {
    return compileJsonObject(value as Readonly<Record<string, unknown>>, options, fail);
  }
  if (typeof value !== "string") return () => value;
  const parts = parse(value, options, fail);
  const only = parts[0];
  if (parts.length === 1 && typeof only === "function") {
    return (record) => {
      const single = only(record);
      return single === undefined || single === "" ? null : single;
    };
  }
  return (record) => parts.map((p) => (typeof p === "string" ? p : text(p(record)))).join("");
}

function text(value: Value): string {
  return value === undefined || value === "" ? "-" : String(value);
}

function parse(
  format: string,
  options: FormatOptions,
  fail: (message: string) => void,
): (string | Operator)[] {
  const parts: (string | Operator)[] = [];
  const pattern = /%%|%([A-Z_0-9]+)(?:\(([^)]*)\))?(?::(\d+))?%/g;
  let end = 0;
  for (const match of format.matchAll(pattern)) {
    literalPart(format.slice(end, match.index), parts, fail);
    end = match.index + match[0].length;
    if (match[0] === "%%") parts.push("%");
    else parts.push(operator(match, options, fail));
  }
  literalPart(format.slice(end), parts, fail);
  return parts;
}

function literalPart(
  literal: string,
  parts: (string | Operator)[],
  fail: (message: string) => void,
): void {
  if (literal.includes("%")) fail(`incorrect command operator in ${JSON.stringify(literal)}`);
  if (literal !== "") parts.push(literal);
}

function operator(
  match: RegExpExecArray,
  options: FormatOptions,
  fail: (message: string) => void,
): Operator {
  const [, name = "", argument, length] = match;
  const found = resolve(name, argument, options);
  if (found === undefined) {
    fail(`command operator %${name}% is not supported`);
    return () => undefined;
  }
  if (length === undefined) return found;
  const max = Number(length);
  return (record) => {
    const value = found(record);
    return typeof value === "string" ? value.slice(0, max) : value;
  };
}

function resolve(
  name: string,
  argument: string | undefined,
  options: FormatOptions,
): Operator | undefined {
  if (name === "REQ") {
    return headerOperator(argument ?? "", REQUEST_PSEUDO, (r, key) => r.requestHeader(key));
  }
  if (name === "RESP") {
    return headerOperator(argument ?? "", RESPONSE_PSEUDO, (r, key) => r.responseHeader(key));
  }
  if (name === "TRAILER") {
    return headerOperator(argument ?? "", {}, (r, key) => r.responseTrailer(key));
  }
  if (name === "START_TIME") {
    if (argument !== undefined) return undefined;
    return (r) => formatTimestampMs(options.timeOriginMs + r.startTimeMs);
  }
  return Object.hasOwn(OPERATORS, name) ? OPERATORS[name] : undefined;
}

/** `X?Y`: header X, or Y when X is absent. */
function headerOperator(
  argument: string,
  pseudo: Readonly<Record<string, Operator>>,
  read: (record: AccessLogRecord, name: string) => string | undefined,
): Operator {
  const [first = "", second] = argument.split("?").map((name) => name.toLowerCase());
  const one = (name: string): Operator => {
    const special = pseudo[name];
    return special ?? ((record) => read(record, name));
  };
  const primary = one(first);
  if (second === undefined) return primary;
  const alternative = one(second);
  return (record) => {
    const value = primary(record);
    return value === undefined || value === "" ? alternative(record) : value;
  };
}

function withoutPort(address: string): string {
  const colon = address.lastIndexOf(":");
  return colon === -1 ? address : address.slice(0, colon);
}
