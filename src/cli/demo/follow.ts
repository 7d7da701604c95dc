import { setTimeout as sleep } from "node:timers/promises";
import type { KubeObject, ResourceType } from "../../api/index.ts";
import type { KubeStore, ListOptions } from "../../kube/store.ts";

/** What changed: the object as it is now, or that it is gone. */
export interface Change {
  readonly type: "present" | "deleted";
  readonly object: KubeObject;
}

const RETRY_MS = 500;

/**
 * Tells about every object there is, then about every change, until the signal aborts. When the
 * watch breaks it lists again, so an object may be told twice and a deletion in the gap be missed.
 */
export async function follow(
  store: KubeStore,
  type: ResourceType,
  options: ListOptions,
  onChange: (change: Change) => void,
  signal: AbortSignal,
): Promise<void> {
  while (!signal.aborted) {
    try {
      const { items, resourceVersion } = await store.list(type, options);
      for (const object of items) onChange({ type: "present", object });
      for await (const event of store.watch(type, { ...options, resourceVersion, signal })) {
        if (event.type === "BOOKMARK") continue;
        onChange({ type: event.type === "DELETED" ? "deleted" : "present", object: event.object });
      }
    } catch {
      // The server ended the watch, forgot the version or is gone: list again, unless we are done.
      await sleep(RETRY_MS, undefined, { signal }).catch(() => undefined);
    }
  }
}
