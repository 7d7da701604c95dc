import {
  apiVersionOf,
  type KubeObject,
  type OwnerReference,
  RESOURCES,
  type ResourceType,
} from "../../api/index.ts";
import { SerinError } from "../../base/index.ts";
import type { LocalWatchEvent } from "../local-api.ts";
import type { ControllerContext, RunningController } from "./context.ts";
import { createKeyedWorker } from "./keyed-worker.ts";
import { customKind, NAMESPACED_KINDS } from "./kinds.ts";

const { customResourceDefinition: DEFINITION, namespace: NAMESPACE, node: NODE } = RESOURCES;
const FOREGROUND = "foregroundDeletion";
const ORPHAN = "orphan";

interface Known {
  readonly kind: ResourceType;
  readonly object: KubeObject;
}

/**
 * Deletes what has lost its owners (background), holds an owner until its dependents are gone
 * (foreground), or frees them (orphan), as Kubernetes's garbage collector.
 */
export function startGarbageCollector(context: ControllerContext): RunningController {
  const collector = new GarbageCollector(context);
  collector.start();
  return collector;
}

class GarbageCollector implements RunningController {
  readonly #context: ControllerContext;
  readonly #known = new Map<string, Known>();
  /** Uids of dependents by uid of their owner. */
  readonly #dependents = new Map<string, Set<string>>();
  readonly #watched = new Map<string, () => void>();
  /** Every kind there is, by `plural.group`; an owner's kind may have no objects left. */
  readonly #kinds = new Map<string, ResourceType>();
  readonly #worker;

  constructor(context: ControllerContext) {
    this.#context = context;
    this.#worker = createKeyedWorker({ ...context, name: "garbagecollector" }, async (uid) => {
      await this.#visit(uid);
      return undefined;
    });
  }

  start(): void {
    for (const kind of [...NAMESPACED_KINDS, NAMESPACE, NODE]) this.#watch(kind);
    const stop = this.#context.api.watch(DEFINITION, ({ type, object }) => {
      const kind = customKind(object);
      if (kind === undefined) return;
      if (type === "DELETED") this.#unwatch(kind);
      else this.#watch(kind);
    });
    this.#watched.set("definitions", stop);
  }

  async stop(): Promise<void> {
    for (const stop of this.#watched.values()) stop();
    await this.#worker.stop();
  }

  #watch(kind: ResourceType): void {
    const name = `${kind.plural}.${kind.group}`;
    this.#kinds.set(name, kind);
    if (this.#watched.has(name)) return;
    try {
      this.#watched.set(
        name,
        this.#context.api.watch(kind, (event) => this.#note(kind, event)),
      );
    } catch {
      // A definition that is not served yet; its next event brings it here again.
    }
  }

  #unwatch(kind: ResourceType): void {
    const name = `${kind.plural}.${kind.group}`;
    this.#kinds.delete(name);
    this.#watched.get(name)?.();
    this.#watched.delete(name);
  }

  #note(kind: ResourceType, { type, object }: LocalWatchEvent): void {
    const { uid = "", ownerReferences = [], deletionTimestamp, finalizers = [] } = object.metadata;
    const owners = this.#known.get(uid)?.object.metadata.ownerReferences ?? [];
    for (const owner of owners) {
      this.#dependents.get(owner.uid)?.delete(uid);
      // It may have been what a former owner was waiting for.
      if (!ownerReferences.some((now) => now.uid === owner.uid)) this.#worker.add(owner.uid);
    }
    if (type === "DELETED") {
      this.#known.delete(uid);
      for (const dependent of this.#dependents.get(uid) ?? []) this.#worker.add(dependent);
      this.#dependents.delete(uid);
      for (const owner of owners) this.#worker.add(owner.uid);
      return;
    }
    this.#known.set(uid, { kind, object });
    for (const owner of ownerReferences) {
      const dependents = this.#dependents.get(owner.uid) ?? new Set();
      this.#dependents.set(owner.uid, dependents.add(uid));
    }
    const isHeld =
      deletionTimestamp !== undefined &&
      (finalizers.includes(FOREGROUND) || finalizers.includes(ORPHAN));
    if (ownerReferences.length > 0 || isHeld) this.#worker.add(uid);
    // Dependents that somebody else owns too let go of it.
    if (isHeld)
      for (const dependent of this.#dependents.get(uid) ?? []) this.#worker.add(dependent);
  }

  async #visit(uid: string): Promise<void> {
    const known = this.#known.get(uid);
    if (known === undefined) return;
    const { kind } = known;
    const { namespace, name } = known.object.metadata;
    const object = await this.#context.api.get(kind, { namespace, name });
    if (object === undefined || object.metadata.uid !== uid) return;
    const { deletionTimestamp, finalizers = [], ownerReferences = [] } = object.metadata;
    if (deletionTimestamp !== undefined) {
      if (finalizers.includes(ORPHAN)) await this.#orphan(kind, object);
      else if (finalizers.includes(FOREGROUND)) await this.#deleteDependents(kind, object);
      return;
    }
    if (ownerReferences.length > 0) await this.#judge(kind, object, ownerReferences);
  }

  /** An object without any owner left goes; owners that are gone are struck off otherwise. */
  async #judge(
    kind: ResourceType,
    object: KubeObject,
    owners: readonly OwnerReference[],
  ): Promise<void> {
    const { namespace, name, uid = "" } = object.metadata;
    const there: OwnerReference[] = [];
    let isWaitedFor = false;
    for (const owner of owners) {
      const found = await this.#find(owner, namespace);
      if (found === undefined) continue;
      const { deletionTimestamp, finalizers = [] } = found.metadata;
      const isForeground = deletionTimestamp !== undefined && finalizers.includes(FOREGROUND);
      if (isForeground) isWaitedFor = true;
      else there.push(owner);
    }
    const { api } = this.#context;
    const isFree = there.length === 0;
    if (isFree) {
      const propagation = isWaitedFor ? "Foreground" : "Background";
      await this.#ignoringGone(api.delete(kind, { namespace, name }, { propagation, uid }));
    } else if (there.length < owners.length) {
      // Others still own it: those that are gone, or wait for it to go, let it go.
      const metadata = { ...object.metadata, ownerReferences: there };
      await this.#ignoringGone(api.update(kind, { ...object, metadata }));
    }
  }

  async #find(
    owner: OwnerReference,
    namespace: string | undefined,
  ): Promise<KubeObject | undefined> {
    const kind = this.#kindOf(owner);
    // An owner of a kind that nobody serves cannot be shown to be gone.
    if (kind === undefined) return { metadata: { name: owner.name } } as KubeObject;
    const where = kind.namespaced ? namespace : undefined;
    const found = await this.#context.api.get(kind, { namespace: where, name: owner.name });
    return found?.metadata.uid === owner.uid ? found : undefined;
  }

  #kindOf(owner: OwnerReference): ResourceType | undefined {
    const group = owner.apiVersion.includes("/") ? (owner.apiVersion.split("/")[0] ?? "") : "";
    const isKind = (kind: ResourceType): boolean =>
      kind.kind === owner.kind && (kind.group === group || apiVersionOf(kind) === owner.apiVersion);
    return this.#known.get(owner.uid)?.kind ?? [...this.#kinds.values()].find(isKind);
  }

  #dependentsOf(object: KubeObject): readonly Known[] {
    const uids = this.#dependents.get(object.metadata.uid ?? "") ?? [];
    return [...uids].flatMap((uid) => this.#known.get(uid) ?? []);
  }

  async #deleteDependents(kind: ResourceType, object: KubeObject): Promise<void> {
    const { api } = this.#context;
    let blocking = 0;
    for (const dependent of this.#dependentsOf(object)) {
      const { namespace, name, uid = "", ownerReferences = [] } = dependent.object.metadata;
      const reference = ownerReferences.find((owner) => owner.uid === object.metadata.uid);
      if (reference?.blockOwnerDeletion === true) blocking += 1;
      if (dependent.object.metadata.deletionTimestamp !== undefined) continue;
      const others = ownerReferences.filter((owner) => owner.uid !== object.metadata.uid);
      if (others.length > 0) continue;
      await this.#ignoringGone(
        api.delete(dependent.kind, { namespace, name }, { propagation: "Foreground", uid }),
      );
    }
    if (blocking === 0) await this.#removeFinalizer(kind, object, FOREGROUND);
  }

  async #orphan(kind: ResourceType, object: KubeObject): Promise<void> {
    const { api } = this.#context;
    for (const dependent of this.#dependentsOf(object)) {
      const { namespace, name } = dependent.object.metadata;
      const now = await api.get(dependent.kind, { namespace, name });
      if (now === undefined) continue;
      const ownerReferences = (now.metadata.ownerReferences ?? []).filter(
        ({ uid }) => uid !== object.metadata.uid,
      );
      await api.update(dependent.kind, { ...now, metadata: { ...now.metadata, ownerReferences } });
    }
    await this.#removeFinalizer(kind, object, ORPHAN);
  }

  async #removeFinalizer(kind: ResourceType, object: KubeObject, name: string): Promise<void> {
    const finalizers = (object.metadata.finalizers ?? []).filter((finalizer) => finalizer !== name);
    const metadata = { ...object.metadata, finalizers };
    await this.#ignoringGone(this.#context.api.update(kind, { ...object, metadata }));
  }

  async #ignoringGone(write: Promise<unknown>): Promise<void> {
    try {
      await write;
    } catch (error) {
      if (error instanceof SerinError && error.code === "SERIN_NOT_FOUND") return;
      throw error;
    }
  }
}
