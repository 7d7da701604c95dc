import { RESOURCES } from "../api/index.ts";
import { backoffMs, messageOf, SerinError } from "../base/index.ts";
import type { KubeStore } from "../kube/store.ts";
import type { Clock, Logger } from "../runtime/index.ts";
import type { DistributionStatus, TrackedResource } from "./core/distribution.ts";

/** A count that goes up, while the answer is still the same, is told this often. */
const COUNT_MS = 250;
const BACKOFF = { baseMs: 50, maxMs: 5000 };

export interface RouteStatusOptions {
  readonly store: KubeStore;
  readonly clock: Clock;
  readonly logger: Logger;
  /** In [0, 1), for the jitter of the back-off. */
  readonly random: () => number;
}

/** Writes `status.observedGeneration` and the condition `Reconciled` of VirtualServices. */
export interface RouteStatusWriter {
  /** Makes it so; what is the same as last time costs nothing, newer replaces what is not written yet. */
  write(resource: TrackedResource, status: DistributionStatus): void;
  /** Somebody else may have written meanwhile: everything is to be written anew. */
  forgetWritten(): void;
  /** Forgets resources that are gone. */
  retain(uids: ReadonlySet<string>): void;
  stop(): void;
}

interface Entry {
  written: string | undefined;
  isReconciled: boolean | undefined;
  sinceMs: number;
  observedGeneration: number | undefined;
  writtenMs: number;
  next: { readonly resource: TrackedResource; readonly status: DistributionStatus } | undefined;
  isBusy: boolean;
  attempt: number;
  cancelRetry: (() => void) | undefined;
}

/** A writer; each resource has at most one write under way, errors are tried again for ever. */
export function createRouteStatusWriter(options: RouteStatusOptions): RouteStatusWriter {
  const { store, clock, logger } = options;
  const entries = new Map<string, Entry>();
  let isStopped = false;

  const run = async (entry: Entry): Promise<void> => {
    if (entry.isBusy || isStopped) return;
    const { next } = entry;
    if (next === undefined) return;
    const text = JSON.stringify(next.status);
    if (text === entry.written) {
      entry.next = undefined;
      return;
    }
    const { isReconciled, observedGeneration } = next.status;
    const isCount =
      entry.isReconciled === isReconciled && entry.observedGeneration === observedGeneration;
    const waitMs = isCount ? entry.writtenMs + COUNT_MS - clock.nowMs() : 0;
    if (waitMs > 0) {
      entry.cancelRetry ??= clock.schedule(waitMs, () => {
        entry.cancelRetry = undefined;
        void run(entry);
      });
      return;
    }
    entry.next = undefined;
    entry.isBusy = true;
    try {
      await patch(entry, next.resource, next.status);
      entry.written = text;
      entry.observedGeneration = observedGeneration;
      entry.writtenMs = clock.nowMs();
      entry.attempt = 0;
    } catch (error) {
      const isGone = error instanceof SerinError && error.code === "SERIN_NOT_FOUND";
      if (!isGone) {
        const { namespace, name } = next.resource;
        logger.warn({ namespace, name, reason: messageOf(error) }, "status not written");
        entry.next ??= next;
        const delayMs = backoffMs(entry.attempt, BACKOFF, options.random());
        entry.attempt += 1;
        entry.cancelRetry = clock.schedule(delayMs, () => void run(entry));
        return;
      }
    } finally {
      entry.isBusy = false;
    }
    await run(entry);
  };

  const patch = async (
    entry: Entry,
    resource: TrackedResource,
    status: DistributionStatus,
  ): Promise<void> => {
    if (entry.isReconciled !== status.isReconciled) {
      entry.isReconciled = status.isReconciled;
      entry.sinceMs = clock.nowMs();
    }
    const { namespace, name } = resource;
    const condition = {
      type: "Reconciled",
      status: status.isReconciled ? "True" : "False",
      lastTransitionTime: `${new Date(entry.sinceMs).toISOString().slice(0, 19)}Z`,
      message: status.message,
    };
    await store.patch(
      RESOURCES.virtualService,
      { namespace, name },
      { status: { observedGeneration: status.observedGeneration, conditions: [condition] } },
      { kind: "merge", subresource: "status" },
    );
  };

  return {
    write(resource, status) {
      let entry = entries.get(resource.uid);
      if (entry === undefined) {
        entry = {
          written: undefined,
          isReconciled: undefined,
          sinceMs: clock.nowMs(),
          observedGeneration: undefined,
          writtenMs: 0,
          next: undefined,
          isBusy: false,
          attempt: 0,
          cancelRetry: undefined,
        };
        entries.set(resource.uid, entry);
      }
      entry.next = { resource, status };
      entry.cancelRetry?.();
      entry.cancelRetry = undefined;
      void run(entry);
    },
    forgetWritten() {
      for (const entry of entries.values()) entry.written = undefined;
    },
    retain(uids) {
      for (const [uid, entry] of entries) {
        if (uids.has(uid)) continue;
        entry.cancelRetry?.();
        entry.next = undefined;
        entries.delete(uid);
      }
    },
    stop() {
      isStopped = true;
      for (const entry of entries.values()) entry.cancelRetry?.();
    },
  };
}
