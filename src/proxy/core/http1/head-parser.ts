import { FIELD_VALUE, TARGET, TOKEN } from "./characters.ts";
import { HeaderBlock } from "./header-block.ts";
import { PROTOCOL_ERRORS, type ProtocolError } from "./protocol-error.ts";

/** How the bytes after a head end (RFC 9112 §6.3). */
export type BodyFraming =
  | { readonly kind: "none" }
  | { readonly kind: "length"; readonly bytes: number }
  | { readonly kind: "chunked" }
  | { readonly kind: "untilClose" };

/** A request's head, checked. */
export interface RequestHead {
  readonly method: string;
  /** Origin-form (or `*`, or authority-form for CONNECT); an absolute-form target is taken apart. */
  readonly target: string;
  /** The target's authority when it was in absolute-form, else the Host field (RFC 9112 §3.2.2). */
  authority: string;
  /** The scheme of an absolute-form target. */
  readonly scheme: string | undefined;
  readonly headers: HeaderBlock;
  readonly framing: BodyFraming;
  /** `Connection: close` was asked for. */
  readonly close: boolean;
  /** `Expect: 100-continue`. */
  readonly expectsContinue: boolean;
  /** The protocols of an `Upgrade` field that Connection names, or undefined. */
  readonly upgrade: string | undefined;
  /** The client speaks HTTP/1.0: no chunks, no interim answers, and no next request unless asked for. */
  readonly isHttp10?: boolean;
}

/** A response's head, checked. Which body follows also depends on the request. */
export interface ResponseHead {
  readonly status: number;
  /** ` OK`: what follows the status code on the line, the space included. */
  readonly reason: string;
  readonly headers: HeaderBlock;
  /** From the fields alone; the decoder knows about HEAD, 1xx, 204 and 304. */
  readonly framing: BodyFraming;
  readonly close: boolean;
  /** Seconds an idle connection is kept, from `Keep-Alive: timeout=N`; undefined when not said. */
  readonly keepAliveSeconds: number | undefined;
  /** The protocol that a 101 switches to. */
  readonly upgrade?: string | undefined;
}

export interface HeadLimits {
  readonly maxHeadBytes: number;
  readonly maxHeaders: number;
  /** HTTP/1.0 is accepted; without a Host field its requests are for `defaultHost`. */
  readonly http10?: { readonly defaultHost: string | undefined } | undefined;
}

const NO_BODY: BodyFraming = { kind: "none" };
const NO_OPTIONS: readonly string[] = [];
const CHUNKED: BodyFraming = { kind: "chunked" };
const UNTIL_CLOSE: BodyFraming = { kind: "untilClose" };

const CARRIAGE_RETURN = 13;
const LINE_FEED = 10;
const SPACE = 32;
const TAB = 9;
const COLON = 58;

/** What the fields say about framing and the connection, gathered while they are read. */
interface FieldFacts {
  headers: HeaderBlock;
  host: string | undefined;
  contentLength: string | undefined;
  transferEncoding: string | undefined;
  connection: string | undefined;
  upgrade: string | undefined;
  expect: string | undefined;
  keepAlive: string | undefined;
  /** A field of HOP_BY_HOP occurred. */
  hasHopByHop: boolean;
}

/** Fields that concern one connection only (RFC 9110 §7.6.1). */
const HOP_BY_HOP = [
  "connection",
  "keep-alive",
  "proxy-connection",
  "transfer-encoding",
  "upgrade",
  "te",
] as const;
/** A Connection field may not name these: they would vanish and change the meaning of the message. */
const NOT_NOMINABLE: ReadonlySet<string> = new Set([
  "host",
  "content-length",
  "close",
  "keep-alive",
]);

function isError(value: FieldFacts | ProtocolError): value is ProtocolError {
  return "details" in value;
}

/** Reads the field lines of `bytes[start..end)`, each of which ends in CRLF. Every byte is checked. */
function parseFields(
  bytes: Uint8Array,
  start: number,
  end: number,
  base: number,
  text: string,
  maxHeaders: number,
): FieldFacts | ProtocolError {
  const facts: FieldFacts = {
    headers: new HeaderBlock(text),
    host: undefined,
    contentLength: undefined,
    transferEncoding: undefined,
    connection: undefined,
    upgrade: undefined,
    expect: undefined,
    keepAlive: undefined,
    hasHopByHop: false,
  };
  let position = start;
  let count = 0;
  while (position < end) {
    count += 1;
    if (count > maxHeaders) return PROTOCOL_ERRORS.tooManyHeaders;
    const lineStart = position;
    while (TOKEN[bytes[position] ?? 0] === 1) position += 1;
    if (bytes[position] !== COLON || position === lineStart) {
      return nameError(bytes, lineStart, position);
    }
    const name = text.slice(lineStart - base, position - base).toLowerCase();
    const nameEnd = position;
    position += 1;
    while (bytes[position] === SPACE || bytes[position] === TAB) position += 1;
    const valueStart = position;
    while (FIELD_VALUE[bytes[position] ?? 0] === 1) position += 1;
    if (bytes[position] !== CARRIAGE_RETURN) {
      return bytes[position] === LINE_FEED
        ? PROTOCOL_ERRORS.bareLineFeed
        : PROTOCOL_ERRORS.headerValue;
    }
    if (bytes[position + 1] !== LINE_FEED) return PROTOCOL_ERRORS.bareCarriageReturn;
    let valueEnd = position;
    while (
      valueEnd > valueStart &&
      (bytes[valueEnd - 1] === SPACE || bytes[valueEnd - 1] === TAB)
    ) {
      valueEnd -= 1;
    }
    position += 2;
    facts.headers.push(name, lineStart - base, valueStart - base, valueEnd - base, position - base);
    const isOdd = valueStart > nameEnd + 2 || bytes[valueStart - 1] === TAB;
    if (isOdd || valueEnd !== position - 2) facts.headers.rewriteLast();
    const problem = noteField(facts, name, text, valueStart - base, valueEnd - base);
    if (problem !== undefined) return problem;
  }
  return facts;
}

function nameError(bytes: Uint8Array, lineStart: number, position: number): ProtocolError {
  const byte = bytes[position];
  if (position === lineStart && (byte === SPACE || byte === TAB))
    return PROTOCOL_ERRORS.lineFolding;
  if (byte === LINE_FEED) return PROTOCOL_ERRORS.bareLineFeed;
  if (byte === CARRIAGE_RETURN && bytes[position + 1] !== LINE_FEED) {
    return PROTOCOL_ERRORS.bareCarriageReturn;
  }
  return PROTOCOL_ERRORS.headerName;
}

function noteField(
  facts: FieldFacts,
  name: string,
  text: string,
  valueStart: number,
  valueEnd: number,
): ProtocolError | undefined {
  switch (name) {
    case "host":
      if (facts.host !== undefined) return PROTOCOL_ERRORS.host;
      facts.host = text.slice(valueStart, valueEnd);
      return undefined;
    case "content-length": {
      // RFC 9110 §8.6 allows a list of equal lengths; no honest peer sends one, so any second is refused.
      const value = text.slice(valueStart, valueEnd);
      if (facts.contentLength !== undefined) return PROTOCOL_ERRORS.contentLength;
      if (!/^\d{1,15}$/.test(value)) return PROTOCOL_ERRORS.contentLength;
      facts.contentLength = value;
      return undefined;
    }
    case "transfer-encoding":
      if (facts.transferEncoding !== undefined) return PROTOCOL_ERRORS.transferEncoding;
      facts.hasHopByHop = true;
      facts.transferEncoding = text.slice(valueStart, valueEnd);
      if (facts.transferEncoding.toLowerCase() !== "chunked")
        return PROTOCOL_ERRORS.transferEncoding;
      return undefined;
    case "connection": {
      facts.hasHopByHop = true;
      const value = text.slice(valueStart, valueEnd);
      facts.connection = facts.connection === undefined ? value : `${facts.connection},${value}`;
      return undefined;
    }
    case "te":
    case "proxy-connection":
      facts.hasHopByHop = true;
      return undefined;
    case "upgrade":
      facts.hasHopByHop = true;
      facts.upgrade = text.slice(valueStart, valueEnd);
      return undefined;
    case "expect":
      facts.expect = text.slice(valueStart, valueEnd);
      return undefined;
    case "keep-alive":
      facts.hasHopByHop = true;
      facts.keepAlive = text.slice(valueStart, valueEnd);
      return undefined;
    default:
      return undefined;
  }
}

/** Strips what concerns one connection only; returns the lower-case Connection options. */
function stripHopByHop(facts: FieldFacts): readonly string[] {
  if (!facts.hasHopByHop) return NO_OPTIONS;
  const { headers, connection } = facts;
  for (const name of HOP_BY_HOP) headers.remove(name);
  if (connection === undefined) return NO_OPTIONS;
  const options = connection.split(",").map((option) => option.trim().toLowerCase());
  for (const option of options) {
    if (option !== "" && !NOT_NOMINABLE.has(option)) headers.remove(option);
  }
  return options;
}

function framingOf(facts: FieldFacts, otherwise: BodyFraming): BodyFraming | ProtocolError {
  if (facts.transferEncoding !== undefined) {
    // RFC 9112 §6.3.3: both at once is request smuggling or response splitting: refuse.
    return facts.contentLength === undefined ? CHUNKED : PROTOCOL_ERRORS.ambiguousFraming;
  }
  if (facts.contentLength === undefined) return otherwise;
  const bytes = Number(facts.contentLength);
  return bytes === 0 ? NO_BODY : { kind: "length", bytes };
}

/** host [ ":" port ]; reg-name, IPv4 or a bracketed IP literal (RFC 3986 §3.2.2), never userinfo. */
export const AUTHORITY = /^(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9\-._~!$&'()*+;=%]+)(?::\d{0,5})?$/;
const ABSOLUTE_FORM = /^(https?):\/\/([^/?]+)([/?].*)?$/i;

/**
 * Parses the request head `bytes[start..end)`, the empty line excluded. Returns what is wrong instead
 * when it breaks RFC 9112 in a way that two parsers could read differently.
 */
export function parseRequestHead(
  bytes: Buffer,
  start: number,
  end: number,
  limits: HeadLimits,
): RequestHead | ProtocolError {
  const text = bytes.toString("latin1", start, end);
  let position = start;
  while (TOKEN[bytes[position] ?? 0] === 1) position += 1;
  if (bytes[position] !== SPACE || position === start) return lineError(bytes, position, "method");
  const method = text.slice(0, position - start);
  position += 1;
  const targetStart = position;
  while (TARGET[bytes[position] ?? 0] === 1) position += 1;
  if (bytes[position] !== SPACE || position === targetStart) {
    return lineError(bytes, position, "target");
  }
  const rawTarget = text.slice(targetStart - start, position - start);
  const version = text.slice(position - start + 1, position - start + 11);
  const isHttp10 = version === "HTTP/1.0\r\n";
  if (isHttp10 && limits.http10 === undefined) return PROTOCOL_ERRORS.http10;
  if (version !== "HTTP/1.1\r\n" && !isHttp10) {
    return version.startsWith("HTTP/1.1\n")
      ? PROTOCOL_ERRORS.bareLineFeed
      : PROTOCOL_ERRORS.version;
  }
  const facts = parseFields(bytes, position + 11, end, start, text, limits.maxHeaders);
  if (isError(facts)) return facts;
  const framing = framingOf(facts, NO_BODY);
  if ("details" in framing) return framing;
  if (isHttp10) {
    // §6.1: a transfer coding in HTTP/1.0 is faulty framing.
    if (framing.kind === "chunked") return PROTOCOL_ERRORS.transferEncoding;
    if (facts.host === undefined && limits.http10?.defaultHost !== undefined) {
      facts.host = limits.http10.defaultHost;
      facts.headers.add("host", facts.host);
    }
  }
  if (facts.host === undefined || !AUTHORITY.test(facts.host)) return PROTOCOL_ERRORS.host;
  const upgrade = facts.upgrade;
  const options = stripHopByHop(facts);
  const head = {
    method,
    target: rawTarget,
    authority: facts.host,
    scheme: undefined as string | undefined,
    headers: facts.headers,
    framing,
    close: options.includes("close") || (isHttp10 && !options.includes("keep-alive")),
    expectsContinue: !isHttp10 && facts.expect?.toLowerCase() === "100-continue",
    upgrade: !isHttp10 && options.includes("upgrade") ? upgrade : undefined,
    isHttp10,
  };
  return resolveTarget(head);
}

function lineError(
  bytes: Uint8Array,
  position: number,
  expected: "method" | "target",
): ProtocolError {
  if (bytes[position] === LINE_FEED) return PROTOCOL_ERRORS.bareLineFeed;
  if (bytes[position] === CARRIAGE_RETURN) return PROTOCOL_ERRORS.requestLine;
  return PROTOCOL_ERRORS[expected];
}

/** RFC 9112 §3.2: brings the target into origin-form and finds its authority. */
function resolveTarget(
  head: { -readonly [K in keyof RequestHead]: RequestHead[K] },
): RequestHead | ProtocolError {
  const { target, method } = head;
  if (method === "CONNECT") {
    // §3.2.3: the port is part of it.
    if (!AUTHORITY.test(target) || !/:\d+$/.test(target)) return PROTOCOL_ERRORS.target;
    head.authority = target;
    // RFC 9110 §9.3.6: what follows belongs to the tunnel, whatever the fields say.
    head.framing = NO_BODY;
    head.headers.remove("content-length");
    return head;
  }
  if (target.charCodeAt(0) === 47) return head;
  if (target === "*") return method === "OPTIONS" ? head : PROTOCOL_ERRORS.target;
  const match = ABSOLUTE_FORM.exec(target);
  if (match === null || !AUTHORITY.test(match[2] ?? "")) return PROTOCOL_ERRORS.target;
  head.scheme = (match[1] ?? "").toLowerCase();
  head.authority = match[2] ?? "";
  const rest = match[3] ?? "/";
  head.target = rest.startsWith("?") ? `/${rest}` : rest;
  // §3.2.2: the received Host is ignored and replaced by the target's.
  head.headers.set("host", head.authority);
  return head;
}

/** Parses the response head `bytes[start..end)`, the empty line excluded; as strict as for requests. */
export function parseResponseHead(
  bytes: Buffer,
  start: number,
  end: number,
  limits: HeadLimits,
): ResponseHead | ProtocolError {
  const text = bytes.toString("latin1", start, end);
  const lineEnd = text.indexOf("\r\n");
  const line = /^HTTP\/1\.([01]) ([1-9]\d\d)( [\t\x20-\x7e\x80-\xff]*)?$/.exec(
    text.slice(0, lineEnd),
  );
  if (line === null) return PROTOCOL_ERRORS.statusLine;
  const facts = parseFields(bytes, start + lineEnd + 2, end, start, text, limits.maxHeaders);
  if (isError(facts)) return facts;
  const framing = framingOf(facts, UNTIL_CLOSE);
  if ("details" in framing) return framing;
  const isHttp10 = line[1] === "0";
  // §6.1: a server never sends a transfer coding to or as HTTP/1.0.
  if (isHttp10 && framing.kind === "chunked") return PROTOCOL_ERRORS.transferEncoding;
  const { upgrade } = facts;
  const options = stripHopByHop(facts);
  const hint = facts.keepAlive === undefined ? null : /timeout=(\d{1,6})/i.exec(facts.keepAlive);
  return {
    status: Number(line[2]),
    reason: line[3] ?? " ",
    headers: facts.headers,
    framing,
    close: options.includes("close") || (isHttp10 && !options.includes("keep-alive")),
    keepAliveSeconds: hint === null ? undefined : Number(hint[1]),
    upgrade,
  };
}

/** Fields that frame, route or authenticate a message: nobody may believe them in trailers (RFC 9110 §6.5.1). */
export const FORBIDDEN_TRAILERS: ReadonlySet<string> = new Set([
  ...["transfer-encoding", "content-length", "host", "connection", "keep-alive", "te", "upgrade"],
  ...["trailer", "authorization", "content-encoding", "content-type", "content-range"],
  ...["proxy-connection", "set-cookie", "expect", "max-forwards", "cache-control"],
]);

/**
 * Parses the trailer section `bytes[start..end)`. Fields that frame, route or authenticate a message
 * are dropped: nobody may believe them this late (RFC 9110 §6.5.1).
 */
export function parseTrailers(
  bytes: Buffer,
  start: number,
  end: number,
  limits: HeadLimits,
): HeaderBlock | ProtocolError {
  const text = bytes.toString("latin1", start, end);
  const block = new HeaderBlock(text);
  let position = start;
  let count = 0;
  while (position < end) {
    count += 1;
    if (count > limits.maxHeaders) return PROTOCOL_ERRORS.trailers;
    const lineStart = position;
    while (TOKEN[bytes[position] ?? 0] === 1) position += 1;
    if (bytes[position] !== COLON || position === lineStart) return PROTOCOL_ERRORS.trailers;
    const name = text.slice(lineStart - start, position - start).toLowerCase();
    position += 1;
    while (bytes[position] === SPACE || bytes[position] === TAB) position += 1;
    const valueStart = position;
    while (FIELD_VALUE[bytes[position] ?? 0] === 1) position += 1;
    const isLineEnd = bytes[position] === CARRIAGE_RETURN && bytes[position + 1] === LINE_FEED;
    if (!isLineEnd) return PROTOCOL_ERRORS.trailers;
    let valueEnd = position;
    while (
      valueEnd > valueStart &&
      (bytes[valueEnd - 1] === SPACE || bytes[valueEnd - 1] === TAB)
    ) {
      valueEnd -= 1;
    }
    block.push(name, lineStart - start, valueStart - start, valueEnd - start, position + 2 - start);
    if (bytes[valueStart - 1] === TAB || valueEnd !== position) block.rewriteLast();
    position += 2;
  }
  block.removeWhere((name) => FORBIDDEN_TRAILERS.has(name));
  return block;
}
