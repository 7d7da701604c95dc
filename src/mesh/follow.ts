import type { KubeObject, ResourceType } from "../api/index.ts";
import { backoffMs, messageOf, SerinError } from "../base/index.ts";
import type { KubeStore, ListOptions } from "../kube/store.ts";
import type { Clock, Logger } from "../runtime/index.ts";

const BACKOFF = { baseMs: 100, maxMs: 10_000 };

export interface FollowOptions {
  readonly store: KubeStore;
  readonly clock: Clock;
  readonly logger: Logger;
  /** In [0, 1), for the jitter of the back-off. */
  readonly random: () => number;
  readonly type: ResourceType;
  /** Which objects of the kind; all by default. */
  readonly select?: ListOptions | undefined;
  readonly signal: AbortSignal;
  /** Everything there is, at first and whenever a watch cannot be resumed. */
  readonly onList: (objects: readonly KubeObject[]) => void;
  readonly onEvent: (type: "ADDED" | "MODIFIED" | "DELETED", object: KubeObject) => void;
}

/**
 * Keeps a kind in sight until the signal aborts: lists, watches, resumes where a watch ended and lists
 * again when that is too old. While the API is away nothing is called. A kind without its CRD counts
 * as empty, and is looked for again. Never rejects.
 */
export async function followKind(options: FollowOptions): Promise<void> {
  const { store, clock, logger, type, select = {}, signal } = options;
  let attempt = 0;
  let resourceVersion: string | undefined;
  let isMissing = false;
  while (!signal.aborted) {
    try {
      if (resourceVersion === undefined) {
        const list = await store.list(type, select);
        resourceVersion = list.resourceVersion;
        isMissing = false;
        options.onList(list.items);
      }
      for await (const event of store.watch(type, { ...select, resourceVersion, signal })) {
        attempt = 0;
        resourceVersion = event.object.metadata.resourceVersion ?? resourceVersion;
        if (event.type !== "BOOKMARK") options.onEvent(event.type, event.object);
      }
    } catch (error) {
      const isExpired = error instanceof SerinError && error.code === "SERIN_CONFLICT";
      const isUnknown = error instanceof SerinError && error.code === "SERIN_NOT_FOUND";
      if (isExpired || isUnknown) resourceVersion = undefined;
      if (isUnknown && !isMissing) options.onList([]);
      isMissing = isUnknown;
      const reason = messageOf(error);
      logger.warn({ kind: type.plural, reason }, "watch ended, will try again");
      await pause(backoffMs(attempt, BACKOFF, options.random()), clock, signal);
      attempt += 1;
    }
  }
}

function pause(delayMs: number, clock: Clock, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const done = (): void => {
      cancel();
      signal.removeEventListener("abort", done);
      resolve();
    };
    const cancel = clock.schedule(delayMs, done);
    signal.addEventListener("abort", done);
  });
}
