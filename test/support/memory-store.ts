import { apiVersionOf, type KubeObject, type ResourceType } from "../../src/api/index.ts";
import { SerinError } from "../../src/base/index.ts";
import type { KubeStore, ObjectKey, WatchEvent } from "../../src/kube/store.ts";

/** What the store is about to do; throwing from the hook means the write never happens. */
export type BeforeWrite = (write: {
  readonly verb: string;
  readonly type: ResourceType;
  readonly object: KubeObject;
}) => void;

/**
 * A KubeStore in memory: resourceVersions, generation, optimistic concurrency, status subresource,
 * merge patches and watches. No admission, no selectors, no garbage collection.
 */
export class MemoryStore implements KubeStore {
  readonly #objects = new Map<string, KubeObject>();
  readonly #log: {
    readonly version: number;
    readonly plural: string;
    readonly event: WatchEvent;
  }[] = [];
  readonly #wakers = new Set<() => void>();
  readonly #beforeWrite: BeforeWrite;
  #version = 0;

  constructor(beforeWrite: BeforeWrite = () => undefined) {
    this.#beforeWrite = beforeWrite;
  }

  async get(type: ResourceType, key: ObjectKey): Promise<KubeObject | undefined> {
    const found = this.#objects.get(path(type, key));
    return found === undefined ? undefined : structuredClone(found);
  }

  async list(type: ResourceType, options: { readonly namespace?: string | undefined } = {}) {
    const items = [...this.#objects]
      .filter(
        ([id, o]) =>
          id.startsWith(`${type.group}/${type.plural}/`) &&
          (options.namespace === undefined || o.metadata.namespace === options.namespace),
      )
      .map(([, object]) => structuredClone(object));
    return { items, resourceVersion: String(this.#version) };
  }

  async create(type: ResourceType, object: KubeObject): Promise<KubeObject> {
    const id = path(type, object.metadata);
    if (this.#objects.has(id)) throw new SerinError("SERIN_CONFLICT", `${id} exists already`);
    this.#beforeWrite({ verb: "create", type, object });
    const { status: _, ...rest } = structuredClone(object);
    const stored = {
      ...rest,
      metadata: { ...object.metadata, uid: `uid-${this.#version + 1}`, generation: 1 },
    };
    return this.#put(type, id, stored as KubeObject, "ADDED");
  }

  async update(
    type: ResourceType,
    object: KubeObject,
    options: { readonly subresource?: "status" | "scale" } = {},
  ): Promise<KubeObject> {
    const id = path(type, object.metadata);
    const old = this.#existing(id);
    if (object.metadata.resourceVersion !== old.metadata.resourceVersion) {
      throw new SerinError("SERIN_CONFLICT", `${id} was changed: read it again`);
    }
    this.#beforeWrite({ verb: options.subresource ?? "update", type, object });
    return this.#put(type, id, next(old, structuredClone(object), options.subresource), "MODIFIED");
  }

  async patch(
    type: ResourceType,
    key: ObjectKey,
    patch: unknown,
    options: { readonly kind: string; readonly subresource?: "status" | "scale" },
  ): Promise<KubeObject> {
    if (options.kind !== "merge")
      throw new SerinError("SERIN_INVALID_RESOURCE", `only merge patches, not ${options.kind}`);
    const old = this.#existing(path(type, key));
    const object = merge(old, patch) as KubeObject;
    return this.update(
      type,
      { ...object, metadata: { ...object.metadata, ...pick(old) } },
      options,
    );
  }

  async delete(type: ResourceType, key: ObjectKey): Promise<void> {
    const id = path(type, key);
    const object = this.#existing(id);
    this.#beforeWrite({ verb: "delete", type, object });
    this.#objects.delete(id);
    this.#publish(type, { type: "DELETED", object });
  }

  async *watch(
    type: ResourceType,
    options: {
      readonly namespace?: string | undefined;
      readonly resourceVersion: string;
      readonly signal: AbortSignal;
    },
  ): AsyncIterable<WatchEvent> {
    let seen = Number(options.resourceVersion);
    const plural = `${type.group}/${type.plural}`;
    while (!options.signal.aborted) {
      for (const { version, event } of this.#log.filter(
        (e) => e.version > seen && e.plural === plural,
      )) {
        seen = version;
        if (
          options.namespace === undefined ||
          event.object.metadata.namespace === options.namespace
        )
          yield structuredClone(event);
      }
      if (this.#log.some((e) => e.version > seen && e.plural === plural)) continue;
      await new Promise<void>((resolve) => {
        const wake = (): void => {
          this.#wakers.delete(wake);
          options.signal.removeEventListener("abort", wake);
          resolve();
        };
        this.#wakers.add(wake);
        options.signal.addEventListener("abort", wake);
      });
    }
  }

  #existing(id: string): KubeObject {
    const found = this.#objects.get(id);
    if (found === undefined) throw new SerinError("SERIN_NOT_FOUND", `${id} does not exist`);
    return found;
  }

  #put(
    type: ResourceType,
    id: string,
    object: KubeObject,
    event: "ADDED" | "MODIFIED",
  ): KubeObject {
    const resourceVersion = String(this.#version + 1);
    const stored = {
      ...object,
      apiVersion: apiVersionOf(type),
      kind: type.kind,
      metadata: { ...object.metadata, resourceVersion },
    };
    this.#objects.set(id, stored);
    this.#publish(type, { type: event, object: stored });
    return structuredClone(stored);
  }

  #publish(type: ResourceType, event: WatchEvent): void {
    this.#version += 1;
    this.#log.push({ version: this.#version, plural: `${type.group}/${type.plural}`, event });
    for (const wake of [...this.#wakers]) wake();
  }
}

function path(type: ResourceType, key: ObjectKey): string {
  return `${type.group}/${type.plural}/${type.namespaced ? key.namespace : ""}/${key.name}`;
}

/** A status write changes the status only; any other write everything else, and the generation with the spec. */
function next(old: KubeObject, object: KubeObject, subresource: string | undefined): KubeObject {
  if (subresource === "status") return { ...old, status: object["status"] };
  const isSame = JSON.stringify(old["spec"]) === JSON.stringify(object["spec"]);
  const generation = (old.metadata.generation ?? 1) + (isSame ? 0 : 1);
  const metadata = {
    ...object.metadata,
    ...(old.metadata.uid === undefined ? {} : { uid: old.metadata.uid }),
    generation,
  };
  return {
    ...object,
    metadata,
    ...("status" in old ? { status: old["status"] } : { status: undefined }),
  };
}

function pick({ metadata: { name, namespace, resourceVersion } }: KubeObject) {
  return {
    name,
    ...(namespace === undefined ? {} : { namespace }),
    ...(resourceVersion === undefined ? {} : { resourceVersion }),
  };
}

/** RFC 7396. */
function merge(target: unknown, patch: unknown): unknown {
  if (typeof patch !== "object" || patch === null || Array.isArray(patch)) return patch;
  const out: Record<string, unknown> =
    typeof target === "object" && target !== null && !Array.isArray(target) ? { ...target } : {};
  for (const [key, value] of Object.entries(patch)) {
    if (value === null) delete out[key];
    else out[key] = merge(out[key], value);
  }
  return out;
}
