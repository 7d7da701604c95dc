import type { KubeObject } from "../../api/index.ts";

/** One write, as watchers hear of it. */
export interface Change {
  readonly type: "ADDED" | "MODIFIED" | "DELETED";
  /** `group/plural`. */
  readonly resource: string;
  readonly resourceVersion: number;
  readonly object: KubeObject;
  /** The state before: a selector that no longer matches turns MODIFIED into DELETED. */
  readonly previous: KubeObject | undefined;
}

export type ChangeListener = (change: Change) => void;

/** How many changes a late watcher can still ask for. */
const WINDOW = 20_000;

/** The newest changes, in order, and who wants to hear of the next. */
export class WatchHistory {
  readonly #changes: Change[] = [];
  readonly #listeners = new Map<string, Set<ChangeListener>>();
  readonly #undelivered: Change[] = [];
  #isDelivering = false;
  /** Changes up to and including this version are forgotten. */
  #forgottenVersion: number;

  constructor(resourceVersion: number) {
    this.#forgottenVersion = resourceVersion;
  }

  record(change: Change): void {
    this.#changes.push(change);
    // Trimmed in lumps: shifting one by one would move the whole array with each write.
    if (this.#changes.length >= WINDOW * 2) {
      const forgotten = this.#changes.splice(0, WINDOW);
      this.#forgottenVersion = forgotten.at(-1)?.resourceVersion ?? this.#forgottenVersion;
    }
    this.#undelivered.push(change);
    if (!this.#isDelivering) this.#deliver();
  }

  /** A listener may write, which records the next change: everybody still hears them in order. */
  #deliver(): void {
    this.#isDelivering = true;
    try {
      for (let next = this.#undelivered.shift(); next; next = this.#undelivered.shift()) {
        for (const listener of [...(this.#listeners.get(next.resource) ?? [])]) listener(next);
      }
    } finally {
      this.#isDelivering = false;
    }
  }

  /** Changes of a resource after a version; undefined when that far back is forgotten (410 Gone). */
  since(resource: string, resourceVersion: number): readonly Change[] | undefined {
    if (resourceVersion < this.#forgottenVersion) return undefined;
    let at = this.#changes.length;
    while (at > 0 && (this.#changes[at - 1]?.resourceVersion ?? 0) > resourceVersion) at -= 1;
    return this.#changes.slice(at).filter((change) => change.resource === resource);
  }

  /** The oldest version a watch can start from. */
  get oldestVersion(): number {
    return this.#forgottenVersion;
  }

  subscribe(resource: string, listener: ChangeListener): () => void {
    const listeners = this.#listeners.get(resource) ?? new Set();
    listeners.add(listener);
    this.#listeners.set(resource, listeners);
    return () => {
      listeners.delete(listener);
    };
  }
}
