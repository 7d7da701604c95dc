/**
 * The fields of one message, kept as they arrived:
 *
 *     text  "GET / HTTP/1.1\r\nHost: a\r\nAccept: text\r\n"
 *                            ^start   ^valueStart  ^end (past CRLF)
 *
 * A field that nobody touches is forwarded byte for byte, and neighbours leave as one slice; only odd
 * whitespace around a value is not passed on, because servers disagree about it. Names in
 * `names` are lower case. `remove` and `set` only mark and append: offsets never move.
 */
export class HeaderBlock {
  readonly #text: string;
  #names: string[] = [];
  #starts: number[] = [];
  #valueStarts: number[] = [];
  #valueEnds: number[] = [];
  #ends: number[] = [];
  /** Fields added after parsing, in order. */
  #added: { readonly name: string; readonly value: string }[] | undefined;
  #removed: boolean[] | undefined;
  /** Fields that leave as `name: value` whatever their bytes were. */
  #rewritten: boolean[] | undefined;

  constructor(text = "") {
    this.#text = text;
  }

  /** Called by the parser only: a field whose bytes are `text[start..end)`, CRLF included. */
  push(name: string, start: number, valueStart: number, valueEnd: number, end: number): void {
    this.#names.push(name);
    this.#starts.push(start);
    this.#valueStarts.push(valueStart);
    this.#valueEnds.push(valueEnd);
    this.#ends.push(end);
  }

  /** Called by the parser only: the field pushed last has whitespace that must not be passed on. */
  rewriteLast(): void {
    this.#rewritten ??= [];
    this.#rewritten[this.#names.length - 1] = true;
  }

  /** The first value of a field (`name` in lower case), or undefined. */
  first(name: string): string | undefined {
    const names = this.#names;
    for (let index = 0; index < names.length; index += 1) {
      if (names[index] === name && this.#removed?.[index] !== true) return this.#valueAt(index);
    }
    if (this.#added === undefined) return undefined;
    for (const field of this.#added) if (field.name === name) return field.value;
    return undefined;
  }

  /** All values of a field joined with "," as RFC 9110 §5.3 allows, or undefined. */
  get(name: string): string | undefined {
    let joined: string | undefined;
    const names = this.#names;
    for (let index = 0; index < names.length; index += 1) {
      if (names[index] !== name || this.#removed?.[index] === true) continue;
      const value = this.#valueAt(index);
      joined = joined === undefined ? value : `${joined},${value}`;
    }
    if (this.#added === undefined) return joined;
    for (const field of this.#added) {
      if (field.name === name)
        joined = joined === undefined ? field.value : `${joined},${field.value}`;
    }
    return joined;
  }

  /** The values of a field, one for each line. */
  all(name: string): readonly string[] {
    const values: string[] = [];
    for (let index = 0; index < this.#names.length; index += 1) {
      if (this.#names[index] !== name || this.#removed?.[index] === true) continue;
      values.push(this.#valueAt(index));
    }
    for (const field of this.#added ?? []) if (field.name === name) values.push(field.value);
    return values;
  }

  /** The first value as it was received, even if the field was removed since. */
  received(name: string): string | undefined {
    const index = this.#names.indexOf(name);
    return index < 0 ? undefined : this.#valueAt(index);
  }

  has(name: string): boolean {
    return this.first(name) !== undefined;
  }

  /** Drops every occurrence. */
  remove(name: string): void {
    const names = this.#names;
    for (let index = 0; index < names.length; index += 1) {
      if (names[index] === name) this.#removeAt(index);
    }
    if (this.#added !== undefined) this.#added = this.#added.filter((field) => field.name !== name);
  }

  /** Appends a field; `name` in lower case. The caller vouches for the value's bytes. */
  add(name: string, value: string): void {
    this.#added ??= [];
    this.#added.push({ name, value });
  }

  /** Appends a field that is kept as it is; nobody may change it afterwards. */
  addField(field: { readonly name: string; readonly value: string }): void {
    this.#added ??= [];
    this.#added.push(field);
  }

  /** Hands over every field in order. */
  forEach(visit: (name: string, value: string) => void): void {
    const names = this.#names;
    for (let index = 0; index < names.length; index += 1) {
      if (this.#removed?.[index] !== true) visit(names[index] ?? "", this.#valueAt(index));
    }
    if (this.#added === undefined) return;
    for (const { name, value } of this.#added) visit(name, value);
  }

  /** Replaces every occurrence by one. */
  set(name: string, value: string): void {
    this.remove(name);
    this.add(name, value);
  }

  /** Drops every field whose name the predicate accepts. */
  removeWhere(matches: (name: string) => boolean): void {
    const names = this.#names;
    for (let index = 0; index < names.length; index += 1) {
      if (matches(names[index] ?? "")) this.#removeAt(index);
    }
    if (this.#added !== undefined) this.#added = this.#added.filter(({ name }) => !matches(name));
  }

  /** Every field in order. Not for the hot path. */
  entries(): [name: string, value: string][] {
    const out: [string, string][] = [];
    for (let index = 0; index < this.#names.length; index += 1) {
      if (this.#removed?.[index] === true) continue;
      out.push([this.#names[index] ?? "", this.#valueAt(index)]);
    }
    for (const { name, value } of this.#added ?? []) out.push([name, value]);
    return out;
  }

  /** The fields as header lines, each ended by CRLF. */
  encode(): string {
    let out = "";
    const count = this.#names.length;
    if (this.#removed === undefined && this.#rewritten === undefined) {
      if (count > 0) out = this.#text.slice(this.#starts[0], this.#ends[count - 1]);
    } else {
      out = this.#encodeRuns(count);
    }
    if (this.#added !== undefined) {
      for (const { name, value } of this.#added) out += `${name}: ${value}\r\n`;
    }
    return out;
  }

  #encodeRuns(count: number): string {
    const removed = this.#removed;
    const rewritten = this.#rewritten;
    let out = "";
    let runStart = -1;
    for (let index = 0; index < count; index += 1) {
      if (removed?.[index] !== true && rewritten?.[index] !== true) {
        if (runStart < 0) runStart = this.#starts[index] ?? 0;
        continue;
      }
      if (runStart >= 0) out += this.#text.slice(runStart, this.#starts[index]);
      runStart = -1;
      if (removed?.[index] !== true) out += `${this.#names[index]}: ${this.#valueAt(index)}\r\n`;
    }
    return runStart < 0 ? out : out + this.#text.slice(runStart, this.#ends[count - 1]);
  }

  /** A copy with its own edits, for a mirror; the parsed fields are shared, they never change. */
  clone(): HeaderBlock {
    const copy = new HeaderBlock(this.#text);
    copy.#names = this.#names;
    copy.#starts = this.#starts;
    copy.#valueStarts = this.#valueStarts;
    copy.#valueEnds = this.#valueEnds;
    copy.#ends = this.#ends;
    copy.#rewritten = this.#rewritten;
    if (this.#removed !== undefined) copy.#removed = [...this.#removed];
    if (this.#added !== undefined) copy.#added = [...this.#added];
    return copy;
  }

  #valueAt(index: number): string {
    return this.#text.slice(this.#valueStarts[index], this.#valueEnds[index]);
  }

  #removeAt(index: number): void {
    this.#removed ??= [];
    this.#removed[index] = true;
  }
}
