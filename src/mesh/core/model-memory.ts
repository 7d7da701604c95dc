import { createProblemLog, type ModelProblem, type ProblemLog } from "./model-object.ts";
import type { RememberedServices } from "./model-services.ts";

interface Part {
  readonly inputs: readonly unknown[];
  readonly output: unknown;
  readonly problems: readonly ModelProblem[];
}

interface Made {
  readonly context: unknown;
  readonly objects: readonly object[];
  readonly items: readonly object[];
  readonly byObject: ReadonlyMap<object, object>;
}

/**
 * What the last model was made of, so that the next one takes over the parts whose inputs are the
 * same objects, and gives equal things the objects they had: whoever works with them sees by identity
 * what changed. A model is the same with a memory and without.
 */
export class ModelMemory {
  readonly services: RememberedServices = new WeakMap();
  readonly #parts = new Map<string, Part>();
  readonly #lists = new Map<string, readonly unknown[]>();
  readonly #made = new Map<string, Made>();

  /** The part as it was, problems included, when all inputs are the same; else as `make` gives it. */
  part<T>(
    name: string,
    inputs: readonly unknown[],
    log: ProblemLog,
    make: (log: ProblemLog) => T,
  ): T {
    let part = this.#parts.get(name);
    if (part === undefined || !areSame(part.inputs, inputs)) {
      const own = createProblemLog();
      part = { inputs, output: make(own), problems: own.problems };
      this.#parts.set(name, part);
    }
    log.take(part.problems);
    return part.output as T;
  }

  /** The list with the items it had before where they are equal (by their JSON), and itself if all are. */
  equalItems<T extends object>(
    name: string,
    items: readonly T[],
    keyOf: (item: T) => string,
  ): readonly T[] {
    const before = (this.#lists.get(name) ?? []) as readonly T[];
    if (areSame(before, items)) return before;
    const known = new Map(before.map((item) => [keyOf(item), item]));
    return this.sameItems(
      name,
      items.map((item) => {
        const old = known.get(keyOf(item));
        if (old === undefined || old === item) return item;
        return JSON.stringify(old) === JSON.stringify(item) ? old : item;
      }),
    );
  }

  /**
   * One item for each object, made only for objects that are new, or all of them when the context is.
   * An object that changed in nothing that counts keeps its item.
   */
  each<O extends object, T extends object>(
    name: string,
    context: unknown,
    objects: readonly O[],
    make: (object: O) => T,
    keyOf: (item: T) => string,
  ): readonly T[] {
    const before = this.#made.get(name);
    const isSame = before !== undefined && before.context === context;
    if (isSame && areSame(before.objects, objects)) return before.items as readonly T[];
    const made = (object: O): T =>
      (isSame ? (before.byObject.get(object) as T | undefined) : undefined) ?? make(object);
    const items = this.equalItems(name, objects.map(made), keyOf);
    const byObject = new Map(objects.map((object, i) => [object, items[i] as T]));
    this.#made.set(name, { context, objects, items, byObject });
    return items;
  }

  /** The list that was there before when it has the very same items. */
  sameItems<T>(name: string, items: readonly T[]): readonly T[] {
    const before = this.#lists.get(name) as readonly T[] | undefined;
    if (before !== undefined && areSame(before, items)) return before;
    this.#lists.set(name, items);
    return items;
  }
}

/** Whether two lists have the same items, by identity (text and numbers: by value). */
export function areSame(a: readonly unknown[], b: readonly unknown[]): boolean {
  if (a === b) return true;
  if (a.length !== b.length) return false;
  for (let i = 0; i < a.length; i += 1) if (a[i] !== b[i]) return false;
  return true;
}
