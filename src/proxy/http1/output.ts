import type { Socket } from "node:net";

const CAPACITY_BYTES = 65_536 + 8_192;
/** From here on a second buffer costs less than a second copy. */
const LARGE_BYTES = 16_384;
/** Shared by all outputs: one of them at a time gathers bytes in it, within one turn of the loop. */
const gathering = Buffer.allocUnsafeSlow(CAPACITY_BYTES);
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

  /** Appends a copy of `bytes[start..end)`. */
  bytes(bytes: Buffer, start: number, end: number): void {
    if (end - start >= LARGE_BYTES) {
      this.#large(Buffer.from(bytes.subarray(start, end)));
      return;
    }
    this.#reserve(end - start);
    gathered += bytes.copy(gathering, gathered, start, end);
  }

  /** Appends `bytes[start..end)`, which nobody changes any more: what is large is not copied. */
  owned(bytes: Buffer, start: number, end: number): void {
    if (end - start >= LARGE_BYTES) this.#large(bytes.subarray(start, end));
    else this.bytes(bytes, start, end);
  }

  /** Hands over what was gathered. */
  flush(): void {
    if (owner !== this) return;
    owner = undefined;
    if (gathered === 0) return;
    const out = Buffer.allocUnsafe(gathered);
    gathering.copy(out, 0, 0, gathered);
    gathered = 0;
    this.#write(out);
  }

  /** Hands over what was gathered and these bytes as one write of two buffers. */
  #large(bytes: Buffer): void {
    const socket = this.#socket;
    socket.cork();
    this.flush();
    this.#write(bytes);
    socket.uncork();
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
