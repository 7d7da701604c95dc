import type { HeaderBlock } from "../core/http1/header-block.ts";
import { FLAG, FRAME } from "../core/http2/frame.ts";
import type { Http2Connection } from "./connection.ts";

/**
 * What both ends of a stream share: what is still to be sent, and the two flow-control windows
 * (RFC 9113 §5.2).
 */
export abstract class Http2Stream {
  readonly id: number;
  protected readonly http2: Http2Connection;
  /** What the peer still takes; negative after it shrank its windows. */
  sendWindow: number;
  /** What we said we take, less what came. */
  receiveWindow: number;
  /** Taken by us and not yet given back to the peer as window. */
  #uncredited = 0;
  #isPaused = false;
  /** Copies of data that the windows do not let out yet. */
  #pending: Buffer[] = [];
  #pendingBytes = 0;
  /** The end was written while data waited. */
  #endWaits = false;
  #trailers: HeaderBlock | undefined;
  /** The last DATA frame, while it has not left: it can still become the last of the stream. */
  #lastFrame = -1;
  #lastFrameEpoch = -1;
  /** We sent END_STREAM, or will send nothing any more. */
  isLocalEnded = false;
  /** The peer sent END_STREAM. */
  isRemoteEnded = false;
  /** Bytes of the body the peer announced that have not come; undefined = it did not say. */
  remainingContentBytes: number | undefined = undefined;
  /** The owner was told to wait, so it wants to be told when it may go on. */
  #owesDrain = false;

  constructor(http2: Http2Connection, id: number) {
    this.http2 = http2;
    this.id = id;
    this.sendWindow = http2.peerInitialWindowBytes;
    this.receiveWindow = http2.initialWindowBytes;
  }

  /** The stream's owner must stop writing until `onDrain`. */
  get isBlocked(): boolean {
    const isBlocked = this.#pendingBytes > 0 || this.http2.output.isBlocked;
    if (isBlocked) this.#owesDrain = true;
    return isBlocked;
  }

  /** Data waits for window. */
  get isWaiting(): boolean {
    return this.#pendingBytes > 0 || this.#endWaits;
  }

  writeData(bytes: Buffer, start: number, end: number): void {
    if (start === end || this.isLocalEnded) return;
    let from = start;
    if (this.#pendingBytes === 0) from = this.#send(bytes, start, end);
    if (from === end) return;
    this.#pending.push(Buffer.from(bytes.subarray(from, end)));
    this.#pendingBytes += end - from;
    this.http2.waitForWindow(this);
  }

  writeEnd(trailers: HeaderBlock | undefined): void {
    if (this.isLocalEnded) return;
    if (this.#pendingBytes > 0) {
      this.#endWaits = true;
      this.#trailers = trailers;
      return;
    }
    this.#end(trailers);
  }

  flush(): void {
    // The output flushes itself at the end of the turn.
  }

  pauseReading(): void {
    this.#isPaused = true;
  }

  resumeReading(): void {
    if (!this.#isPaused) return;
    this.#isPaused = false;
    this.#credit();
  }

  /** The peer opened a window: sends what waits. */
  flushPending(): void {
    while (this.#pendingBytes > 0) {
      const first = this.#pending[0];
      if (first === undefined) break;
      const sent = this.#send(first, 0, first.length);
      this.#pendingBytes -= sent;
      if (sent < first.length) {
        if (sent > 0) this.#pending[0] = first.subarray(sent);
        return;
      }
      this.#pending.shift();
    }
    if (this.#endWaits) {
      this.#endWaits = false;
      this.#end(this.#trailers);
    }
    this.drained();
  }

  /** Tells the owner that it may write again, if it was told to wait. */
  drained(): void {
    if (!this.#owesDrain || this.isBlocked) return;
    this.#owesDrain = false;
    this.onDrain();
  }

  /** A part of the body has come and been handed on. */
  received(windowBytes: number): void {
    this.#uncredited += windowBytes;
    if (!this.#isPaused) this.#credit();
  }

  /** Drops what waits; nothing more is sent. */
  stopSending(): void {
    this.isLocalEnded = true;
    this.#pending = [];
    this.#pendingBytes = 0;
    this.#endWaits = false;
  }

  protected abstract onDrain(): void;
  /** A part of the body. */
  abstract onBody(bytes: Buffer, start: number, end: number): void;
  /** The peer has ended its side. */
  abstract onRemoteEnd(trailers: HeaderBlock | undefined): void;
  /** One read of the connection has been handed over. */
  abstract onReadEnd(): void;
  /** RST_STREAM came, or the stream was reset by us for what the peer did. */
  abstract onReset(code: number, byPeer: boolean): void;
  /** The connection is gone. */
  abstract onConnectionLost(reason: string): void;

  /** Sends as much as the windows allow; returns where it stopped. */
  #send(bytes: Buffer, start: number, end: number): number {
    const { http2 } = this;
    let from = start;
    while (from < end) {
      const room = Math.min(this.sendWindow, http2.sendWindow, http2.peerMaxFrameBytes);
      if (room <= 0) break;
      const size = Math.min(room, end - from);
      this.#lastFrame = http2.output.frame(size, FRAME.data, 0, this.id);
      this.#lastFrameEpoch = http2.output.epoch;
      http2.output.bytes(bytes, from, from + size);
      this.sendWindow -= size;
      http2.sendWindow -= size;
      http2.dataFrameSent();
      from += size;
    }
    return from;
  }

  #end(trailers: HeaderBlock | undefined): void {
    const { http2 } = this;
    this.isLocalEnded = true;
    if (trailers !== undefined) {
      http2.writeTrailers(this.id, trailers);
    } else if (this.#lastFrame >= 0 && this.#lastFrameEpoch === http2.output.epoch) {
      http2.output.addFlag(this.#lastFrame, FLAG.endStream);
    } else {
      http2.output.frame(0, FRAME.data, FLAG.endStream, this.id);
    }
    http2.localEnded(this);
  }

  #credit(): void {
    if (this.isRemoteEnded || this.#uncredited * 2 < this.http2.initialWindowBytes) return;
    this.receiveWindow += this.#uncredited;
    this.http2.writeWindowUpdate(this.id, this.#uncredited);
    this.#uncredited = 0;
  }
}
