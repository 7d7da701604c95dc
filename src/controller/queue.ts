import type { Clock } from "../runtime/index.ts";

/** Runs work by key: never twice at once for one key; what is added while it runs makes it run again. */
export interface KeyQueue {
  add(key: string, delayMs?: number): void;
  /** No new work; resolves when the running work is done. */
  stop(): Promise<void>;
}

interface Entry {
  isRunning: boolean;
  isDirty: boolean;
  cancelTimer: (() => void) | undefined;
}

/** `work` must not throw. It answers after how many ms the key is due again, or undefined. */
export function createKeyQueue(
  clock: Clock,
  work: (key: string) => Promise<number | undefined>,
): KeyQueue {
  const entries = new Map<string, Entry>();
  const running = new Set<Promise<void>>();
  let isStopped = false;

  const run = async (key: string, entry: Entry): Promise<void> => {
    entry.isRunning = true;
    entry.isDirty = false;
    const dueMs = await work(key);
    entry.isRunning = false;
    if (entry.isDirty) add(key);
    else if (dueMs !== undefined) add(key, dueMs);
  };
  const add = (key: string, delayMs = 0): void => {
    if (isStopped) return;
    const entry = entries.get(key) ?? { isRunning: false, isDirty: false, cancelTimer: undefined };
    entries.set(key, entry);
    entry.cancelTimer?.();
    entry.cancelTimer = undefined;
    if (delayMs > 0) {
      entry.cancelTimer = clock.schedule(delayMs, () => add(key));
      return;
    }
    if (entry.isRunning) {
      entry.isDirty = true;
      return;
    }
    const done: Promise<void> = run(key, entry).finally(() => running.delete(done));
    running.add(done);
  };
  return {
    add,
    async stop() {
      isStopped = true;
      for (const entry of entries.values()) entry.cancelTimer?.();
      await Promise.all(running);
    },
  };
}
