import type { KubeObject, ResourceType } from "../api/index.ts";

/** Names one object; namespace is absent for cluster-scoped kinds. */
export interface ObjectKey {
  readonly namespace?: string | undefined;
  readonly name: string;
}

export interface ListOptions {
  readonly namespace?: string | undefined;
  /** As on the wire: `app=reviews,version!=v1`. */
  readonly labelSelector?: string | undefined;
  readonly fieldSelector?: string | undefined;
}

export interface ObjectList {
  readonly items: readonly KubeObject[];
  readonly resourceVersion: string;
}

export type PatchKind = "json" | "merge" | "strategic";
export type Subresource = "status" | "scale";

export interface WatchEvent {
  readonly type: "ADDED" | "MODIFIED" | "DELETED" | "BOOKMARK";
  readonly object: KubeObject;
}

/**
 * The Kubernetes API as Serin's areas see it. Every call may throw SerinError:
 * SERIN_NOT_FOUND (only from writes; `get` answers undefined), SERIN_CONFLICT (409: stale
 * resourceVersion or exists already), SERIN_INVALID_RESOURCE (400, 403 by a webhook, 422),
 * SERIN_UNAVAILABLE (not reached), SERIN_API (anything else).
 */
export interface KubeStore {
  get(type: ResourceType, key: ObjectKey): Promise<KubeObject | undefined>;
  list(type: ResourceType, options?: ListOptions): Promise<ObjectList>;
  create(type: ResourceType, object: KubeObject): Promise<KubeObject>;
  /** PUT: the object carries the resourceVersion it was read at. */
  update(
    type: ResourceType,
    object: KubeObject,
    options?: { readonly subresource?: Subresource },
  ): Promise<KubeObject>;
  patch(
    type: ResourceType,
    key: ObjectKey,
    patch: unknown,
    options: { readonly kind: PatchKind; readonly subresource?: Subresource },
  ): Promise<KubeObject>;
  delete(
    type: ResourceType,
    key: ObjectKey,
    options?: { readonly propagation?: "Background" | "Foreground" | "Orphan" },
  ): Promise<void>;
  /**
   * Events after `resourceVersion`, bookmarks included, until the server ends the stream or the
   * signal aborts. Throws SERIN_CONFLICT with `retry: "yes"` when the version is too old (410).
   */
  watch(
    type: ResourceType,
    options: ListOptions & { readonly resourceVersion: string; readonly signal: AbortSignal },
  ): AsyncIterable<WatchEvent>;
}
