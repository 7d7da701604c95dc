import {
  ConnectionError,
  DEFAULT_MAX_FRAME_BYTES,
  ERROR,
  FLAG,
  FRAME,
  FRAME_HEADER_BYTES,
} from "./frame.ts";

/** Who gets the frames. Payload views are valid during the call only. */
export interface FrameSink {
  /**
   * A part of a DATA frame. `windowBytes` is what it costs in flow control, padding included;
   * `endStream` is true with the last part of a frame that ends its stream.
   */
  onData(
    streamId: number,
    bytes: Buffer,
    start: number,
    end: number,
    windowBytes: number,
    endStream: boolean,
  ): void;
  /** A DATA frame begins: its whole cost in flow control. */
  onDataStart(streamId: number, frameBytes: number, endStream: boolean): void;
  /** Any other frame, whole. */
  onFrame(
    type: number,
    flags: number,
    streamId: number,
    bytes: Buffer,
    start: number,
    end: number,
  ): void;
}

type State = "header" | "padLength" | "data" | "padding" | "payload";

/**
 * Cuts a byte stream into frames (RFC 9113 §4.1). DATA is handed on as it arrives; other frames are
 * gathered, they are small. Throws ConnectionError for frames larger than was announced.
 */
export class FrameReader {
  #state: State = "header";
  /** A header or payload that came in pieces. */
  #pending = Buffer.allocUnsafeSlow(64);
  #pendingLength = 0;
  #length = 0;
  #type = 0;
  #flags = 0;
  #streamId = 0;
  #remaining = 0;
  #padding = 0;
  /** Cost of the pad length byte, charged with the first part. */
  #uncharged = 0;

  /** Nothing of the next frame has arrived. */
  get isIdle(): boolean {
    return this.#state === "header" && this.#pendingLength === 0;
  }

  /** Reads `bytes[start..end)`. */
  read(bytes: Buffer, start: number, end: number, sink: FrameSink): void {
    let position = start;
    while (position < end) {
      switch (this.#state) {
        case "header":
          position = this.#readHeader(bytes, position, end, sink);
          break;
        case "payload":
          position = this.#readPayload(bytes, position, end, sink);
          break;
        case "padLength":
          this.#readPadLength(bytes[position] ?? 0);
          position += 1;
          this.#endIfComplete(bytes, position, sink);
          break;
        case "data":
          position = this.#readData(bytes, position, end, sink);
          break;
        default:
          position = this.#skipPadding(bytes, position, end, sink);
      }
    }
  }

  #readHeader(bytes: Buffer, start: number, end: number, sink: FrameSink): number {
    let header = bytes;
    let at = start;
    let position = start + FRAME_HEADER_BYTES;
    if (this.#pendingLength > 0 || end - start < FRAME_HEADER_BYTES) {
      const taken = Math.min(end - start, FRAME_HEADER_BYTES - this.#pendingLength);
      bytes.copy(this.#pending, this.#pendingLength, start, start + taken);
      this.#pendingLength += taken;
      if (this.#pendingLength < FRAME_HEADER_BYTES) return end;
      this.#pendingLength = 0;
      header = this.#pending;
      at = 0;
      position = start + taken;
    }
    this.#length = header.readUIntBE(at, 3);
    this.#type = header[at + 3] ?? 0;
    this.#flags = header[at + 4] ?? 0;
    this.#streamId = header.readUInt32BE(at + 5) & 0x7fffffff;
    if (this.#length > DEFAULT_MAX_FRAME_BYTES) {
      throw new ConnectionError(ERROR.frameSizeError, `frame of ${this.#length} bytes`);
    }
    if (this.#type === FRAME.data) this.#startData(bytes, position, sink);
    else if (this.#length === 0) this.#deliver(bytes, position, position, sink);
    else this.#state = "payload";
    return position;
  }

  #readPayload(bytes: Buffer, start: number, end: number, sink: FrameSink): number {
    const missing = this.#length - this.#pendingLength;
    const taken = Math.min(missing, end - start);
    if (this.#pendingLength === 0 && taken === missing) {
      this.#deliver(bytes, start, start + taken, sink);
      return start + taken;
    }
    if (this.#pending.length < this.#length) {
      const grown = Buffer.allocUnsafeSlow(this.#length);
      this.#pending.copy(grown, 0, 0, this.#pendingLength);
      this.#pending = grown;
    }
    bytes.copy(this.#pending, this.#pendingLength, start, start + taken);
    this.#pendingLength += taken;
    if (this.#pendingLength === this.#length) {
      this.#pendingLength = 0;
      this.#deliver(this.#pending, 0, this.#length, sink);
    }
    return start + taken;
  }

  #deliver(bytes: Buffer, start: number, end: number, sink: FrameSink): void {
    this.#state = "header";
    sink.onFrame(this.#type, this.#flags, this.#streamId, bytes, start, end);
  }

  #startData(bytes: Buffer, position: number, sink: FrameSink): void {
    const isPadded = (this.#flags & FLAG.padded) !== 0;
    this.#remaining = this.#length;
    this.#padding = 0;
    this.#uncharged = 0;
    if (isPadded && this.#length === 0) {
      throw new ConnectionError(ERROR.frameSizeError, "padded DATA without a pad length");
    }
    sink.onDataStart(this.#streamId, this.#length, this.#endsStream);
    this.#state = isPadded ? "padLength" : "data";
    if (!isPadded) this.#endIfComplete(bytes, position, sink);
  }

  get #endsStream(): boolean {
    return (this.#flags & FLAG.endStream) !== 0;
  }

  #readPadLength(padding: number): void {
    this.#remaining -= 1;
    // §6.1: padding that is as long as the payload or longer.
    if (padding > this.#remaining) {
      throw new ConnectionError(ERROR.protocolError, "padding longer than its DATA frame");
    }
    this.#padding = padding;
    this.#remaining -= padding;
    this.#uncharged = 1;
    this.#state = "data";
  }

  #readData(bytes: Buffer, start: number, end: number, sink: FrameSink): number {
    const stop = Math.min(end, start + this.#remaining);
    this.#remaining -= stop - start;
    if (this.#remaining > 0 || this.#padding > 0) {
      const cost = stop - start + this.#uncharged;
      this.#uncharged = 0;
      sink.onData(this.#streamId, bytes, start, stop, cost, false);
      if (this.#remaining === 0) this.#state = "padding";
      return stop;
    }
    this.#finishData(bytes, start, stop, sink);
    return stop;
  }

  #skipPadding(bytes: Buffer, start: number, end: number, sink: FrameSink): number {
    const stop = Math.min(end, start + this.#padding);
    this.#padding -= stop - start;
    this.#uncharged += stop - start;
    if (this.#padding === 0) this.#finishData(bytes, stop, stop, sink);
    return stop;
  }

  /** A frame without (further) bytes ends without waiting for the next ones. */
  #endIfComplete(bytes: Buffer, position: number, sink: FrameSink): void {
    if (this.#remaining > 0) return;
    if (this.#padding > 0) this.#state = "padding";
    else this.#finishData(bytes, position, position, sink);
  }

  #finishData(bytes: Buffer, start: number, end: number, sink: FrameSink): void {
    this.#state = "header";
    sink.onData(this.#streamId, bytes, start, end, end - start + this.#uncharged, this.#endsStream);
  }
}
