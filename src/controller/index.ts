import type { MetricsProvider } from "../analysis/index.ts";
import { type KubeObject, RESOURCES, type ResourceType } from "../api/index.ts";
import { backoffMs, messageOf, SerinError } from "../base/index.ts";
import type { KubeStore, ObjectKey } from "../kube/store.ts";
import type { Clock, Logger } from "../runtime/index.ts";
import { createPublisher } from "./publish.ts";
import { createKeyQueue } from "./queue.ts";
import { reconcile } from "./reconcile.ts";
import { watchAll } from "./watch.ts";

export interface ControllerOptions {
  readonly store: KubeStore;
  readonly metrics: MetricsProvider;
  readonly logger: Logger;
  readonly clock: Clock;
  /** Whether the mesh acknowledges VirtualServices in their status (docs/architecture.md, Seams). */
  readonly awaitProxyAcks: boolean;
  /** Only this namespace; all when absent. */
  readonly namespace?: string | undefined;
}

export interface Controller {
  /** Prometheus text of the `flagger_*` metrics. */
  metricsText(): Promise<string>;
  /** Resolves when the running passes are done and the watches closed. */
  stop(): Promise<void>;
}

const CANARY_TYPES: readonly ResourceType[] = [RESOURCES.canary, RESOURCES.flaggerCanary];
const WATCHED: readonly ResourceType[] = [
  ...[RESOURCES.deployment, RESOURCES.configMap, RESOURCES.secret],
  ...[RESOURCES.service, RESOURCES.virtualService, RESOURCES.destinationRule],
];
const ERROR_RETRY = { baseMs: 250, maxMs: 30_000 };

/** Starts the canary controller: every change of a Canary, or of what it is made of, is a pass. */
export async function startController(options: ControllerOptions): Promise<Controller> {
  const { store, clock, logger, namespace } = options;
  const publisher = createPublisher(store, logger);
  const context = { ...options, publisher };
  const known = new Map<
    string,
    {
      readonly type: ResourceType;
      readonly canary: KubeObject;
      attempts: number;
      lastError: string;
    }
  >();
  const stopping = new AbortController();

  const work = async (id: string): Promise<number | undefined> => {
    const entry = known.get(id);
    if (entry === undefined) return undefined;
    try {
      const dueMs = await reconcile(context, entry.type, keyOf(entry.canary));
      entry.attempts = 0;
      entry.lastError = "";
      return dueMs;
    } catch (error) {
      const delayMs = backoffMs(entry.attempts++, ERROR_RETRY, Math.random());
      if (error instanceof SerinError && error.code === "SERIN_CONFLICT")
        return Math.max(1, delayMs);
      const message = messageOf(error);
      // Said once, not at every retry.
      if (message !== entry.lastError) {
        logger.error({ canary: id, error: message }, "cannot reconcile");
        entry.lastError = message;
        await publisher.announce(entry.canary, [{ type: "Warning", message }], clock.nowMs());
      }
      return Math.max(1, delayMs);
    }
  };
  const queue = createKeyQueue(clock, work);
  const watches = [
    ...CANARY_TYPES.map((type) =>
      watchAll(
        context,
        type,
        namespace,
        (canary, isDeleted) => {
          const id = idOf(type, canary);
          if (isDeleted) known.delete(id);
          else known.set(id, { attempts: 0, lastError: "", ...known.get(id), type, canary });
          queue.add(id);
        },
        stopping.signal,
      ),
    ),
    ...WATCHED.map((type) =>
      watchAll(
        context,
        type,
        namespace,
        (object) => {
          for (const [id, { canary }] of known) {
            if (canary.metadata.namespace === object.metadata.namespace) queue.add(id);
          }
        },
        stopping.signal,
      ),
    ),
  ];
  return {
    metricsText: () => publisher.metricsText(),
    async stop() {
      stopping.abort();
      await queue.stop();
      await Promise.all(watches);
    },
  };
}

function keyOf({ metadata: { namespace, name } }: KubeObject): ObjectKey {
  return { namespace, name };
}

function idOf(type: ResourceType, { metadata: { namespace, name } }: KubeObject): string {
  return `${type.group}/${namespace}/${name}`;
}
