import type { KubeObject, ResourceType } from "../api/index.ts";
import { backoffMs, messageOf } from "../base/index.ts";
import type { KubeStore } from "../kube/store.ts";
import type { Clock, Logger } from "../runtime/index.ts";

const RETRY = { baseMs: 200, maxMs: 10_000 };

/**
 * Tells about every object of a type and every change until the signal aborts. Lists again, after a
 * growing pause, when the watch breaks; a deletion in the gap is not told.
 */
export async function watchAll(
  context: { readonly store: KubeStore; readonly clock: Clock; readonly logger: Logger },
  type: ResourceType,
  namespace: string | undefined,
  onChange: (object: KubeObject, isDeleted: boolean) => void,
  signal: AbortSignal,
): Promise<void> {
  const { store, clock, logger } = context;
  for (let attempt = 0; !signal.aborted; attempt += 1) {
    try {
      const { items, resourceVersion } = await store.list(type, { namespace });
      for (const object of items) onChange(object, false);
      for await (const event of store.watch(type, { namespace, resourceVersion, signal })) {
        attempt = 0;
        if (event.type !== "BOOKMARK") onChange(event.object, event.type === "DELETED");
      }
    } catch (error) {
      // A kind whose CRD is not installed ends here too: it may be installed later.
      if (!signal.aborted)
        logger.debug(
          { kind: type.kind, group: type.group, error: messageOf(error) },
          "watch broke",
        );
    }
    await pause(clock, backoffMs(attempt, RETRY, Math.random()), signal);
  }
}

function pause(clock: Clock, delayMs: number, signal: AbortSignal): Promise<void> {
  if (signal.aborted) return Promise.resolve();
  return new Promise((resolve) => {
    const cancel = clock.schedule(delayMs, resolve);
    signal.addEventListener(
      "abort",
      () => {
        cancel();
        resolve();
      },
      { once: true },
    );
  });
}
