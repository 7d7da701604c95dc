/** Bytes before each message: a flag and the length (gRPC over HTTP/2, "Length-Prefixed-Message"). */
const PREFIX_BYTES = 5;

/** Counts the messages that begin in a gRPC body, however it is cut into pieces. O(1) per message. */
export class GrpcMessageCounter {
  count = 0;
  /** Of the prefix at hand, 0..4 have come. */
  #prefixBytes = 0;
  /** As far as the prefix has come. */
  #length = 0;
  /** Of the message at hand. */
  #left = 0;

  /** Takes the next piece of the body. */
  add(bytes: Uint8Array, start: number, end: number): void {
    let index = start;
    while (index < end) {
      if (this.#left > 0) {
        const step = Math.min(this.#left, end - index);
        this.#left -= step;
        index += step;
        continue;
      }
      const byte = bytes[index] ?? 0;
      index += 1;
      if (this.#prefixBytes > 0) this.#length = this.#length * 256 + byte;
      this.#prefixBytes += 1;
      if (this.#prefixBytes < PREFIX_BYTES) continue;
      this.count += 1;
      this.#left = this.#length;
      this.#prefixBytes = 0;
      this.#length = 0;
    }
  }
}
