import { type KubeObject, RESOURCES, type ResourceType } from "../api/index.ts";
import { backoffMs, messageOf, SerinError } from "../base/index.ts";
import type { KubeStore } from "../kube/store.ts";
import type { Clock, Logger } from "../runtime/index.ts";
import { mergedStatus } from "./core/gateway-api/merged-status.ts";
import type { WantedStatus } from "./core/gateway-api/wanted-status.ts";
import type { MeshObjects } from "./core/mesh-objects.ts";

const BACKOFF = { baseMs: 50, maxMs: 5000 };

/** Where the objects of a kind are, and which resource holds them. */
const KINDS = {
  GatewayClass: { type: RESOURCES.gatewayClass, list: "gatewayClasses" },
  Gateway: { type: RESOURCES.kubernetesGateway, list: "kubernetesGateways" },
  HTTPRoute: { type: RESOURCES.httpRoute, list: "httpRoutes" },
  GRPCRoute: { type: RESOURCES.grpcRoute, list: "grpcRoutes" },
  TCPRoute: { type: RESOURCES.tcpRoute, list: "tcpRoutes" },
  TLSRoute: { type: RESOURCES.tlsRoute, list: "tlsRoutes" },
} as const satisfies Record<
  WantedStatus["kind"],
  { readonly type: ResourceType; readonly list: keyof MeshObjects }
>;

export interface GatewayStatusOptions {
  readonly store: KubeStore;
  readonly clock: Clock;
  readonly logger: Logger;
  /** In [0, 1), for the jitter of the back-off. */
  readonly random: () => number;
}

/** Writes the status of Gateway API's objects. */
export interface GatewayStatusWriter {
  /** Makes it so; an object that has its status is not written. `objects`: as they were last seen. */
  apply(statuses: readonly WantedStatus[], objects: MeshObjects): void;
  stop(): void;
}

interface Entry {
  wanted: WantedStatus;
  /** As last seen, read or written. */
  object: KubeObject;
  /** As the watch last showed it. */
  seen: KubeObject;
  isDone: boolean;
  isBusy: boolean;
  attempt: number;
  cancelRetry: (() => void) | undefined;
}

/** A writer; each object has at most one write under way, errors are tried again for ever. */
export function createGatewayStatusWriter(options: GatewayStatusOptions): GatewayStatusWriter {
  const { store, clock, logger } = options;
  const entries = new Map<string, Entry>();
  let isStopped = false;

  const run = async (entry: Entry): Promise<void> => {
    if (entry.isBusy || isStopped) return;
    entry.isBusy = true;
    try {
      while (!entry.isDone && !isStopped) {
        const { wanted } = entry;
        entry.isDone = true;
        await write(entry, wanted);
        entry.attempt = 0;
      }
    } catch (error) {
      entry.isDone = false;
      await retry(entry, error);
    } finally {
      entry.isBusy = false;
    }
  };

  const write = async (entry: Entry, { kind, body }: WantedStatus): Promise<void> => {
    const { metadata, status } = entry.object;
    const now = `${new Date(clock.nowMs()).toISOString().slice(0, 19)}Z`;
    const next = mergedStatus(status, body, now);
    if (next === undefined) return;
    const { namespace, name, resourceVersion } = metadata;
    entry.object = await store.patch(
      KINDS[kind].type,
      namespace === undefined ? { name } : { namespace, name },
      // What others wrote meanwhile must not be lost: the API server refuses an older version.
      { metadata: { resourceVersion }, status: next },
      { kind: "merge", subresource: "status" },
    );
  };

  const retry = async (entry: Entry, error: unknown): Promise<void> => {
    const code = error instanceof SerinError ? error.code : undefined;
    const { namespace, name } = entry.object.metadata;
    if (code === "SERIN_NOT_FOUND" || isStopped) {
      entry.isDone = true;
      return;
    }
    const type = KINDS[entry.wanted.kind].type;
    try {
      if (code === "SERIN_CONFLICT") {
        const found = await store.get(
          type,
          namespace === undefined ? { name } : { namespace, name },
        );
        if (found !== undefined) entry.object = found;
      } else {
        const reason = messageOf(error);
        logger.warn({ kind: type.kind, namespace, name, reason }, "status not written");
      }
    } catch (problem) {
      logger.warn({ namespace, name, reason: messageOf(problem) }, "object not read");
    }
    const delayMs = backoffMs(entry.attempt, BACKOFF, options.random());
    entry.attempt += 1;
    entry.cancelRetry = clock.schedule(delayMs, () => {
      entry.cancelRetry = undefined;
      void run(entry);
    });
  };

  return {
    apply(statuses, objects) {
      const known = objectsByKey(statuses, objects);
      for (const key of entries.keys()) {
        if (known.has(key)) continue;
        entries.get(key)?.cancelRetry?.();
        entries.delete(key);
      }
      for (const wanted of statuses) {
        const key = keyOf(wanted.kind, wanted);
        const object = known.get(key);
        if (object === undefined) continue;
        const entry = entries.get(key);
        if (entry === undefined) {
          const made = { wanted, object, seen: object, isBusy: false, isDone: false, attempt: 0 };
          const fresh: Entry = { ...made, cancelRetry: undefined };
          entries.set(key, fresh);
          void run(fresh);
          continue;
        }
        if (entry.wanted === wanted && entry.seen === object) continue;
        // What the watch shows may be older than what was written; then the write is refused.
        if (entry.seen !== object) entry.object = object;
        Object.assign(entry, { wanted, seen: object, isDone: false });
        void run(entry);
      }
    },
    stop() {
      isStopped = true;
      for (const entry of entries.values()) entry.cancelRetry?.();
    },
  };
}

function objectsByKey(
  statuses: readonly WantedStatus[],
  objects: MeshObjects,
): ReadonlyMap<string, KubeObject> {
  const kinds = new Set(statuses.map(({ kind }) => kind));
  return new Map(
    [...kinds].flatMap((kind) =>
      objects[KINDS[kind].list].map((object) => [keyOf(kind, object.metadata), object] as const),
    ),
  );
}

function keyOf(
  kind: string,
  { namespace = "", name }: { readonly namespace?: string; readonly name: string },
): string {
  return `${kind} ${namespace}/${name}`;
}
