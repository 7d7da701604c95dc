import type { KubeObject } from "../../api/index.ts";
import type { Clock } from "../../runtime/index.ts";
import { numberAt, objectAt, stringAt } from "../core/api/json.ts";
import { conflict, forbidden, notFound } from "../core/api/status-error.ts";
import type { Admission } from "./admission.ts";
import type { Registry } from "./registry.ts";
import { countsGenerations, isReleased } from "./rules.ts";
import { atVersion } from "./served-object.ts";
import type { Storage } from "./storage.ts";
import { timestamp } from "./timestamp.ts";
import type { DeleteOptions, Draft, Target, WriteOptions } from "./write-request.ts";

const MAX_ATTEMPTS = 100;
const DEFAULT_GRACE_SECONDS = 30;
const DEFINITIONS = { group: "apiextensions.k8s.io", plural: "customresourcedefinitions" };
const CLEANUP = "customresourcecleanup.apiextensions.k8s.io";

/** How a deletion went: gone, or marked and waiting for finalizers or a grace period. */
export interface Removal {
  readonly object: KubeObject;
  readonly isGone: boolean;
}

/** The one path that every deletion takes. */
export class Remover {
  readonly #storage: Storage;
  readonly #registry: Registry;
  readonly #admission: Admission;
  readonly #clock: Clock;

  constructor(parts: {
    readonly storage: Storage;
    readonly registry: Registry;
    readonly admission: Admission;
    readonly clock: Clock;
  }) {
    this.#storage = parts.storage;
    this.#registry = parts.registry;
    this.#admission = parts.admission;
    this.#clock = parts.clock;
  }

  /**
   * Deletes an object, or marks it deleted where finalizers or a pod's grace period hold it.
   * Throws StatusError.
   */
  async delete(
    target: Target,
    name: string,
    how: DeleteOptions,
    options: WriteOptions,
  ): Promise<Removal> {
    for (let attempt = 1; ; attempt++) {
      const current = this.#storage.get(target.resource, target.namespace, name);
      if (current === undefined) throw notFound(target.resource, name);
      checkPreconditions(target, current, how);
      checkDeletable(target, name);
      const old = atVersion(current, target);
      const request = { operation: "DELETE" as const, target, options, old, object: undefined };
      await this.#admission.mutate(request);
      await this.#admission.validate(request);
      if (this.#storage.get(target.resource, target.namespace, name) === current) {
        return this.#remove(target, current, how, options);
      }
      if (attempt === MAX_ATTEMPTS) throw conflict(target.resource, name);
    }
  }

  /** Deletes every instance of definitions that are being deleted; called once at start too. */
  async cleanUpDefinitions(options: WriteOptions): Promise<void> {
    for (const definition of this.#storage.list(DEFINITIONS)) {
      if (definition.metadata.deletionTimestamp !== undefined) {
        await this.#cleanUp(definition, options);
      }
    }
  }

  #remove(target: Target, current: KubeObject, how: DeleteOptions, options: WriteOptions): Removal {
    const { resource } = target;
    const draft = structuredClone(current) as unknown as Draft;
    const graceSeconds = this.#graceSeconds(target, current, how);
    markDeleted(draft, target, how, graceSeconds, this.#clock.nowMs());
    if (isDefinitionInUse(this.#storage, draft, target)) addFinalizer(draft, CLEANUP);
    const marked = draft as unknown as KubeObject;
    const isGone = isReleased(draft, target);
    if (options.dryRun) return { object: atVersion(marked, target), isGone };
    if (isGone) {
      return { object: atVersion(this.#storage.remove(resource, marked), target), isGone };
    }
    const isNews = JSON.stringify(marked) !== JSON.stringify(current);
    const stored = isNews ? this.#storage.put(resource, marked) : current;
    if (target.resource.plural === DEFINITIONS.plural) {
      // Goes on behind the answer, as on a real cluster; a failure is retried at the next start.
      void this.#cleanUp(stored, { ...options, warnings: [] }).catch(() => undefined);
    }
    return { object: atVersion(stored, target), isGone };
  }

  /** Pods get their grace period, unless nothing of them runs. */
  #graceSeconds(target: Target, current: KubeObject, how: DeleteOptions): number {
    if (target.resource.kind !== "Pod" || target.resource.group !== "") return 0;
    const phase = stringAt(current, "status", "phase");
    const isRunning =
      (stringAt(current, "spec", "nodeName") ?? "") !== "" &&
      phase !== "Succeeded" &&
      phase !== "Failed";
    if (!isRunning) return 0;
    const own = numberAt(current, "spec", "terminationGracePeriodSeconds") ?? DEFAULT_GRACE_SECONDS;
    return Math.max(0, how.gracePeriodSeconds ?? own);
  }

  async #cleanUp(definition: KubeObject, options: WriteOptions): Promise<void> {
    const group = stringAt(definition, "spec", "group") ?? "";
    const plural = stringAt(definition, "spec", "names", "plural") ?? "";
    const resource = this.#registry.find(group, plural);
    const version = resource?.versions.find((v) => v.name === resource.storageVersion);
    if (resource === undefined || version === undefined) return;
    const background = {
      propagation: "Background",
      gracePeriodSeconds: undefined,
      uid: undefined,
      resourceVersion: undefined,
    } as const;
    for (const object of this.#storage.list(resource)) {
      const target = { resource, version, namespace: object.metadata.namespace ?? "" };
      await this.delete(target, object.metadata.name, background, options);
    }
    const release = (): void => {
      if (this.#storage.list(resource).length > 0) return;
      stop();
      const now = this.#storage.get(DEFINITIONS, "", definition.metadata.name);
      if (now === undefined || now.metadata.uid !== definition.metadata.uid) return;
      const finalizers = (now.metadata.finalizers ?? []).filter((f) => f !== CLEANUP);
      const released = { ...now, metadata: { ...now.metadata, finalizers } };
      if (finalizers.length === 0) this.#storage.remove(DEFINITIONS, released);
      else this.#storage.put(DEFINITIONS, released);
    };
    // Instances with finalizers go when their controllers let them.
    const stop = this.#storage.subscribe(resource, release);
    release();
  }
}

/** NamespaceLifecycle: what every cluster has stays. */
function checkDeletable(target: Target, name: string): void {
  const isNamespace = target.resource.group === "" && target.resource.kind === "Namespace";
  if (isNamespace && ["default", "kube-system", "kube-public"].includes(name)) {
    throw forbidden(target.resource, name, "this namespace may not be deleted");
  }
}

function checkPreconditions(target: Target, current: KubeObject, how: DeleteOptions): void {
  const { name, uid, resourceVersion } = current.metadata;
  const fail = (what: string, wanted: string, found: string | undefined): never => {
    throw conflict(
      target.resource,
      name,
      `Precondition failed: ${what} in precondition: ${wanted}, ${what} in object meta: ${found ?? ""}`,
    );
  };
  if (how.uid !== undefined && how.uid !== uid) fail("UID", how.uid, uid);
  if (how.resourceVersion !== undefined && how.resourceVersion !== resourceVersion) {
    fail("ResourceVersion", how.resourceVersion, resourceVersion);
  }
}

function markDeleted(
  draft: Draft,
  target: Target,
  how: DeleteOptions,
  graceSeconds: number,
  nowMs: number,
): void {
  const { metadata } = draft;
  const finalizers = finalizersAfter(metadata["finalizers"], how.propagation);
  if (finalizers.length > 0) metadata["finalizers"] = finalizers;
  else delete metadata["finalizers"];
  const before = numberAt(metadata, "deletionGracePeriodSeconds");
  const isMarked = metadata["deletionTimestamp"] !== undefined;
  // A second deletion may only shorten the grace period.
  if (!isMarked || graceSeconds < (before ?? 0)) {
    metadata["deletionTimestamp"] = timestamp(nowMs + graceSeconds * 1000);
    metadata["deletionGracePeriodSeconds"] = graceSeconds;
  }
  if (!isMarked && countsGenerations(target)) {
    metadata["generation"] = (numberAt(metadata, "generation") ?? 0) + 1;
  }
  if (target.resource.group === "" && target.resource.kind === "Namespace") {
    draft["status"] = { ...objectAt(draft, "status"), phase: "Terminating" };
  }
}

function finalizersAfter(had: unknown, propagation: DeleteOptions["propagation"]): string[] {
  const finalizers = Array.isArray(had) ? had.map(String) : [];
  if (propagation === undefined) return finalizers;
  const others = finalizers.filter((f) => f !== "foregroundDeletion" && f !== "orphan");
  if (propagation === "Foreground") return [...others, "foregroundDeletion"];
  return propagation === "Orphan" ? [...others, "orphan"] : others;
}

function addFinalizer(draft: Draft, finalizer: string): void {
  const had = Array.isArray(draft.metadata["finalizers"]) ? draft.metadata["finalizers"] : [];
  if (!had.includes(finalizer)) draft.metadata["finalizers"] = [...had, finalizer];
}

function isDefinitionInUse(storage: Storage, draft: Draft, target: Target): boolean {
  if (target.resource.plural !== DEFINITIONS.plural || target.resource.isCustom) return false;
  const group = stringAt(draft, "spec", "group") ?? "";
  const plural = stringAt(draft, "spec", "names", "plural") ?? "";
  return storage.list({ group, plural }).length > 0;
}
