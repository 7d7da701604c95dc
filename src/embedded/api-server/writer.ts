import { randomInt, randomUUID } from "node:crypto";
import type { KubeObject } from "../../api/index.ts";
import type { Clock } from "../../runtime/index.ts";
import { establishedStatus } from "../core/api/crd-resource.ts";
import { admitPod } from "../core/api/defaults/pod.ts";
import { deepEqual, type JsonObject, objectAt, stringAt } from "../core/api/json.ts";
import { qosClassOf } from "../core/api/qos-class.ts";
import { groupVersion } from "../core/api/resource-info.ts";
import {
  alreadyExists,
  badRequest,
  conflict,
  forbidden,
  methodNotAllowed,
  notFound,
  StatusError,
} from "../core/api/status-error.ts";
import type { Admission } from "./admission.ts";
import { applyDefaults, readDocument } from "./intake.ts";
import { checkObject, countsGenerations, isReleased, wantsSomethingElse } from "./rules.ts";
import { atVersion } from "./served-object.ts";
import { allocateAddresses } from "./service-addresses.ts";
import type { Storage } from "./storage.ts";
import { timestamp } from "./timestamp.ts";
import type { Draft, Target, WriteOptions } from "./write-request.ts";

/**
 * Writes lost to somebody else between reading and storing are tried this often: n writers in step
 * need n attempts.
 */
const MAX_ATTEMPTS = 100;
const NAME_LETTERS = "bcdfghjklmnpqrstvwxz2456789";
const NAMESPACES = { group: "", plural: "namespaces" };
const SERVICES = { group: "", plural: "services" };

/** What an update changes: everything but status, or one subresource. */
export type UpdatePart = "main" | "status" | "finalize";

export interface Transform {
  /** The new document, made from the current one in the served version. */
  (current: KubeObject): unknown;
  /** Patches: their text, for error messages. */
  readonly patchText?: string;
}

/** The one path that every created or changed object takes, whoever sent it. */
export class Writer {
  readonly #storage: Storage;
  readonly #admission: Admission;
  readonly #clock: Clock;

  constructor(parts: {
    readonly storage: Storage;
    readonly admission: Admission;
    readonly clock: Clock;
  }) {
    this.#storage = parts.storage;
    this.#admission = parts.admission;
    this.#clock = parts.clock;
  }

  /** Reads, defaults, admits, checks and stores a new object. Throws StatusError. */
  async create(target: Target, body: unknown, options: WriteOptions): Promise<KubeObject> {
    const { resource } = target;
    let draft = readDocument(structuredClone(body), target, options);
    this.#checkNamespace(target, draft);
    this.#prepareCreate(draft, target);
    draft = applyDefaults(draft, target);
    if (resource.group === "" && resource.kind === "Pod") admitPod(draft);

    const request = { operation: "CREATE" as const, target, options, old: undefined };
    const mutated = await this.#admission.mutate({ ...request, object: draft });
    if (mutated !== draft) draft = applyDefaults(this.#reread(mutated, target, options), target);
    if (resource.group === "" && resource.kind === "Service") {
      allocateAddresses(draft, undefined, this.#storage.list(SERVICES));
    }
    if (isDefinition(target)) draft["status"] = establishedStatus(draft, this.#now());
    checkObject(draft, target);
    await this.#admission.validate({ ...request, object: draft });

    const name = String(draft.metadata["name"]);
    // Nothing is awaited from here to the write: this is where names are won.
    if (this.#storage.get(resource, target.namespace, name) !== undefined) {
      throw alreadyExists(resource, name);
    }
    this.#checkNamespace(target, draft);
    const stored = this.#inStorageVersion(draft, target);
    if (options.dryRun) return atVersion(stored, target);
    return atVersion(this.#storage.put(resource, stored), target);
  }

  /**
   * Changes an object by `transform`. When somebody else changes it meanwhile and the new document
   * names no resourceVersion of its own, it is done again on the newer state. Throws StatusError.
   */
  async update(
    target: Target,
    name: string,
    part: UpdatePart,
    transform: Transform,
    options: WriteOptions,
  ): Promise<KubeObject> {
    for (let attempt = 1; ; attempt++) {
      const current = this.#storage.get(target.resource, target.namespace, name);
      if (current === undefined) throw notFound(target.resource, name);
      const warnings: string[] = [];
      const change = await this.#prepareUpdate(target, current, part, transform, {
        ...options,
        warnings,
      });
      if (this.#storage.get(target.resource, target.namespace, name) === current) {
        options.warnings.push(...warnings);
        return this.#storeUpdate(target, current, change.draft, options);
      }
      if (change.isConditional || attempt === MAX_ATTEMPTS) throw conflict(target.resource, name);
    }
  }

  async #prepareUpdate(
    target: Target,
    current: KubeObject,
    part: UpdatePart,
    transform: Transform,
    options: WriteOptions,
  ): Promise<{ readonly draft: Draft; readonly isConditional: boolean }> {
    const { resource } = target;
    const served = atVersion(current, target);
    const old = asDraft(served);
    const sent = structuredClone(transform(served));
    let draft = readDocument(sent, target, options, transform.patchText);
    const isPatch = transform.patchText !== undefined;
    const wantedVersion = stringAt(draft, "metadata", "resourceVersion") ?? "";
    this.#checkIdentity(draft, old, target, wantedVersion);
    draft = this.#prepareParts(draft, old, target, part);
    draft = applyDefaults(draft, target);

    const subresource = part === "main" ? undefined : part;
    const request = { operation: "UPDATE" as const, target, options, old: served, subresource };
    const mutated = await this.#admission.mutate({ ...request, object: draft });
    if (mutated !== draft) {
      draft = this.#prepareParts(this.#reread(mutated, target, options), old, target, part);
      draft = applyDefaults(draft, target);
    }
    if (resource.group === "" && resource.kind === "Service" && part === "main") {
      allocateAddresses(draft, current, this.#storage.list(SERVICES));
    }
    if (isDefinition(target) && part === "main") {
      draft["status"] = { ...objectAt(draft, "status"), ...storedVersionsOf(draft, served) };
    }
    if (countsGenerations(target) && wantsSomethingElse(draft, old, target)) {
      draft.metadata["generation"] = (served.metadata.generation ?? 0) + 1;
    }
    checkObject(draft, target, old);
    await this.#admission.validate({ ...request, object: draft });
    const unchangedVersion = isPatch && wantedVersion === served.metadata.resourceVersion;
    return { draft, isConditional: wantedVersion !== "" && !unchangedVersion };
  }

  #storeUpdate(
    target: Target,
    current: KubeObject,
    draft: Draft,
    options: WriteOptions,
  ): KubeObject {
    const { resource } = target;
    const stored = this.#inStorageVersion(draft, target);
    if (options.dryRun) return atVersion(stored, target);
    if (isReleased(draft, target)) {
      return atVersion(this.#storage.remove(resource, stored), target);
    }
    // A write that changes nothing is not one: no new version, no watch event.
    if (deepEqual(stored, current)) return atVersion(current, target);
    return atVersion(this.#storage.put(resource, stored), target);
  }

  #checkIdentity(draft: Draft, old: Draft, target: Target, wantedVersion: string): void {
    const { metadata } = draft;
    const name = String(old.metadata["name"]);
    if ((metadata["name"] ?? "") === "") metadata["name"] = name;
    if (metadata["name"] !== name) {
      throw badRequest(
        `the name of the object (${String(metadata["name"])}) does not match the name on the URL (${name})`,
      );
    }
    if (wantedVersion !== "" && wantedVersion !== old.metadata["resourceVersion"]) {
      throw conflict(target.resource, name);
    }
    const uid = metadata["uid"] ?? "";
    if (uid !== "" && uid !== old.metadata["uid"]) {
      throw conflict(
        target.resource,
        name,
        `Precondition failed: UID in precondition: ${String(uid)}, UID in object meta: ${String(old.metadata["uid"])}`,
      );
    }
  }

  /** Keeps what this part of the object may not touch. */
  #prepareParts(draft: Draft, old: Draft, target: Target, part: UpdatePart): Draft {
    if (part === "status")
      return { ...old, metadata: { ...old.metadata }, status: draft["status"] };
    if (part === "finalize") {
      const finalizers = objectAt(draft, "spec")?.["finalizers"];
      const spec = { ...objectAt(old, "spec"), finalizers: finalizers ?? [] };
      return { ...old, metadata: { ...old.metadata }, spec };
    }
    const kept = old.metadata;
    const metadata: JsonObject = { ...draft.metadata };
    for (const field of [
      ...["uid", "creationTimestamp", "generation", "resourceVersion", "generateName"],
      ...["deletionTimestamp", "deletionGracePeriodSeconds", "selfLink"],
    ]) {
      if (kept[field] === undefined) delete metadata[field];
      else metadata[field] = kept[field];
    }
    const next: Draft = { ...draft, metadata };
    if (target.version.hasStatus) {
      if (old["status"] === undefined) delete next["status"];
      else next["status"] = structuredClone(old["status"]);
    }
    // A namespace's own finalizers change only through its `finalize` subresource.
    if (target.resource.group === "" && target.resource.kind === "Namespace") {
      next["spec"] = structuredClone(old["spec"] ?? {});
    }
    return next;
  }

  #prepareCreate(draft: Draft, target: Target): void {
    const { metadata } = draft;
    for (const field of [
      "deletionTimestamp",
      "deletionGracePeriodSeconds",
      "selfLink",
      "generation",
    ]) {
      delete metadata[field];
    }
    if ((metadata["resourceVersion"] ?? "") !== "") {
      throw new StatusError(
        500,
        "InternalError",
        "resourceVersion should not be set on objects to be created",
      );
    }
    delete metadata["resourceVersion"];
    const generateName = metadata["generateName"];
    if (
      (metadata["name"] ?? "") === "" &&
      typeof generateName === "string" &&
      generateName !== ""
    ) {
      metadata["name"] = `${generateName.slice(0, 58)}${randomLetters(5)}`;
    }
    metadata["uid"] = randomUUID();
    metadata["creationTimestamp"] = this.#now();
    if (countsGenerations(target)) metadata["generation"] = 1;
    if (target.version.hasStatus) {
      if (target.resource.isCustom) delete draft["status"];
      else draft["status"] = {};
    }
    if (target.resource.group === "" && target.resource.kind === "Pod") {
      draft["status"] = { phase: "Pending", qosClass: qosClassOf(draft) };
    }
    if (target.resource.group === "" && target.resource.kind === "Service") {
      draft["status"] = { loadBalancer: {} };
    }
  }

  /** NamespaceLifecycle: nothing new in a namespace that is not there or is going. */
  #checkNamespace(target: Target, draft: Draft): void {
    const { resource, namespace } = target;
    if (isTerminatingDefinition(this.#storage, target)) throw methodNotAllowed();
    if (!resource.namespaced) return;
    const found = this.#storage.get(NAMESPACES, "", namespace);
    if (found === undefined) throw notFound({ ...NAMESPACES, kind: "Namespace" }, namespace);
    if (found.metadata.deletionTimestamp === undefined) return;
    throw forbidden(
      resource,
      String(draft.metadata["name"] ?? ""),
      `unable to create new content in namespace ${namespace} because it is being terminated`,
    );
  }

  /** What webhooks made of an object is read like anything from outside. */
  #reread(mutated: JsonObject, target: Target, options: WriteOptions): Draft {
    return readDocument(mutated, target, { ...options, fieldValidation: "Ignore" });
  }

  #inStorageVersion(draft: Draft, target: Target): KubeObject {
    const apiVersion = groupVersion(target.resource.group, target.resource.storageVersion);
    return { ...draft, apiVersion } as unknown as KubeObject;
  }

  #now(): string {
    return timestamp(this.#clock.nowMs());
  }
}

function asDraft(object: KubeObject): Draft {
  return structuredClone(object) as unknown as Draft;
}

function isDefinition(target: Target): boolean {
  return target.resource.kind === "CustomResourceDefinition" && !target.resource.isCustom;
}

function isTerminatingDefinition(storage: Storage, target: Target): boolean {
  if (!target.resource.isCustom) return false;
  const { group, plural } = target.resource;
  const definitions = { group: "apiextensions.k8s.io", plural: "customresourcedefinitions" };
  const definition = storage.get(definitions, "", `${plural}.${group}`);
  return definition === undefined || definition.metadata.deletionTimestamp !== undefined;
}

/** Names follow the spec; versions once stored stay listed. */
function storedVersionsOf(next: Draft, old: KubeObject): JsonObject {
  const before = objectAt(old, "status")?.["storedVersions"];
  const fresh = establishedStatus(next, "")["storedVersions"];
  const listed = [...(Array.isArray(before) ? before : []), ...(Array.isArray(fresh) ? fresh : [])];
  return {
    acceptedNames: objectAt(next, "spec", "names") ?? {},
    storedVersions: [...new Set(listed)],
  };
}

function randomLetters(count: number): string {
  return Array.from({ length: count }, () => NAME_LETTERS[randomInt(NAME_LETTERS.length)]).join("");
}
