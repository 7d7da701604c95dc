import { setTimeout as sleep } from "node:timers/promises";
import { parse, stringify } from "yaml";
import { type KubeObject, RESOURCES, type ResourceType } from "../../api/index.ts";
import { SerinError } from "../../base/index.ts";
import type { KubeStore } from "../../kube/store.ts";
import { ROOT_NAMESPACE } from "../control-plane.ts";

/** What happened to an object, in kubectl's words. */
export type Change = "created" | "configured" | "unchanged";

const TYPES: Readonly<Record<string, ResourceType>> = {
  ConfigMap: RESOURCES.configMap,
  Deployment: RESOURCES.deployment,
  Service: RESOURCES.service,
  ServiceAccount: RESOURCES.serviceAccount,
};
/** The kinds that an installation consists of, in the order they are taken away. */
export const INSTALLED_TYPES: readonly ResourceType[] = [
  RESOURCES.service,
  RESOURCES.deployment,
  RESOURCES.serviceAccount,
  RESOURCES.configMap,
];

const MESH_CONFIG = { namespace: ROOT_NAMESPACE, name: "istio" } as const;
const POLL_MS = 200;

/** Creates the object, or makes the one that is there like it. */
export async function applyObject(store: KubeStore, object: KubeObject): Promise<Change> {
  const type = typeOf(object);
  const before = await store.get(type, object.metadata);
  if (before === undefined) {
    await store.create(type, object);
    return "created";
  }
  const { metadata, apiVersion: _, kind: __, ...content } = object;
  const patch = { metadata: { labels: metadata.labels }, ...content };
  const after = await store.patch(type, metadata, patch, { kind: "merge" });
  return after.metadata.resourceVersion === before.metadata.resourceVersion
    ? "unchanged"
    : "configured";
}

function typeOf({ kind }: KubeObject): ResourceType {
  const type = TYPES[kind];
  if (type === undefined) throw new TypeError(`install: ${kind} is no kind that is installed`);
  return type;
}

/** Merges settings into the mesh's (ConfigMap `istio`, key `mesh`). */
export async function mergeMeshConfig(
  store: KubeStore,
  settings: Readonly<Record<string, unknown>>,
): Promise<void> {
  if (Object.keys(settings).length === 0) return;
  const found = await store.get(RESOURCES.configMap, MESH_CONFIG);
  const text = (found?.["data"] as Readonly<Record<string, string>> | undefined)?.["mesh"] ?? "";
  const mesh = stringify(merged(parse(text) as unknown, settings));
  await applyObject(store, {
    apiVersion: "v1",
    kind: "ConfigMap",
    metadata: MESH_CONFIG,
    data: { mesh },
  });
}

function merged(before: unknown, change: unknown): unknown {
  if (!isObject(change)) return change;
  const result: Record<string, unknown> = isObject(before) ? { ...before } : {};
  for (const [key, value] of Object.entries(change)) result[key] = merged(result[key], value);
  return result;
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/**
 * Resolves once all replicas of a Deployment are available. Throws SERIN_UNAVAILABLE saying how far it
 * got.
 */
export async function deploymentReady(
  store: KubeStore,
  name: string,
  { timeoutMs, signal }: { readonly timeoutMs: number; readonly signal: AbortSignal },
): Promise<void> {
  const key = { namespace: ROOT_NAMESPACE, name };
  const deadlineMs = Date.now() + timeoutMs;
  for (;;) {
    const found = await store.get(RESOURCES.deployment, key);
    const wanted = Number((found?.["spec"] as { replicas?: number } | undefined)?.replicas ?? 1);
    const status = (found?.["status"] ?? {}) as Readonly<Record<string, number>>;
    const ready = status["availableReplicas"] ?? 0;
    const isSeen = (status["observedGeneration"] ?? 0) >= (found?.metadata.generation ?? 1);
    if (isSeen && ready >= wanted && (status["updatedReplicas"] ?? 0) >= wanted) return;
    if (Date.now() > deadlineMs) {
      const where = `${ROOT_NAMESPACE}/${name}`;
      throw new SerinError(
        "SERIN_UNAVAILABLE",
        `deployment ${where} has ${ready} of ${wanted} replicas available after ${timeoutMs / 1000} s; see \`kubectl -n ${ROOT_NAMESPACE} describe pods -l app=${name}\``,
        { source: "remote" },
      );
    }
    await sleep(POLL_MS, undefined, { signal });
  }
}

/** What stands in the way of a Service's ports, as events say it. */
export async function listenFailures(
  store: KubeStore,
  service: string,
): Promise<readonly string[]> {
  const { items } = await store.list(RESOURCES.event, { namespace: ROOT_NAMESPACE });
  return items.flatMap((event) => {
    const about = event["involvedObject"] as { kind?: string; name?: string } | undefined;
    const isOurs = about?.kind === "Service" && about.name === service;
    return isOurs && event["reason"] === "FailedToListen" ? [String(event["message"])] : [];
  });
}
