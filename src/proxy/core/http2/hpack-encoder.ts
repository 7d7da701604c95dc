import { STATIC_LENGTH, STATIC_TABLE } from "./static-table.ts";

/** Where encoded bytes go. */
export interface ByteSink {
  byte(value: number): void;
  /** One byte per character. */
  latin1(text: string): void;
}

const ENTRY_OVERHEAD_BYTES = 32;
/** What we use of the peer's table at most: more costs memory and finds little. */
const MAX_TABLE_BYTES = 4096;

const STATIC_NAMES = new Map<string, number>();
const STATIC_VALUES = new Map<string, Map<string, number>>();
for (let index = STATIC_LENGTH; index > 0; index -= 1) {
  const [name, value] = STATIC_TABLE[index] ?? ["", ""];
  STATIC_NAMES.set(name, index);
  const values = STATIC_VALUES.get(name) ?? new Map<string, number>();
  if (value !== "" || values.size === 0) values.set(value, index);
  STATIC_VALUES.set(name, values);
}

/** Credentials never enter a table, nor may any later hop put them into one (RFC 7541 §7.1.3). */
const NEVER_INDEXED: ReadonlySet<string> = new Set([
  "authorization",
  "proxy-authorization",
  "cookie",
  "set-cookie",
]);

interface NameEntry {
  readonly staticIndex: number;
  readonly staticValues: Map<string, number> | undefined;
  /** Insertion number of each value in the dynamic table. */
  readonly values: Map<string, number>;
  /** The value sent last, to tell fields that repeat from those that are new each time. */
  lastValue: string | undefined;
  /** The value found in the dynamic table last, and its insertion number; most fields repeat it. */
  hotValue: string | undefined;
  hotInserted: number;
  readonly isNeverIndexed: boolean;
}

/**
 * The encoding half of HPACK for one direction of a connection (RFC 7541). A field enters the dynamic
 * table when it is sent with the same value twice running, so that identifiers and dates do not push
 * out what repeats. Strings are sent plain: on the links between proxies bytes are cheaper than bits.
 */
export class HpackEncoder {
  #limitBytes = MAX_TABLE_BYTES;
  #tableBytes = 0;
  #inserted = 0;
  #evicted = 0;
  readonly #entries: {
    readonly entry: NameEntry;
    readonly value: string;
    readonly bytes: number;
  }[] = [];
  readonly #names = new Map<string, NameEntry>();
  /** The smallest and last limit since the last block, to be announced in the next (§4.2). */
  #announce: { smallest: number; last: number } | undefined;

  /** The peer's SETTINGS_HEADER_TABLE_SIZE. */
  setMaxTableBytes(maxBytes: number): void {
    const limit = Math.min(maxBytes, MAX_TABLE_BYTES);
    if (limit === this.#limitBytes) return;
    const smallest = Math.min(limit, this.#announce?.smallest ?? limit);
    this.#announce = { smallest, last: limit };
    this.#limitBytes = limit;
    this.#evict(0);
  }

  /** Begins a header block. */
  begin(out: ByteSink): void {
    const announce = this.#announce;
    if (announce === undefined) return;
    this.#announce = undefined;
    if (announce.smallest < announce.last) integer(out, 0x20, 5, announce.smallest);
    integer(out, 0x20, 5, announce.last);
  }

  /** Encodes one field; `name` in lower case, one byte per character. */
  field(out: ByteSink, name: string, value: string): void {
    const entry = this.#names.get(name) ?? this.#remember(name);
    if (entry.hotValue === value) {
      integer(out, 0x80, 7, this.#indexOf(entry.hotInserted));
      return;
    }
    const fixed = entry.staticValues?.get(value);
    if (fixed !== undefined && value !== "") {
      integer(out, 0x80, 7, fixed);
      return;
    }
    const inserted = entry.values.size === 0 ? undefined : entry.values.get(value);
    if (inserted !== undefined) {
      entry.hotValue = value;
      entry.hotInserted = inserted;
      integer(out, 0x80, 7, this.#indexOf(inserted));
      return;
    }
    const bytes = name.length + value.length + ENTRY_OVERHEAD_BYTES;
    const repeats = entry.lastValue === value;
    if (repeats && !entry.isNeverIndexed && bytes <= this.#limitBytes / 4) {
      this.#literal(out, 0x40, 6, entry, name, value);
      this.#insert(entry, value, bytes);
      return;
    }
    entry.lastValue = value;
    this.#literal(out, entry.isNeverIndexed ? 0x10 : 0, 4, entry, name, value);
  }

  #remember(name: string): NameEntry {
    // Names come from peers: what is remembered of them is bounded.
    if (this.#names.size >= 512) this.#forgetIdleNames();
    const entry: NameEntry = {
      staticIndex: STATIC_NAMES.get(name) ?? 0,
      staticValues: STATIC_VALUES.get(name),
      values: new Map(),
      lastValue: undefined,
      hotValue: undefined,
      hotInserted: 0,
      isNeverIndexed: NEVER_INDEXED.has(name),
    };
    this.#names.set(name, entry);
    return entry;
  }

  #forgetIdleNames(): void {
    for (const [name, { values }] of this.#names) if (values.size === 0) this.#names.delete(name);
  }

  #indexOf(inserted: number): number {
    return STATIC_LENGTH + this.#inserted - inserted;
  }

  #literal(
    out: ByteSink,
    pattern: number,
    prefixBits: number,
    entry: NameEntry,
    name: string,
    value: string,
  ): void {
    let index = entry.staticIndex;
    if (index === 0) {
      // Any value of that name will do; the newest has the smallest index.
      for (const inserted of entry.values.values()) index = this.#indexOf(inserted);
    }
    integer(out, pattern, prefixBits, index);
    if (index === 0) string(out, name);
    string(out, value);
  }

  #insert(entry: NameEntry, value: string, bytes: number): void {
    this.#evict(bytes);
    entry.values.set(value, this.#inserted);
    this.#inserted += 1;
    this.#tableBytes += bytes;
    this.#entries.push({ entry, value, bytes });
  }

  #evict(neededBytes: number): void {
    while (this.#tableBytes + neededBytes > this.#limitBytes) {
      const oldest = this.#entries[this.#evicted];
      if (oldest === undefined) break;
      oldest.entry.values.delete(oldest.value);
      if (oldest.entry.hotValue === oldest.value) oldest.entry.hotValue = undefined;
      this.#tableBytes -= oldest.bytes;
      this.#evicted += 1;
    }
    if (this.#evicted > 256) {
      this.#entries.splice(0, this.#evicted);
      this.#evicted = 0;
    }
  }
}

function integer(out: ByteSink, pattern: number, prefixBits: number, value: number): void {
  const mask = (1 << prefixBits) - 1;
  if (value < mask) {
    out.byte(pattern | value);
    return;
  }
  out.byte(pattern | mask);
  let rest = value - mask;
  while (rest >= 0x80) {
    out.byte((rest & 0x7f) | 0x80);
    rest = Math.floor(rest / 128);
  }
  out.byte(rest);
}

function string(out: ByteSink, text: string): void {
  integer(out, 0, 7, text.length);
  out.latin1(text);
}
