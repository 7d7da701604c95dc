import type { Clock } from "../runtime/index.ts";

/** What may be on its way to all proxies together before the others wait. */
const MAX_BYTES = 16 * 1_048_576;
/** A proxy that does not read holds up the others no longer than this. */
const PATIENCE_MS = 1000;

/** Lets work out in the order it came, as long as not too much of what it wrote is still to be sent. */
export interface PushPacer<Worker extends object> {
  /** Runs `worker` now, or once there is room; one that waits already waits once. */
  run(worker: Worker): void;
  /** So much was written; call the result once the socket has taken it. */
  wrote(bytes: number): () => void;
  forget(worker: Worker): void;
}

/**
 * Paces pushes: a thousand proxies are not written to at once when each is to get a megabyte, which
 * would all lie in memory. Waiting costs nothing but time: what a proxy is sent is decided when its
 * turn comes, so that the newest state replaces what came before.
 */
export function createPushPacer<Worker extends object>(options: {
  readonly clock: Clock;
  readonly work: (worker: Worker) => void;
  readonly maxBytes?: number;
}): PushPacer<Worker> {
  const { clock, work, maxBytes = MAX_BYTES } = options;
  const waiting = new Set<Worker>();
  let pendingBytes = 0;
  let isRunning = false;

  const drain = (): void => {
    // A write that completes at once comes back here.
    if (isRunning) return;
    isRunning = true;
    try {
      for (const worker of waiting) {
        if (pendingBytes >= maxBytes) return;
        waiting.delete(worker);
        work(worker);
      }
    } finally {
      isRunning = false;
    }
  };

  return {
    run(worker) {
      waiting.add(worker);
      drain();
    },
    wrote(bytes) {
      pendingBytes += bytes;
      let isCounted = true;
      const release = (): void => {
        if (!isCounted) return;
        isCounted = false;
        cancel();
        pendingBytes -= bytes;
        drain();
      };
      const cancel = clock.schedule(PATIENCE_MS, release);
      return release;
    },
    forget: (worker) => void waiting.delete(worker),
  };
}
