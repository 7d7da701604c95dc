interface Entry<Item> {
  deadline: number;
  /** Equal deadlines: who was put in first comes first. */
  order: number;
  readonly item: Item;
}

/**
 * Weighted turns: an item of weight w is due again 1/w after its turn, so that each comes as often as
 * its weight says and heavy ones do not come in bursts. A turn costs O(log n), and weights may change
 * between turns: the weight counts that the item has when it is put back. All weights must be
 * positive. Source: "earliest deadline first" scheduling, as Envoy balances by weight.
 *
 * The entries are a binary heap: the children of i are 2i+1 and 2i+2, none due before its parent.
 */
export class EdfScheduler<Item> {
  readonly #heap: Entry<Item>[] = [];
  #now = 0;
  #order = 0;

  /** O(n log n). */
  constructor(items: readonly Item[], weightOf: (item: Item) => number) {
    for (const item of items) {
      this.#heap.push({ deadline: 1 / weightOf(item), order: this.#nextOrder(), item });
    }
    for (let i = (this.#heap.length >> 1) - 1; i >= 0; i -= 1) this.#sink(i);
  }

  /** The item whose turn it is, put back with its weight of now. Undefined without items. */
  next(weightOf: (item: Item) => number): Item | undefined {
    const first = this.#heap[0];
    if (first === undefined) return undefined;
    this.#now = first.deadline;
    first.deadline = this.#now + 1 / weightOf(first.item);
    first.order = this.#nextOrder();
    this.#sink(0);
    return first.item;
  }

  #nextOrder(): number {
    this.#order += 1;
    return this.#order;
  }

  #sink(start: number): void {
    const heap = this.#heap;
    const entry = heap[start];
    if (entry === undefined) return;
    let at = start;
    for (;;) {
      const left = heap[2 * at + 1];
      if (left === undefined) break;
      const right = heap[2 * at + 2];
      const isRightFirst = right !== undefined && isBefore(right, left);
      const child = isRightFirst ? right : left;
      if (!isBefore(child, entry)) break;
      heap[at] = child;
      at = 2 * at + (isRightFirst ? 2 : 1);
    }
    heap[at] = entry;
  }
}

function isBefore(
  a: { readonly deadline: number; readonly order: number },
  b: { readonly deadline: number; readonly order: number },
): boolean {
  return a.deadline < b.deadline || (a.deadline === b.deadline && a.order < b.order);
}
