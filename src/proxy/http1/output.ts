import type { Socket } from "node:net";
import { hasTaken, isReadBuffer, keepBytes } from "../net/read-buffer.ts";

const CAPACITY_BYTES = 65_536 + 8_192;
/** From here on a second buffer costs less than a copy. One TLS record is below. */
const LARGE_BYTES = 16_385;
/** Shared by all outputs: one of them at a time gathers bytes in it, within one turn of the loop. */
let gathering = Buffer.allocUnsafeSlow(CAPACITY_BYTES);
let owner: Output | undefined;
let gathered = 0;

/**
 * Gathers the pieces of a message so that one write carries as many as are at hand, and remembers
 * whether the socket is behind. Whoever appends must `flush` before the turn ends.
 */
export class Output {
  readonly #socket: Socket;
  /** The socket holds more than its high-water mark: stop until its `drain`. */
  isBlocked = false;

  constructor(socket: Socket) {
    this.#socket = socket;
  }

  /** Appends text of one byte per character. */
  text(text: string): void {
    this.#reserve(text.length);
    if (text.length > CAPACITY_BYTES) this.#write(Buffer.from(text, "latin1"));
    else gathered += gathering.write(text, gathered, "latin1");
  }

  /** Appends `bytes[start..end)`, which are valid during this call only. */
  bytes(bytes: Buffer, start: number, end: number): void {
    if (end - start >= LARGE_BYTES) {
      const part = bytes.subarray(start, end);
      this.#large(isReadBuffer(bytes) ? part : Buffer.from(part));
      return;
    }
    this.#reserve(end - start);
    gathered += bytes.copy(gathering, gathered, start, end);
  }

  /** Appends `bytes[start..end)`, which only the next read changes, if anybody. */
  owned(bytes: Buffer, start: number, end: number): void {
    if (end - start >= LARGE_BYTES) this.#large(bytes.subarray(start, end));
    else this.bytes(bytes, start, end);
  }

  /** Hands over what was gathered. */
  flush(): void {
    if (owner !== this) return;
    const isBehind = this.#socket.writableLength > 0;
    const out = this.#gathered(isBehind);
    if (out === undefined) return;
    this.#write(out);
    if (!isBehind && !hasTaken(this.#socket)) gathering = Buffer.allocUnsafeSlow(CAPACITY_BYTES);
  }

  /** Hands over what was gathered and these bytes as one write of two buffers. */
  #large(bytes: Buffer): void {
    const socket = this.#socket;
    const isBehind = socket.writableLength > 0;
    const before = owner === this ? this.#gathered(isBehind) : undefined;
    if (before === undefined) this.#write(bytes);
    else {
      socket.cork();
      this.#write(before);
      this.#write(bytes);
      socket.uncork();
    }
    if (!isBehind && hasTaken(this.#socket)) return;
    keepBytes(bytes);
    if (!isBehind && before !== undefined) gathering = Buffer.allocUnsafeSlow(CAPACITY_BYTES);
  }

  /** Takes what was gathered, as a copy where the socket would hold on to it for sure. */
  #gathered(isBehind: boolean): Buffer | undefined {
    owner = undefined;
    const length = gathered;
    gathered = 0;
    if (length === 0) return undefined;
    const part = gathering.subarray(0, length);
    return isBehind ? Buffer.from(part) : part;
  }

  #reserve(sizeBytes: number): void {
    if (owner !== this) {
      owner?.flush();
      owner = this;
    }
    if (gathered + sizeBytes > CAPACITY_BYTES) {
      this.flush();
      owner = this;
    }
  }

  #write(bytes: Buffer): void {
    if (!this.#socket.write(bytes)) this.isBlocked = true;
  }
}
