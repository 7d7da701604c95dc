import { FIELD_VALUE, TOKEN } from "../http1/characters.ts";
import { decodeHuffman } from "./huffman.ts";
import { STATIC_LENGTH, STATIC_TABLE } from "./static-table.ts";

/** A decoded field. Entries of the tables are shared between messages and never change. */
export interface HeaderField {
  readonly name: string;
  readonly value: string;
  /** Lower-case name of token characters (or a pseudo field's), value without controls (RFC 9113 §8.2.1). */
  readonly isValid: boolean;
}

/** RFC 7541 §4.1: an entry's size is its strings' and this. */
const ENTRY_OVERHEAD_BYTES = 32;

const STATIC_FIELDS: readonly HeaderField[] = STATIC_TABLE.map(([name, value]) => ({
  name,
  value,
  isValid: true,
}));

/** Thrown for a header block that no encoder makes; the connection is lost (RFC 9113 §4.3). */
export class CompressionError extends Error {}

/** The decoding half of HPACK for one direction of a connection (RFC 7541). */
export class HpackDecoder {
  readonly #maxTableBytes: number;
  #tableLimitBytes: number;
  #tableBytes = 0;
  /** Newest last. */
  #entries: HeaderField[] = [];
  /** Evicted entries at the front of `#entries`. */
  #evicted = 0;
  #scratch = Buffer.allocUnsafeSlow(4096);
  #position = 0;

  /** `maxTableBytes`: the SETTINGS_HEADER_TABLE_SIZE we announced. */
  constructor(maxTableBytes: number) {
    this.#maxTableBytes = maxTableBytes;
    this.#tableLimitBytes = maxTableBytes;
  }

  /**
   * Decodes a whole header block `bytes[start..end)` and hands each field to `onField`. Throws
   * CompressionError.
   */
  decode(bytes: Buffer, start: number, end: number, onField: (field: HeaderField) => void): void {
    this.#position = start;
    let isFirst = true;
    while (this.#position < end) {
      const byte = bytes[this.#position] ?? 0;
      if (byte >= 0x80) {
        onField(this.#fieldAt(this.#integer(bytes, end, 7)));
      } else if (byte >= 0x40) {
        const field = this.#literal(bytes, end, 6);
        this.#insert(field);
        onField(field);
      } else if (byte >= 0x20) {
        // §4.2: only at the beginning of a block.
        if (!isFirst) throw new CompressionError("table size update inside a header block");
        this.#resize(this.#integer(bytes, end, 5));
        continue;
      } else {
        onField(this.#literal(bytes, end, 4));
      }
      isFirst = false;
    }
  }

  #fieldAt(index: number): HeaderField {
    const field =
      index <= STATIC_LENGTH
        ? STATIC_FIELDS[index]
        : this.#entries[this.#entries.length - (index - STATIC_LENGTH)];
    const isEvicted = index - STATIC_LENGTH > this.#entries.length - this.#evicted;
    if (field === undefined || index === 0 || isEvicted) {
      throw new CompressionError(`no table entry ${index}`);
    }
    return field;
  }

  #literal(bytes: Buffer, end: number, prefixBits: number): HeaderField {
    const index = this.#integer(bytes, end, prefixBits);
    let name: string;
    let isNameValid: boolean;
    if (index === 0) {
      name = this.#string(bytes, end);
      isNameValid = isFieldName(name);
    } else {
      const known = this.#fieldAt(index);
      name = known.name;
      // Of a known entry either part may be what is wrong.
      isNameValid = known.isValid || isFieldName(name);
    }
    const value = this.#string(bytes, end);
    return { name, value, isValid: isNameValid && isFieldValue(value) };
  }

  /** §5.1 */
  #integer(bytes: Buffer, end: number, prefixBits: number): number {
    const mask = (1 << prefixBits) - 1;
    let value = (bytes[this.#position] ?? 0) & mask;
    this.#position += 1;
    if (value < mask) return value;
    let shift = 0;
    for (;;) {
      if (this.#position >= end) throw new CompressionError("truncated integer");
      const byte = bytes[this.#position] ?? 0;
      this.#position += 1;
      value += (byte & 0x7f) * 2 ** shift;
      if (byte < 0x80) return value;
      shift += 7;
      if (shift > 28) throw new CompressionError("integer too large");
    }
  }

  /** §5.2 */
  #string(bytes: Buffer, end: number): string {
    if (this.#position >= end) throw new CompressionError("truncated string");
    const isHuffman = (bytes[this.#position] ?? 0) >= 0x80;
    const length = this.#integer(bytes, end, 7);
    const start = this.#position;
    const stop = start + length;
    if (stop > end) throw new CompressionError("truncated string");
    this.#position = stop;
    if (!isHuffman) return bytes.toString("latin1", start, stop);
    // The shortest code has five bits.
    const most = Math.ceil((length * 8) / 5);
    if (this.#scratch.length < most) this.#scratch = Buffer.allocUnsafeSlow(most * 2);
    const written = decodeHuffman(bytes, start, stop, this.#scratch);
    if (written < 0) throw new CompressionError("invalid Huffman code");
    return this.#scratch.toString("latin1", 0, written);
  }

  /** §6.3 */
  #resize(limitBytes: number): void {
    if (limitBytes > this.#maxTableBytes) {
      throw new CompressionError("table size update above the announced limit");
    }
    this.#tableLimitBytes = limitBytes;
    this.#evict();
  }

  #insert(field: HeaderField): void {
    this.#entries.push(field);
    this.#tableBytes += sizeOf(field);
    this.#evict();
  }

  #evict(): void {
    while (this.#tableBytes > this.#tableLimitBytes) {
      const oldest = this.#entries[this.#evicted];
      if (oldest === undefined) break;
      this.#tableBytes -= sizeOf(oldest);
      this.#evicted += 1;
    }
    // Seldom, so that dropping the front costs little per insertion.
    if (this.#evicted > 256) {
      this.#entries = this.#entries.slice(this.#evicted);
      this.#evicted = 0;
    }
  }
}

function sizeOf({ name, value }: HeaderField): number {
  return name.length + value.length + ENTRY_OVERHEAD_BYTES;
}

function isFieldName(name: string): boolean {
  // A pseudo field's colon; which ones exist is checked where messages are put together.
  const start = name.charCodeAt(0) === 58 ? 1 : 0;
  if (name.length === start) return false;
  for (let index = start; index < name.length; index += 1) {
    const code = name.charCodeAt(index);
    if (TOKEN[code] !== 1 || (code >= 0x41 && code <= 0x5a)) return false;
  }
  return true;
}

function isFieldValue(value: string): boolean {
  const { length } = value;
  if (length === 0) return true;
  const first = value.charCodeAt(0);
  const last = value.charCodeAt(length - 1);
  if (first === 32 || first === 9 || last === 32 || last === 9) return false;
  for (let index = 0; index < length; index += 1) {
    if (FIELD_VALUE[value.charCodeAt(index)] !== 1) return false;
  }
  return true;
}
