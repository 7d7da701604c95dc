import type { Socket } from "node:net";
import type { HeadLimits } from "../core/http1/head-parser.ts";
import type { HeaderBlock } from "../core/http1/header-block.ts";
import {
  ConnectionError,
  DEFAULT_MAX_FRAME_BYTES,
  DEFAULT_WINDOW_BYTES,
  ERROR,
  FLAG,
  FRAME,
  MAX_WINDOW_BYTES,
  SETTING,
} from "../core/http2/frame.ts";
import { FrameReader, type FrameSink } from "../core/http2/frame-reader.ts";
import { CompressionError, type HeaderField, HpackDecoder } from "../core/http2/hpack-decoder.ts";
import { HpackEncoder } from "../core/http2/hpack-encoder.ts";
import type { Http2Options } from "../core/runtime-config.ts";
import { FrameOutput } from "./frame-output.ts";
import type { Http2Stream } from "./stream.ts";

const HEADER_TABLE_BYTES = 4096;
/** Frames that only answer the peer's, waiting because it does not read (Envoy's default). */
const MAX_WAITING_CONTROL_FRAMES = 1000;
/** DATA frames in a row with neither bytes nor an end (Envoy's default is 1). */
const MAX_EMPTY_FRAMES = 10;
/** Envoy: max_inbound_priority_frames_per_stream, max_inbound_window_update_frames_per_data_frame_sent. */
const PRIORITY_FRAMES_PER_STREAM = 100;
const WINDOW_UPDATES_PER_DATA_FRAME = 10;
/** Streams that we reset lately: what the peer had sent by then is no fault of its own. */
const MAX_REMEMBERED_RESETS = 256;
/** Header blocks in more pieces than this serve no honest purpose (CVE-2024-27316). */
const MAX_CONTINUATIONS = 64;

interface HeaderFrame {
  readonly streamId: number;
  readonly endStream: boolean;
}

/**
 * One HTTP/2 connection, either end (RFC 9113): frames in and out, settings, windows, the limits that
 * keep a hostile peer cheap. What a stream means is up to the subclass.
 */
export abstract class Http2Connection implements FrameSink {
  readonly socket: Socket;
  readonly output: FrameOutput;
  /** The window that each of our streams begins with. */
  readonly initialWindowBytes: number;
  /** What the peer takes on the whole connection. */
  sendWindow = DEFAULT_WINDOW_BYTES;
  peerInitialWindowBytes = DEFAULT_WINDOW_BYTES;
  peerMaxFrameBytes = DEFAULT_MAX_FRAME_BYTES;
  protected readonly streams = new Map<number, Http2Stream>();
  protected peerMaxConcurrentStreams = Number.POSITIVE_INFINITY;
  /** The highest stream of the peer that we took up. */
  protected lastPeerStreamId = 0;
  protected isGoingAway = false;
  readonly #reader = new FrameReader();
  readonly #decoder = new HpackDecoder(HEADER_TABLE_BYTES);
  readonly #encoder = new HpackEncoder();
  readonly #maxBlockBytes: number;
  readonly #connectionWindowBytes: number;
  #receiveWindow: number;
  #uncredited = 0;
  readonly #waitingForWindow = new Set<Http2Stream>();
  readonly #reset = new Set<number>();
  /** The stream of the DATA frame that is being read. */
  #dataStream: Http2Stream | undefined;
  #touched: Http2Stream[] = [];
  /** A header block whose END_HEADERS has not come. */
  #headerFrame: HeaderFrame | undefined;
  #block: Buffer[] = [];
  #blockBytes = 0;
  #hasSettings = false;
  #isOver = false;
  #controlFrames = 0;
  #emptyFrames = 0;
  #priorityFrames = 0;
  #windowUpdates = 0;
  #dataFramesSent = 0;
  #streamsOpened = 0;
  #continuations = 0;
  /** Why the connection ended, for those who wait on it. */
  protected closeReason = "";

  constructor(socket: Socket, options: Http2Options, limits: HeadLimits) {
    this.socket = socket;
    this.output = new FrameOutput(socket);
    this.initialWindowBytes = options.initialStreamWindowBytes;
    this.#connectionWindowBytes = options.initialConnectionWindowBytes;
    this.#receiveWindow = DEFAULT_WINDOW_BYTES;
    // Compressed it can only be smaller, but for a few bytes per field.
    this.#maxBlockBytes = limits.maxHeadBytes + 16_384;
    socket.setNoDelay(true);
    socket.on("drain", () => this.#onDrain());
    socket.on("error", (error) => {
      if (this.closeReason === "") this.closeReason = error.message;
      socket.destroy();
    });
    socket.on("close", () => this.#onClose());
  }

  /** Sends our SETTINGS and opens the connection's window. */
  protected start(settings: readonly (readonly [id: number, value: number])[]): void {
    this.output.frame(settings.length * 6, FRAME.settings, 0, 0);
    for (const [id, value] of settings) {
      this.output.byte(id >> 8);
      this.output.byte(id & 0xff);
      this.output.uint32(value);
    }
    const more = this.#connectionWindowBytes - DEFAULT_WINDOW_BYTES;
    if (more > 0) {
      this.writeWindowUpdate(0, more);
      this.#receiveWindow += more;
    }
  }

  /** A frame or a header block has begun and not ended. */
  protected get isMidFrame(): boolean {
    return !this.#reader.isIdle || this.#headerFrame !== undefined;
  }

  get isOver(): boolean {
    return this.#isOver || this.socket.destroyed;
  }

  /** Reads what the socket brought. */
  protected read(bytes: Buffer, start: number, end: number): void {
    if (this.#isOver) return;
    try {
      this.#reader.read(bytes, start, end, this);
    } catch (error) {
      if (error instanceof ConnectionError) this.fail(error.code, error.message);
      else if (error instanceof CompressionError) this.fail(ERROR.compressionError, error.message);
      else throw error;
      return;
    }
    const touched = this.#touched;
    if (touched.length === 0) return;
    this.#touched = [];
    for (const stream of touched) stream.onReadEnd();
  }

  // ── for streams ──────────────────────────────────────────────────────────

  waitForWindow(stream: Http2Stream): void {
    this.#waitingForWindow.add(stream);
  }

  dataFrameSent(): void {
    this.#dataFramesSent += 1;
  }

  writeWindowUpdate(streamId: number, bytes: number): void {
    if (this.#isOver) return;
    this.output.frame(4, FRAME.windowUpdate, 0, streamId);
    this.output.uint32(bytes);
  }

  /** Writes a header block, in CONTINUATION frames where it is long; `fill` encodes its fields. */
  protected writeHeaders(
    streamId: number,
    endStream: boolean,
    fill: (encoder: HpackEncoder, output: FrameOutput) => void,
  ): void {
    const { output } = this;
    const position = output.frame(0, FRAME.headers, 0, streamId);
    const encoder = this.#encoder;
    encoder.begin(output);
    fill(encoder, output);
    const length = output.lengthSince(position) - 9;
    const end = endStream ? FLAG.endStream : 0;
    if (length <= this.peerMaxFrameBytes) {
      output.patch(position, length, end | FLAG.endHeaders);
      return;
    }
    const block = Buffer.from(output.unsentSince(position + 9));
    output.truncate(position);
    for (let from = 0; from < length; from += this.peerMaxFrameBytes) {
      const to = Math.min(length, from + this.peerMaxFrameBytes);
      const flags = (from === 0 ? end : 0) | (to === length ? FLAG.endHeaders : 0);
      const type = from === 0 ? FRAME.headers : FRAME.continuation;
      output.frame(to - from, type, flags, streamId);
      output.bytes(block, from, to);
    }
  }

  writeTrailers(streamId: number, trailers: HeaderBlock): void {
    this.writeHeaders(streamId, true, (encoder, output) => {
      trailers.forEach((name, value) => {
        encoder.field(output, name, value);
      });
    });
  }

  /** Our side of a stream has ended; with the peer's it is over. */
  localEnded(stream: Http2Stream): void {
    if (stream.isRemoteEnded) this.forget(stream);
  }

  /** Ends a stream at once. What it waited to send is dropped. */
  resetStream(stream: Http2Stream, code: number): void {
    stream.stopSending();
    if (!this.streams.has(stream.id)) return;
    this.#writeReset(stream.id, code);
    this.forget(stream);
  }

  protected addStream(stream: Http2Stream): void {
    this.streams.set(stream.id, stream);
    this.#streamsOpened += 1;
  }

  protected forget(stream: Http2Stream): void {
    if (!this.streams.delete(stream.id)) return;
    this.#waitingForWindow.delete(stream);
    if (this.#dataStream === stream) this.#dataStream = undefined;
    this.onStreamClosed(stream);
  }

  // ── what subclasses say and hear ─────────────────────────────────────────

  /** Decodes a header block; must be called for every block, the table changes with it. */
  protected decodeBlock(
    bytes: Buffer,
    start: number,
    end: number,
    onField: (field: HeaderField) => void,
  ): void {
    this.#decoder.decode(bytes, start, end, onField);
  }

  /** A whole header block has come, for whichever stream. */
  protected abstract onHeaderBlock(
    streamId: number,
    endStream: boolean,
    bytes: Buffer,
    start: number,
    end: number,
  ): void;
  /** A stream that was never opened: neither by us nor by the peer. */
  protected abstract isIdleStream(streamId: number): boolean;
  protected abstract onGoaway(lastStreamId: number, code: number): void;
  protected abstract onSettings(): void;
  protected abstract onPingAck(): void;
  protected abstract onStreamClosed(stream: Http2Stream): void;
  /** The connection broke a rule: counted before it ends. */
  protected abstract onViolation(): void;
  /** The socket is closed; streams have been told. */
  protected abstract onClosed(): void;

  protected writeGoaway(lastStreamId: number, code: number, debug = ""): void {
    this.output.frame(8 + debug.length, FRAME.goaway, 0, 0);
    this.output.uint32(lastStreamId);
    this.output.uint32(code);
    this.output.latin1(debug);
  }

  protected writePing(): void {
    this.output.frame(8, FRAME.ping, 0, 0);
    this.output.uint32(0);
    this.output.uint32(0);
  }

  /** The peer broke the protocol: says so and ends the connection. */
  fail(code: number, reason: string): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.closeReason = reason;
    this.onViolation();
    this.writeGoaway(this.lastPeerStreamId, code, reason);
    this.output.flush();
    this.#loseStreams();
    this.socket.end();
    // Reading on would only feed a peer that broke the rules.
    this.socket.destroySoon();
  }

  /** Says goodbye; what was written goes out. */
  protected close(code: number): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.writeGoaway(this.lastPeerStreamId, code);
    this.output.flush();
    this.socket.end();
  }

  // ── frames ───────────────────────────────────────────────────────────────

  onDataStart(streamId: number, frameBytes: number, endStream: boolean): void {
    if (this.#isOver) return;
    this.#expectOrder(FRAME.data, streamId);
    if (streamId === 0) throw new ConnectionError(ERROR.protocolError, "DATA on stream 0");
    this.#receiveWindow -= frameBytes;
    if (this.#receiveWindow < 0) {
      throw new ConnectionError(ERROR.flowControlError, "connection window exceeded");
    }
    this.#countEmpty(frameBytes, endStream);
    const stream = this.streams.get(streamId);
    this.#dataStream = undefined;
    if (stream === undefined) {
      this.#onStray(streamId, "DATA");
      return;
    }
    if (stream.isRemoteEnded) {
      this.#streamError(stream, ERROR.streamClosed);
      return;
    }
    stream.receiveWindow -= frameBytes;
    if (stream.receiveWindow < 0) {
      this.#streamError(stream, ERROR.flowControlError);
      return;
    }
    this.#dataStream = stream;
  }

  onData(
    _streamId: number,
    bytes: Buffer,
    start: number,
    end: number,
    windowBytes: number,
    endStream: boolean,
  ): void {
    if (this.#isOver) return;
    this.#uncredited += windowBytes;
    if (this.#uncredited * 2 >= this.#connectionWindowBytes) {
      this.#receiveWindow += this.#uncredited;
      this.writeWindowUpdate(0, this.#uncredited);
      this.#uncredited = 0;
    }
    const stream = this.#dataStream;
    if (stream === undefined) return;
    const remaining = stream.remainingContentBytes;
    if (remaining !== undefined) {
      stream.remainingContentBytes = remaining - (end - start);
      // §8.1.1: a body that is not as long as announced is malformed.
      if (remaining < end - start || (endStream && remaining !== end - start)) {
        this.#streamError(stream, ERROR.protocolError);
        return;
      }
    }
    this.#touched.push(stream);
    if (end > start) stream.onBody(bytes, start, end);
    if (endStream) {
      this.#remoteEnded(stream, undefined);
      return;
    }
    stream.received(windowBytes);
  }

  /** Has the stream told when this read is over. */
  touch(stream: Http2Stream): void {
    this.#touched.push(stream);
  }

  /** The peer's side of a stream has ended. */
  protected remoteEnded(stream: Http2Stream, trailers: HeaderBlock | undefined): void {
    const { remainingContentBytes } = stream;
    if (remainingContentBytes !== undefined && remainingContentBytes > 0) {
      this.#streamError(stream, ERROR.protocolError);
      return;
    }
    this.#touched.push(stream);
    this.#remoteEnded(stream, trailers);
  }

  #remoteEnded(stream: Http2Stream, trailers: HeaderBlock | undefined): void {
    stream.isRemoteEnded = true;
    stream.onRemoteEnd(trailers);
    if (stream.isLocalEnded) this.forget(stream);
  }

  onFrame(
    type: number,
    flags: number,
    streamId: number,
    bytes: Buffer,
    start: number,
    end: number,
  ): void {
    if (this.#isOver) return;
    this.#expectOrder(type, streamId);
    switch (type) {
      case FRAME.headers:
        this.#onHeaders(flags, streamId, bytes, start, end);
        return;
      case FRAME.continuation:
        this.#onContinuation(flags, bytes, start, end);
        return;
      case FRAME.windowUpdate:
        this.#onWindowUpdate(streamId, bytes, start, end);
        return;
      case FRAME.settings:
        this.#onSettings(flags, streamId, bytes, start, end);
        return;
      case FRAME.ping:
        this.#onPing(flags, streamId, bytes, start, end);
        return;
      case FRAME.rstStream:
        this.#onReset(streamId, bytes, start, end);
        return;
      case FRAME.goaway:
        this.#onGoaway(streamId, bytes, start, end);
        return;
      case FRAME.priority:
        this.#onPriority(streamId, bytes, start, end);
        return;
      case FRAME.pushPromise:
        // §8.4: clients never push, and we told servers not to.
        throw new ConnectionError(ERROR.protocolError, "PUSH_PROMISE");
      default:
        // §5.5: unknown types are ignored; a flood of them counts like any empty frame.
        this.#countEmpty(end - start, false);
    }
  }

  /** SETTINGS comes first; a header block is not interrupted (§3.4, §6.10). */
  #expectOrder(type: number, streamId: number): void {
    if (!this.#hasSettings && type !== FRAME.settings) {
      throw new ConnectionError(ERROR.protocolError, "the first frame is not SETTINGS");
    }
    const open = this.#headerFrame;
    const isContinuation = type === FRAME.continuation;
    if (open === undefined && !isContinuation) return;
    if (open === undefined || !isContinuation || open.streamId !== streamId) {
      throw new ConnectionError(ERROR.protocolError, "header block interrupted or not begun");
    }
  }

  #countEmpty(frameBytes: number, endStream: boolean): void {
    if (frameBytes > 0 || endStream) {
      this.#emptyFrames = 0;
      return;
    }
    this.#emptyFrames += 1;
    if (this.#emptyFrames > MAX_EMPTY_FRAMES) {
      throw new ConnectionError(ERROR.enhanceYourCalm, "too many empty frames");
    }
  }

  /** A frame on a stream that is not open. */
  #onStray(streamId: number, what: string): void {
    if (this.isIdleStream(streamId)) {
      throw new ConnectionError(ERROR.protocolError, `${what} on an idle stream`);
    }
    if (this.#reset.has(streamId)) return;
    this.#writeReset(streamId, ERROR.streamClosed);
  }

  #onHeaders(flags: number, streamId: number, bytes: Buffer, start: number, end: number): void {
    if (streamId === 0) throw new ConnectionError(ERROR.protocolError, "HEADERS on stream 0");
    let from = start;
    let to = end;
    if ((flags & FLAG.padded) !== 0) {
      if (from === to)
        throw new ConnectionError(ERROR.frameSizeError, "HEADERS without pad length");
      to -= bytes[from] ?? 0;
      from += 1;
    }
    if ((flags & FLAG.priority) !== 0) {
      if (to - from < 5)
        throw new ConnectionError(ERROR.frameSizeError, "HEADERS without priority");
      const dependency = bytes.readUInt32BE(from) & 0x7fffffff;
      if (dependency === streamId) {
        throw new ConnectionError(ERROR.protocolError, "a stream depends on itself");
      }
      from += 5;
    }
    if (to < from) throw new ConnectionError(ERROR.protocolError, "padding longer than its frame");
    const endStream = (flags & FLAG.endStream) !== 0;
    if ((flags & FLAG.endHeaders) !== 0) {
      this.onHeaderBlock(streamId, endStream, bytes, from, to);
      return;
    }
    this.#headerFrame = { streamId, endStream };
    this.#block = [Buffer.from(bytes.subarray(from, to))];
    this.#blockBytes = to - from;
    this.#continuations = 0;
  }

  #onContinuation(flags: number, bytes: Buffer, start: number, end: number): void {
    const open = this.#headerFrame;
    if (open === undefined) return;
    this.#block.push(Buffer.from(bytes.subarray(start, end)));
    this.#blockBytes += end - start;
    this.#continuations += 1;
    if (this.#blockBytes > this.#maxBlockBytes || this.#continuations > MAX_CONTINUATIONS) {
      throw new ConnectionError(ERROR.enhanceYourCalm, "header block too large");
    }
    if ((flags & FLAG.endHeaders) === 0) return;
    const block = Buffer.concat(this.#block);
    this.#block = [];
    this.#headerFrame = undefined;
    this.onHeaderBlock(open.streamId, open.endStream, block, 0, block.length);
  }

  /** What to do with a header block on a stream that is closed: §5.1. */
  protected onStrayHeaders(streamId: number): void {
    if (this.#reset.has(streamId)) return;
    throw new ConnectionError(ERROR.streamClosed, "HEADERS on a closed stream");
  }

  #onWindowUpdate(streamId: number, bytes: Buffer, start: number, end: number): void {
    if (end - start !== 4) throw new ConnectionError(ERROR.frameSizeError, "WINDOW_UPDATE size");
    const increment = bytes.readUInt32BE(start) & 0x7fffffff;
    this.#windowUpdates += 1;
    const allowed =
      5 + 2 * (this.#streamsOpened + WINDOW_UPDATES_PER_DATA_FRAME * this.#dataFramesSent);
    if (this.#windowUpdates > allowed + 1000) {
      throw new ConnectionError(ERROR.enhanceYourCalm, "too many WINDOW_UPDATE frames");
    }
    if (streamId === 0) {
      if (increment === 0) throw new ConnectionError(ERROR.protocolError, "window increment 0");
      this.sendWindow += increment;
      if (this.sendWindow > MAX_WINDOW_BYTES) {
        throw new ConnectionError(ERROR.flowControlError, "connection window overflow");
      }
      this.#flushWaiting();
      return;
    }
    const stream = this.streams.get(streamId);
    if (stream === undefined) {
      if (this.isIdleStream(streamId)) {
        throw new ConnectionError(ERROR.protocolError, "WINDOW_UPDATE on an idle stream");
      }
      return;
    }
    if (increment === 0) {
      this.#streamError(stream, ERROR.protocolError);
      return;
    }
    stream.sendWindow += increment;
    if (stream.sendWindow > MAX_WINDOW_BYTES) {
      this.#streamError(stream, ERROR.flowControlError);
      return;
    }
    if (stream.isWaiting) this.#flushStream(stream);
  }

  #flushStream(stream: Http2Stream): void {
    stream.flushPending();
    if (!stream.isWaiting) this.#waitingForWindow.delete(stream);
  }

  #flushWaiting(): void {
    for (const stream of [...this.#waitingForWindow]) {
      if (this.sendWindow <= 0) return;
      // To the end of the queue, so that one long body does not starve the others.
      this.#waitingForWindow.delete(stream);
      this.#waitingForWindow.add(stream);
      this.#flushStream(stream);
    }
  }

  #onSettings(flags: number, streamId: number, bytes: Buffer, start: number, end: number): void {
    if (streamId !== 0) throw new ConnectionError(ERROR.protocolError, "SETTINGS on a stream");
    const isAck = (flags & FLAG.ack) !== 0;
    if (isAck) {
      if (end !== start)
        throw new ConnectionError(ERROR.frameSizeError, "SETTINGS ACK with payload");
      if (!this.#hasSettings) {
        throw new ConnectionError(ERROR.protocolError, "the first frame is not SETTINGS");
      }
      return;
    }
    if ((end - start) % 6 !== 0) throw new ConnectionError(ERROR.frameSizeError, "SETTINGS size");
    this.#hasSettings = true;
    for (let at = start; at < end; at += 6) {
      this.#applySetting(bytes.readUInt16BE(at), bytes.readUInt32BE(at + 2));
    }
    this.#control();
    this.output.frame(0, FRAME.settings, FLAG.ack, 0);
    this.onSettings();
  }

  #applySetting(id: number, value: number): void {
    switch (id) {
      case SETTING.headerTableSize:
        this.#encoder.setMaxTableBytes(value);
        return;
      case SETTING.enablePush:
        if (value > 1) throw new ConnectionError(ERROR.protocolError, "ENABLE_PUSH");
        return;
      case SETTING.maxConcurrentStreams:
        this.peerMaxConcurrentStreams = value;
        return;
      case SETTING.initialWindowSize:
        this.#applyInitialWindow(value);
        return;
      case SETTING.maxFrameSize:
        if (value < DEFAULT_MAX_FRAME_BYTES || value > 16_777_215) {
          throw new ConnectionError(ERROR.protocolError, "MAX_FRAME_SIZE");
        }
        // Larger frames would only make streams wait longer for each other.
        this.peerMaxFrameBytes = DEFAULT_MAX_FRAME_BYTES;
        return;
      default:
    }
  }

  /** §6.9.2: changes every stream's window by the difference. */
  #applyInitialWindow(value: number): void {
    if (value > MAX_WINDOW_BYTES) {
      throw new ConnectionError(ERROR.flowControlError, "INITIAL_WINDOW_SIZE");
    }
    const difference = value - this.peerInitialWindowBytes;
    this.peerInitialWindowBytes = value;
    for (const stream of [...this.streams.values()]) {
      stream.sendWindow += difference;
      if (stream.sendWindow > MAX_WINDOW_BYTES) {
        throw new ConnectionError(ERROR.flowControlError, "stream window overflow");
      }
      if (difference > 0 && stream.isWaiting) this.#flushStream(stream);
    }
  }

  #onPing(flags: number, streamId: number, bytes: Buffer, start: number, end: number): void {
    if (streamId !== 0) throw new ConnectionError(ERROR.protocolError, "PING on a stream");
    if (end - start !== 8) throw new ConnectionError(ERROR.frameSizeError, "PING size");
    if ((flags & FLAG.ack) !== 0) {
      this.onPingAck();
      return;
    }
    this.#control();
    this.output.frame(8, FRAME.ping, FLAG.ack, 0);
    this.output.bytes(bytes, start, end);
  }

  #onReset(streamId: number, bytes: Buffer, start: number, end: number): void {
    if (streamId === 0) throw new ConnectionError(ERROR.protocolError, "RST_STREAM on stream 0");
    if (end - start !== 4) throw new ConnectionError(ERROR.frameSizeError, "RST_STREAM size");
    const stream = this.streams.get(streamId);
    if (stream === undefined) {
      if (this.isIdleStream(streamId)) {
        throw new ConnectionError(ERROR.protocolError, "RST_STREAM on an idle stream");
      }
      return;
    }
    const code = bytes.readUInt32BE(start);
    this.forget(stream);
    stream.stopSending();
    stream.onReset(code, true);
  }

  #onGoaway(streamId: number, bytes: Buffer, start: number, end: number): void {
    if (streamId !== 0) throw new ConnectionError(ERROR.protocolError, "GOAWAY on a stream");
    if (end - start < 8) throw new ConnectionError(ERROR.frameSizeError, "GOAWAY size");
    this.onGoaway(bytes.readUInt32BE(start) & 0x7fffffff, bytes.readUInt32BE(start + 4));
  }

  #onPriority(streamId: number, bytes: Buffer, start: number, end: number): void {
    if (streamId === 0) throw new ConnectionError(ERROR.protocolError, "PRIORITY on stream 0");
    this.#priorityFrames += 1;
    if (this.#priorityFrames > PRIORITY_FRAMES_PER_STREAM * (1 + this.#streamsOpened)) {
      throw new ConnectionError(ERROR.enhanceYourCalm, "too many PRIORITY frames");
    }
    const isSized = end - start === 5;
    const dependsOnItself = isSized && (bytes.readUInt32BE(start) & 0x7fffffff) === streamId;
    if (isSized && !dependsOnItself) return;
    const code = isSized ? ERROR.protocolError : ERROR.frameSizeError;
    const stream = this.streams.get(streamId);
    if (stream !== undefined) this.#streamError(stream, code);
    // §6.4: an idle stream cannot be reset.
    else if (this.isIdleStream(streamId)) throw new ConnectionError(code, "PRIORITY");
    else this.#writeReset(streamId, code);
  }

  /** The peer broke a rule on one stream. */
  #streamError(stream: Http2Stream, code: number): void {
    this.onViolation();
    this.resetStream(stream, code);
    stream.onReset(code, false);
  }

  /** Resets a stream for a malformed message; also one that has no object yet. */
  protected refuseStream(streamId: number, code: number): void {
    this.#writeReset(streamId, code);
  }

  #writeReset(streamId: number, code: number): void {
    if (this.#isOver) return;
    this.#control();
    this.output.frame(4, FRAME.rstStream, 0, streamId);
    this.output.uint32(code);
    this.#reset.add(streamId);
    if (this.#reset.size > MAX_REMEMBERED_RESETS) {
      for (const oldest of this.#reset) {
        this.#reset.delete(oldest);
        break;
      }
    }
  }

  /** Counts what we write only because of what the peer sent, while it does not read. */
  #control(): void {
    if (!this.output.isBlocked) {
      this.#controlFrames = 0;
      return;
    }
    this.#controlFrames += 1;
    if (this.#controlFrames > MAX_WAITING_CONTROL_FRAMES) {
      throw new ConnectionError(ERROR.enhanceYourCalm, "too many control frames");
    }
  }

  #onDrain(): void {
    this.output.isBlocked = false;
    for (const stream of [...this.streams.values()]) stream.drained();
  }

  #loseStreams(): void {
    const streams = [...this.streams.values()];
    this.streams.clear();
    this.#waitingForWindow.clear();
    for (const stream of streams) {
      stream.stopSending();
      stream.onConnectionLost(this.closeReason);
      this.onStreamClosed(stream);
    }
  }

  #onClose(): void {
    this.#isOver = true;
    this.#loseStreams();
    this.onClosed();
  }
}
