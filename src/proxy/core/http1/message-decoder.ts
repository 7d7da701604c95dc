import { FIELD_VALUE, HEX } from "./characters.ts";
import {
  type BodyFraming,
  type HeadLimits,
  parseRequestHead,
  parseResponseHead,
  parseTrailers,
  type RequestHead,
  type ResponseHead,
} from "./head-parser.ts";
import type { HeaderBlock } from "./header-block.ts";
import { PROTOCOL_ERRORS, type ProtocolError } from "./protocol-error.ts";

/**
 * Takes the events of one message, in this order: head, any number of data, end. After an error there
 * is nothing more. `bytes` is only valid during the call.
 */
export interface MessageSink<Head> {
  onHead(head: Head): void;
  onData(bytes: Buffer, start: number, end: number): void;
  onEnd(trailers: HeaderBlock | undefined): void;
  onProtocolError(error: ProtocolError): void;
}

/**
 *   head ──► length ──► done ──next()──► head
 *     │  ├─► chunk* ─► trailers ─┘
 *     │  └─► untilClose (end of input)
 *     └────► failed (final)
 */
type State =
  | "head"
  | "length"
  | "chunkSize"
  | "chunkExtension"
  | "chunkSizeLineFeed"
  | "chunkData"
  | "chunkDataEnd"
  | "chunkDataLineFeed"
  | "trailers"
  | "untilClose"
  | "done"
  | "failed";

const CARRIAGE_RETURN = 13;
const LINE_FEED = 10;
/** Chunk extensions carry nothing a proxy needs; more than this in one message is an attack. */
const MAX_EXTENSION_BYTES = 16_384;
/** 13 hexadecimal digits are 2^52: still exact in a double. */
const MAX_CHUNK_SIZE_DIGITS = 13;
/** Empty lines tolerated before a request line (RFC 9112 §2.2 asks for at least one). */
const MAX_LEADING_EMPTY_LINES = 4;

/**
 * One direction of an HTTP/1.1 connection without the I/O: bytes in, events out, one message at a
 * time. It stops at the end of a message until `next()`, so that pipelined messages wait their turn.
 */
abstract class MessageDecoder<Head extends object> {
  protected readonly limits: HeadLimits;
  #state: State = "head";
  /** Bytes of an unfinished head or trailer section. */
  #pending: Buffer | undefined;
  #pendingLength = 0;
  #remaining = 0;
  #chunkSizeDigits = 0;
  #extensionBytes = 0;
  #emptyLines = 0;

  constructor(limits: HeadLimits) {
    this.limits = limits;
  }

  protected abstract parseHead(bytes: Buffer, start: number, end: number): Head | ProtocolError;
  /** The body that follows this head; `skip` = the head is informational and another follows. */
  protected abstract framingFor(head: Head): BodyFraming | "skip";
  /** Whether CRLFs before the head are tolerated. */
  protected abstract readonly toleratesLeadingEmptyLines: boolean;

  /** The message has ended; bytes are left alone until `next()`. */
  get isDone(): boolean {
    return this.#state === "done";
  }

  /** Nothing of the next message has arrived. */
  get isIdle(): boolean {
    return this.#state === "head" && this.#pendingLength === 0;
  }

  get hasFailed(): boolean {
    return this.#state === "failed";
  }

  /** The next message may start. Only legal when the one before is done. */
  next(): void {
    if (this.#state !== "done") throw new TypeError("next() before the end of the message");
    this.#state = "head";
  }

  /** Decodes `bytes[start..end)`; returns the offset of the first byte that was not taken. */
  decode(bytes: Buffer, start: number, end: number, sink: MessageSink<Head>): number {
    let position = start;
    while (position < end) {
      switch (this.#state) {
        case "head":
          position = this.#decodeHead(bytes, position, end, sink);
          break;
        case "length":
        case "chunkData":
          position = this.#decodeCounted(bytes, position, end, sink);
          break;
        case "untilClose":
          sink.onData(bytes, position, end);
          position = end;
          break;
        case "trailers":
          position = this.#decodeTrailers(bytes, position, end, sink);
          break;
        case "done":
        case "failed":
          return position;
        default:
          this.#decodeChunkFraming(bytes[position] ?? 0, sink);
          position += 1;
      }
    }
    return position;
  }

  /** The peer sent its FIN: ends an until-close body, breaks any other. Returns false when broken. */
  endOfInput(sink: MessageSink<Head>): boolean {
    if (this.#state === "untilClose") {
      this.#state = "done";
      sink.onEnd(undefined);
      return true;
    }
    return this.isIdle || this.#state === "done";
  }

  #fail(error: ProtocolError, sink: MessageSink<Head>): void {
    this.#state = "failed";
    this.#pending = undefined;
    this.#pendingLength = 0;
    sink.onProtocolError(error);
  }

  #decodeHead(bytes: Buffer, start: number, end: number, sink: MessageSink<Head>): number {
    let position = start;
    if (this.#pendingLength === 0 && this.toleratesLeadingEmptyLines) {
      while (
        position + 1 < end &&
        bytes[position] === CARRIAGE_RETURN &&
        bytes[position + 1] === LINE_FEED
      ) {
        this.#emptyLines += 1;
        if (this.#emptyLines > MAX_LEADING_EMPTY_LINES) {
          this.#fail(PROTOCOL_ERRORS.requestLine, sink);
          return position;
        }
        position += 2;
      }
      if (position === end) return position;
    }
    if (this.#pendingLength === 0) {
      const headEnd = bytes.indexOf("\r\n\r\n", position, "latin1");
      if (headEnd >= 0 && headEnd + 4 <= end) {
        return this.#finishHead(bytes, position, headEnd + 2, headEnd + 4, sink);
      }
    }
    return this.#accumulate(bytes, position, end, sink);
  }

  /** Keeps the bytes of an unfinished head; finishes it when its end has arrived. */
  #accumulate(bytes: Buffer, start: number, end: number, sink: MessageSink<Head>): number {
    const before = this.#pendingLength;
    const pending = this.#append(bytes, start, end);
    const length = this.#pendingLength;
    // A pending CRLF may turn out to be an empty line before the head.
    if (this.toleratesLeadingEmptyLines && length >= 2 && pending[0] === 13 && pending[1] === 10) {
      this.#pendingLength = 0;
      this.#emptyLines += 1;
      if (this.#emptyLines > MAX_LEADING_EMPTY_LINES) {
        this.#fail(PROTOCOL_ERRORS.requestLine, sink);
        return start;
      }
      return start + Math.max(0, 2 - before);
    }
    const headEnd = pending
      .subarray(0, length)
      .indexOf("\r\n\r\n", Math.max(0, before - 3), "latin1");
    if (headEnd >= 0) {
      this.#pendingLength = 0;
      this.#finishHead(pending, 0, headEnd + 2, headEnd + 4, sink);
      // What followed the head was copied too; hand back its offset in the caller's bytes.
      return start + headEnd + 4 - before;
    }
    const problem = partialHeadProblem(pending, before, length, this.limits.maxHeadBytes);
    if (problem !== undefined) this.#fail(problem, sink);
    return end;
  }

  #append(bytes: Buffer, start: number, end: number): Buffer {
    const length = this.#pendingLength + end - start;
    let pending = this.#pending;
    if (pending === undefined || pending.length < length) {
      const grown = Buffer.allocUnsafe(Math.max(1024, length * 2));
      if (pending !== undefined) pending.copy(grown, 0, 0, this.#pendingLength);
      pending = grown;
      this.#pending = grown;
    }
    bytes.copy(pending, this.#pendingLength, start, end);
    this.#pendingLength = length;
    return pending;
  }

  #finishHead(
    bytes: Buffer,
    start: number,
    end: number,
    after: number,
    sink: MessageSink<Head>,
  ): number {
    this.#pending = undefined;
    this.#emptyLines = 0;
    if (after - start > this.limits.maxHeadBytes) {
      this.#fail(PROTOCOL_ERRORS.headTooLarge, sink);
      return after;
    }
    const head = this.parseHead(bytes, start, end);
    if (isProtocolError(head)) {
      this.#fail(head, sink);
      return after;
    }
    const framing = this.framingFor(head);
    if (framing === "skip") return after;
    this.#extensionBytes = 0;
    switch (framing.kind) {
      case "none":
        this.#state = "done";
        break;
      case "length":
        this.#state = "length";
        this.#remaining = framing.bytes;
        break;
      case "chunked":
        this.#startChunk();
        break;
      default:
        this.#state = "untilClose";
    }
    const ended = this.#state === "done";
    sink.onHead(head);
    if (ended) sink.onEnd(undefined);
    return after;
  }

  #startChunk(): void {
    this.#state = "chunkSize";
    this.#remaining = 0;
    this.#chunkSizeDigits = 0;
  }

  #decodeCounted(bytes: Buffer, start: number, end: number, sink: MessageSink<Head>): number {
    const stop = Math.min(end, start + this.#remaining);
    this.#remaining -= stop - start;
    const isLast = this.#remaining === 0;
    const isMessageEnd = isLast && this.#state === "length";
    if (isLast) this.#state = isMessageEnd ? "done" : "chunkDataEnd";
    sink.onData(bytes, start, stop);
    if (isMessageEnd) sink.onEnd(undefined);
    return stop;
  }

  /** RFC 9112 §7.1, one byte at a time: these bytes are few. */
  #decodeChunkFraming(byte: number, sink: MessageSink<Head>): void {
    switch (this.#state) {
      case "chunkSize":
        this.#decodeChunkSize(byte, sink);
        return;
      case "chunkExtension":
        this.#extensionBytes += 1;
        if (byte === CARRIAGE_RETURN) this.#state = "chunkSizeLineFeed";
        else if (FIELD_VALUE[byte] !== 1 || this.#extensionBytes > MAX_EXTENSION_BYTES) {
          this.#fail(PROTOCOL_ERRORS.chunkExtension, sink);
        }
        return;
      case "chunkSizeLineFeed":
        if (byte !== LINE_FEED) this.#fail(PROTOCOL_ERRORS.chunkSize, sink);
        else this.#state = this.#remaining === 0 ? "trailers" : "chunkData";
        return;
      case "chunkDataEnd":
        if (byte !== CARRIAGE_RETURN) this.#fail(PROTOCOL_ERRORS.chunkSize, sink);
        else this.#state = "chunkDataLineFeed";
        return;
      default:
        if (byte !== LINE_FEED) this.#fail(PROTOCOL_ERRORS.chunkSize, sink);
        else this.#startChunk();
    }
  }

  #decodeChunkSize(byte: number, sink: MessageSink<Head>): void {
    const digit = HEX[byte] ?? 255;
    if (digit !== 255) {
      this.#chunkSizeDigits += 1;
      this.#remaining = this.#remaining * 16 + digit;
      if (this.#chunkSizeDigits > MAX_CHUNK_SIZE_DIGITS)
        this.#fail(PROTOCOL_ERRORS.chunkSize, sink);
    } else if (this.#chunkSizeDigits === 0) {
      this.#fail(PROTOCOL_ERRORS.chunkSize, sink);
    } else if (byte === CARRIAGE_RETURN) {
      this.#state = "chunkSizeLineFeed";
    } else if (byte === 0x3b) {
      this.#state = "chunkExtension";
    } else {
      // Whitespace before ";" too: §7.1.1 allows it, nobody sends it, and parsers disagree about it.
      this.#fail(PROTOCOL_ERRORS.chunkSize, sink);
    }
  }

  #decodeTrailers(bytes: Buffer, start: number, end: number, sink: MessageSink<Head>): number {
    const before = this.#pendingLength;
    const pending = this.#append(bytes, start, end);
    const length = this.#pendingLength;
    if (pending[0] === CARRIAGE_RETURN && length >= 2) {
      if (pending[1] === LINE_FEED) return this.#endMessage(undefined, start + 2 - before, sink);
      this.#fail(PROTOCOL_ERRORS.trailers, sink);
      return end;
    }
    const last = pending.subarray(0, length).indexOf("\r\n\r\n", Math.max(0, before - 3), "latin1");
    if (last < 0) {
      const problem = partialHeadProblem(pending, before, length, this.limits.maxHeadBytes);
      if (problem !== undefined) this.#fail(PROTOCOL_ERRORS.trailers, sink);
      return end;
    }
    const trailers = parseTrailers(pending, 0, last + 2, this.limits);
    if (isProtocolError(trailers)) {
      this.#fail(trailers, sink);
      return end;
    }
    return this.#endMessage(trailers, start + last + 4 - before, sink);
  }

  #endMessage(trailers: HeaderBlock | undefined, after: number, sink: MessageSink<Head>): number {
    this.#pending = undefined;
    this.#pendingLength = 0;
    this.#state = "done";
    sink.onEnd(trailers);
    return after;
  }
}

function isProtocolError(value: object): value is ProtocolError {
  return "details" in value;
}

/** What is already wrong with an unfinished head, so that a peer is told now and not at a timeout. */
function partialHeadProblem(
  bytes: Buffer,
  from: number,
  length: number,
  maxHeadBytes: number,
): ProtocolError | undefined {
  for (let index = from; index < length; index += 1) {
    const byte = bytes[index];
    if (byte === 0) return PROTOCOL_ERRORS.headerValue;
    if (byte === LINE_FEED && bytes[index - 1] !== CARRIAGE_RETURN) {
      return PROTOCOL_ERRORS.bareLineFeed;
    }
    if (index > 0 && bytes[index - 1] === CARRIAGE_RETURN && byte !== LINE_FEED) {
      return PROTOCOL_ERRORS.bareCarriageReturn;
    }
  }
  return length > maxHeadBytes ? PROTOCOL_ERRORS.headTooLarge : undefined;
}

/** Decodes what a client sends. */
export class RequestDecoder extends MessageDecoder<RequestHead> {
  protected override readonly toleratesLeadingEmptyLines = true;

  protected override parseHead(
    bytes: Buffer,
    start: number,
    end: number,
  ): RequestHead | ProtocolError {
    return parseRequestHead(bytes, start, end, this.limits);
  }

  protected override framingFor(head: RequestHead): BodyFraming {
    return head.framing;
  }
}

const NO_BODY: BodyFraming = { kind: "none" };
const UNTIL_CLOSE: BodyFraming = { kind: "untilClose" };

/**
 * Decodes what an upstream sends. Interim responses (1xx) are swallowed, except 101, which is refused
 * unless it was asked for. A tunnel's bytes come as a body that ends with the connection.
 */
export class ResponseDecoder extends MessageDecoder<ResponseHead> {
  protected override readonly toleratesLeadingEmptyLines = false;
  #isHeadRequest = false;
  #tunnel: "upgrade" | "connect" | undefined;

  /** Call before each response: a response to HEAD has no body (RFC 9112 §6.3.1). */
  expect(method: string): void {
    this.#isHeadRequest = method === "HEAD";
    this.#tunnel = undefined;
  }

  /** The request asks for an upgrade (101) or a tunnel (2xx to CONNECT). */
  expectTunnel(kind: "upgrade" | "connect"): void {
    this.#tunnel = kind;
  }

  protected override parseHead(
    bytes: Buffer,
    start: number,
    end: number,
  ): ResponseHead | ProtocolError {
    const head = parseResponseHead(bytes, start, end, this.limits);
    // Without a tunnel nobody asked for it: the request's Upgrade field was not forwarded.
    const isSwitch = "status" in head && "headers" in head && head.status === 101;
    if (isSwitch && this.#tunnel !== "upgrade") {
      return PROTOCOL_ERRORS.statusLine;
    }
    return head;
  }

  protected override framingFor(head: ResponseHead): BodyFraming | "skip" {
    const { status } = head;
    if (status === 101) return UNTIL_CLOSE;
    if (status < 200) return "skip";
    if (this.#tunnel === "connect" && status < 300) return UNTIL_CLOSE;
    if (this.#isHeadRequest || head.status === 204 || head.status === 304) return NO_BODY;
    return head.framing;
  }
}
