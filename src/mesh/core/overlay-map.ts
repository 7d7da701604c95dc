/** Stands for a key of the base that is not there any more. */
const GONE = Symbol("gone");
/** So many keys are deleted one by one. */
const FEW = 8;

/**
 * A map of one's own that is mostly like one that many share: the shared base, and what differs from
 * it. What a thousand proxies hold alike takes the room of one map.
 */
export class OverlayMap<Shared, V> {
  #base: ReadonlyMap<string, Shared> | undefined;
  readonly #own = new Map<string, V | typeof GONE>();
  readonly #read: (shared: Shared) => V;
  #size = 0;

  /** `read`: what a value of the base stands for. */
  constructor(read: (shared: Shared) => V) {
    this.#read = read;
  }

  get size(): number {
    return this.#size;
  }

  get(key: string): V | undefined {
    const own = this.#own.get(key);
    if (own !== undefined) return own === GONE ? undefined : own;
    const shared = this.#base?.get(key);
    return shared === undefined ? undefined : this.#read(shared);
  }

  has(key: string): boolean {
    const own = this.#own.get(key);
    return own === undefined ? this.#base?.has(key) === true : own !== GONE;
  }

  set(key: string, value: V): void {
    if (!this.has(key)) this.#size += 1;
    this.#own.set(key, value);
  }

  delete(key: string): void {
    if (!this.has(key)) return;
    this.#size -= 1;
    if (this.#base?.has(key) === true) this.#own.set(key, GONE);
    else this.#own.delete(key);
  }

  /** Keys may be deleted while they are walked through. */
  *keys(): Generator<string> {
    for (const [key, own] of this.#own) if (own !== GONE) yield key;
    if (this.#base === undefined) return;
    for (const key of this.#base.keys()) if (!this.#own.has(key)) yield key;
  }

  *[Symbol.iterator](): Generator<readonly [string, V]> {
    for (const key of this.keys()) {
      const value = this.get(key);
      if (value !== undefined) yield [key, value];
    }
  }

  /** From now on exactly what `base` has, which must be what it has already. */
  rebase(base: ReadonlyMap<string, Shared>): void {
    this.#base = base;
    // Emptying a map gives it a new table: for the few keys of a change deleting them costs less.
    if (this.#own.size > FEW) this.#own.clear();
    else for (const key of this.#own.keys()) this.#own.delete(key);
    this.#size = base.size;
  }
}
