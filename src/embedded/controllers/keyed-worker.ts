import { backoffMs, messageOf } from "../../base/index.ts";
import type { Clock, Logger } from "../../runtime/index.ts";

const RETRY = { baseMs: 5, maxMs: 5000 };

/** Runs work by key, never twice at once for one key; what is added meanwhile runs it again. */
export interface KeyedWorker {
  /** Now, or after `delayMs`; an earlier time wins. */
  add(key: string, delayMs?: number): void;
  /** No new work; resolves when the running work is done. */
  stop(): Promise<void>;
}

interface Entry {
  isRunning: boolean;
  isDirty: boolean;
  failures: number;
  dueMs: number;
  cancel: (() => void) | undefined;
}

/** `work` answers after how long the key is due again; when it throws, it runs again with back-off. */
export function createKeyedWorker(
  parts: { readonly clock: Clock; readonly logger: Logger; readonly name: string },
  work: (key: string) => Promise<number | undefined>,
): KeyedWorker {
  const { clock, logger, name } = parts;
  const entries = new Map<string, Entry>();
  const running = new Set<Promise<void>>();
  let isStopped = false;

  const run = async (key: string, entry: Entry): Promise<void> => {
    entry.isRunning = true;
    entry.isDirty = false;
    let dueMs: number | undefined;
    try {
      dueMs = await work(key);
      entry.failures = 0;
    } catch (error) {
      dueMs = backoffMs(entry.failures, RETRY, Math.random());
      entry.failures += 1;
      logger.debug({ controller: name, key, reason: messageOf(error), dueMs }, "will try again");
    }
    entry.isRunning = false;
    // After a failure the pause holds whatever happens: what fails may itself cause events.
    if (entry.isDirty && entry.failures === 0) add(key);
    else if (dueMs !== undefined) add(key, dueMs);
    else entries.delete(key);
  };
  const start = (key: string, entry: Entry): void => {
    const done: Promise<void> = run(key, entry).finally(() => running.delete(done));
    running.add(done);
  };
  const add = (key: string, delayMs = 0): void => {
    if (isStopped) return;
    let entry = entries.get(key);
    if (entry === undefined) {
      entry = {
        isRunning: false,
        isDirty: false,
        failures: 0,
        dueMs: Number.POSITIVE_INFINITY,
        cancel: undefined,
      };
      entries.set(key, entry);
    }
    if (entry.isRunning) {
      entry.isDirty = true;
      return;
    }
    const dueMs = clock.nowMs() + delayMs;
    if (entry.cancel !== undefined && entry.dueMs <= dueMs) return;
    entry.cancel?.();
    entry.dueMs = dueMs;
    const scheduled = entry;
    entry.cancel = clock.schedule(delayMs, () => {
      scheduled.cancel = undefined;
      start(key, scheduled);
    });
  };
  return {
    add,
    async stop() {
      isStopped = true;
      for (const entry of entries.values()) entry.cancel?.();
      await Promise.all(running);
    },
  };
}

/** `namespace/name`, the key of a namespaced object. */
export function keyOf(metadata: { readonly namespace?: string; readonly name: string }): string {
  return `${metadata.namespace ?? ""}/${metadata.name}`;
}

export function splitKey(key: string): { readonly namespace: string; readonly name: string } {
  const slash = key.indexOf("/");
  return { namespace: key.slice(0, slash), name: key.slice(slash + 1) };
}
