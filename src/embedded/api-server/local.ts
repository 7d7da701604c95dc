import { type KubeObject, matchesSelector, type ResourceType } from "../../api/index.ts";
import { SerinError } from "../../base/index.ts";
import { noSuchPath, StatusError } from "../core/api/status-error.ts";
import type { LocalApi, LocalWatchEvent } from "../local-api.ts";
import type { Cluster } from "./cluster.ts";
import { SYSTEM } from "./credentials.ts";
import { patchTransform } from "./patch.ts";
import { EVERYTHING } from "./selection.ts";
import { atVersion } from "./served-object.ts";
import { issueToken } from "./service-account-token.ts";
import { eventFor } from "./watch-stream.ts";
import type { Target, WriteOptions } from "./write-request.ts";

/**
 * The API without HTTP, for the built-in controllers and the node agent. Objects it returns are
 * frozen: they are the stored ones. A Namespace's own finalizers (`spec.finalizers`) change with a
 * plain update here, which over HTTP takes the `finalize` subresource.
 */
export function createLocalApi(cluster: Cluster): LocalApi {
  const { storage, writer, remover } = cluster;
  const targetOf = (type: ResourceType, namespace: string | undefined): Target => {
    const served = cluster.registry.findServed(type.group, type.version, type.plural);
    if (served === undefined) throw noSuchPath();
    return { ...served, namespace: type.namespaced ? (namespace ?? "") : "" };
  };
  const options = (): WriteOptions => ({
    user: SYSTEM,
    dryRun: false,
    fieldValidation: "Ignore",
    warnings: [],
  });
  return {
    get: (type, key) =>
      translated(async () => {
        const target = targetOf(type, key.namespace);
        const object = storage.get(target.resource, target.namespace, key.name);
        return object === undefined ? undefined : atVersion(object, target);
      }),
    list: (type, { namespace, labelSelector } = {}) =>
      translated(async () => {
        const target = targetOf(type, namespace);
        return storage
          .list(target.resource, target.namespace)
          .filter(
            ({ metadata }) =>
              labelSelector === undefined || matchesSelector(labelSelector, metadata.labels),
          )
          .map((object) => atVersion(object, target));
      }),
    create: (type, object) =>
      translated(() => writer.create(targetOf(type, object.metadata.namespace), object, options())),
    update: (type, object, how) =>
      translated(() => {
        const target = targetOf(type, object.metadata.namespace);
        const part = how?.subresource ?? (isFinalizing(type, object) ? "finalize" : "main");
        return writer.update(target, object.metadata.name, part, () => object, options());
      }),
    patch: (type, key, patch, how) =>
      translated(() => {
        const target = targetOf(type, key.namespace);
        const transform = patchTransform(patch, how.kind, target);
        return writer.update(target, key.name, how.subresource ?? "main", transform, options());
      }),
    delete: (type, key, how = {}) =>
      translated(async () => {
        const target = targetOf(type, key.namespace);
        await remover.delete(
          target,
          key.name,
          {
            propagation: how.propagation,
            gracePeriodSeconds: how.gracePeriodSeconds,
            uid: how.uid,
            resourceVersion: undefined,
          },
          options(),
        );
      }),
    watch: (type, handler) => watchLocally(cluster, targetOf(type, undefined), handler),
    createToken: (key, how) =>
      translated(async () =>
        issueToken({ namespace: key.namespace, name: key.serviceAccount }, how, {
          ...cluster,
          nowMs: cluster.clock.nowMs(),
        }),
      ),
  };
}

function isFinalizing(type: ResourceType, object: KubeObject): boolean {
  return type.kind === "Namespace" && object.metadata.deletionTimestamp !== undefined;
}

/** A handler that throws hears on; the error is logged. */
function watchLocally(
  cluster: Cluster,
  target: Target,
  handler: (event: LocalWatchEvent) => void,
): () => void {
  const deliver = (event: LocalWatchEvent): void => {
    try {
      handler(event);
    } catch (error) {
      cluster.logger.error(
        { kind: target.resource.kind, err: error },
        "local watch handler failed",
      );
    }
  };
  const existing = cluster.storage.list(target.resource);
  const unsubscribe = cluster.storage.subscribe(target.resource, (change) => {
    const event = eventFor(change, EVERYTHING, "");
    if (event !== undefined) deliver({ type: event.type, object: atVersion(event.object, target) });
  });
  for (const object of existing) deliver({ type: "ADDED", object: atVersion(object, target) });
  return unsubscribe;
}

async function translated<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    throw error instanceof StatusError ? asSerinError(error) : error;
  }
}

function asSerinError(error: StatusError): SerinError {
  const options = { source: "caller", cause: error } as const;
  if (error.code === 404) return new SerinError("SERIN_NOT_FOUND", error.message, options);
  if (error.code === 409) {
    return new SerinError("SERIN_CONFLICT", error.message, { ...options, retry: "yes" });
  }
  if (error.code < 500) return new SerinError("SERIN_INVALID_RESOURCE", error.message, options);
  return new SerinError("SERIN_API", error.message, {
    source: "remote",
    retry: "yes",
    cause: error,
  });
}
