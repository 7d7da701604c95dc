import type { Socket } from "node:net";
import { FRAME_HEADER_BYTES } from "../core/http2/frame.ts";
import type { ByteSink } from "../core/http2/hpack-encoder.ts";

const CHUNK_BYTES = 65_536;
/** A chunk with less room than this is left for a new one. */
const MIN_ROOM_BYTES = 512;

/** Outputs with frames to send; one immediate flushes them all. */
const dirty: FrameOutput[] = [];
let isScheduled = false;

function flushAll(): void {
  isScheduled = false;
  for (let output = dirty.pop(); output !== undefined; output = dirty.pop()) output.flush();
}

/**
 * Gathers the frames of one connection and writes them once per turn of the event loop, whichever
 * streams they belong to. Bytes are copied in once and then belong to the socket.
 */
export class FrameOutput implements ByteSink {
  readonly #socket: Socket;
  #chunk: Buffer = Buffer.allocUnsafeSlow(4096);
  /** Where the unsent part of the chunk begins. */
  #sent = 0;
  #length = 0;
  #isDirty = false;
  /** Counts chunks and flushes: a position is still unsent while this is what it was. */
  #epoch = 0;
  /** The socket holds more than its high-water mark: stop until its `drain`. */
  isBlocked = false;

  constructor(socket: Socket) {
    this.#socket = socket;
  }

  get epoch(): number {
    return this.#epoch;
  }

  byte(value: number): void {
    if (this.#length === this.#chunk.length) this.#grow(1);
    this.#chunk[this.#length] = value;
    this.#length += 1;
    this.#touch();
  }

  latin1(text: string): void {
    const { length } = text;
    if (this.#length + length > this.#chunk.length) this.#grow(length);
    if (length < 24) {
      const chunk = this.#chunk;
      const at = this.#length;
      for (let index = 0; index < length; index += 1) chunk[at + index] = text.charCodeAt(index);
    } else {
      this.#chunk.write(text, this.#length, length, "latin1");
    }
    this.#length += length;
    this.#touch();
  }

  /** Appends a copy of `bytes[start..end)`. */
  bytes(bytes: Buffer, start: number, end: number): void {
    const length = end - start;
    if (this.#length + length > this.#chunk.length) this.#grow(length);
    bytes.copy(this.#chunk, this.#length, start, end);
    this.#length += length;
    this.#touch();
  }

  /** Appends a frame header (RFC 9113 §4.1) and returns its position, for `patch…`. */
  frame(length: number, type: number, flags: number, streamId: number): number {
    if (this.#length - this.#sent >= CHUNK_BYTES) this.flush();
    if (this.#length + FRAME_HEADER_BYTES > this.#chunk.length) this.#grow(FRAME_HEADER_BYTES);
    const chunk = this.#chunk;
    const at = this.#length;
    chunk[at] = length >> 16;
    chunk[at + 1] = length >> 8;
    chunk[at + 2] = length;
    chunk[at + 3] = type;
    chunk[at + 4] = flags;
    chunk[at + 5] = streamId >>> 24;
    chunk[at + 6] = streamId >>> 16;
    chunk[at + 7] = streamId >>> 8;
    chunk[at + 8] = streamId;
    this.#length = at + FRAME_HEADER_BYTES;
    this.#touch();
    return at - this.#sent;
  }

  uint32(value: number): void {
    this.byte(value >>> 24);
    this.byte((value >>> 16) & 0xff);
    this.byte((value >>> 8) & 0xff);
    this.byte(value & 0xff);
  }

  /** Bytes appended since the frame at `position` began, its header included. */
  lengthSince(position: number): number {
    return this.#length - this.#sent - position;
  }

  /** Sets the length and flags of the frame at `position`, unsent yet. */
  patch(position: number, length: number, flags: number): void {
    const chunk = this.#chunk;
    const at = this.#sent + position;
    chunk[at] = length >> 16;
    chunk[at + 1] = length >> 8;
    chunk[at + 2] = length;
    chunk[at + 4] = flags;
  }

  /** Adds a flag to the frame at `position`, unsent yet. */
  addFlag(position: number, flag: number): void {
    const at = this.#sent + position + 4;
    this.#chunk[at] = (this.#chunk[at] ?? 0) | flag;
  }

  /** The unsent bytes from `position` on; valid until the next append. */
  unsentSince(position: number): Buffer {
    return this.#chunk.subarray(this.#sent + position, this.#length);
  }

  /** Takes back everything from `position` on. */
  truncate(position: number): void {
    this.#length = this.#sent + position;
  }

  flush(): void {
    this.#isDirty = false;
    const { destroyed, writableEnded } = this.#socket;
    if (this.#length === this.#sent || destroyed || writableEnded) {
      this.#sent = this.#length;
      return;
    }
    const out = this.#chunk.subarray(this.#sent, this.#length);
    this.#sent = this.#length;
    this.#epoch += 1;
    if (this.#chunk.length - this.#length < MIN_ROOM_BYTES) this.#renew(0);
    if (!this.#socket.write(out)) this.isBlocked = true;
  }

  #touch(): void {
    if (this.#isDirty) return;
    this.#isDirty = true;
    dirty.push(this);
    if (isScheduled) return;
    isScheduled = true;
    setImmediate(flushAll);
  }

  /** Makes room for `needed` bytes; what is unsent moves along. */
  #grow(needed: number): void {
    this.#renew(needed);
  }

  #renew(needed: number): void {
    const unsent = this.#length - this.#sent;
    const size = Math.max(CHUNK_BYTES, (unsent + needed) * 2);
    const chunk = Buffer.allocUnsafeSlow(size);
    this.#chunk.copy(chunk, 0, this.#sent, this.#length);
    this.#chunk = chunk;
    this.#sent = 0;
    this.#length = unsent;
  }
}
