import { type KubeObject, RESOURCES, type ResourceType } from "../api/index.ts";
import { SerinError } from "../base/index.ts";
import type { KubeStore } from "../kube/store.ts";
import type { Logger } from "../runtime/index.ts";
import { checkResource } from "./admission.ts";
import { analyze } from "./core/analyze/analyze.ts";
import type { Finding } from "./core/analyze/context.ts";
import type { MeshObjects } from "./core/mesh-objects.ts";
import type { ModelOptions } from "./core/model.ts";
import { readMesh } from "./read-mesh.ts";
import { MESH_KINDS, prepared } from "./watch.ts";

const apps = (kind: string, plural: string): ResourceType => ({
  ...RESOURCES.deployment,
  kind,
  plural,
});
/** What the mesh does not watch and analyzers look at. */
const OTHER_TYPES: readonly ResourceType[] = [
  RESOURCES.deployment,
  apps("StatefulSet", "statefulsets"),
  apps("DaemonSet", "daemonsets"),
  RESOURCES.canary,
  RESOURCES.flaggerCanary,
  RESOURCES.metricTemplate,
  RESOURCES.flaggerMetricTemplate,
  RESOURCES.alertProvider,
  RESOURCES.flaggerAlertProvider,
];

/** A cluster's objects as analyzers want them. */
export interface AnalyzedObjects {
  readonly mesh: MeshObjects;
  readonly others: readonly KubeObject[];
}

/** No objects at all: where only files are analyzed. */
export function noObjects(): AnalyzedObjects {
  const mesh = Object.fromEntries(MESH_KINDS.map(({ kind }) => [kind, []]));
  return { mesh: mesh as unknown as MeshObjects, others: [] };
}

/** Everything of a cluster that analyzers look at, read once. Throws SERIN_UNAVAILABLE, SERIN_API. */
export async function readAnalyzedObjects(
  store: KubeStore,
  logger: Logger,
): Promise<AnalyzedObjects> {
  const [mesh, ...others] = await Promise.all([
    readMesh(store, logger),
    ...OTHER_TYPES.map((type) => listIfServed(store, type)),
  ]);
  return { mesh, others: others.flat() };
}

async function listIfServed(store: KubeStore, type: ResourceType): Promise<readonly KubeObject[]> {
  try {
    return (await store.list(type)).items;
  } catch (error) {
    if (error instanceof SerinError && error.code === "SERIN_NOT_FOUND") return [];
    throw error;
  }
}

/**
 * Analyzes a cluster's objects as if `files` had been applied: those replace objects of the same kind
 * and name, or come as the youngest. Nothing is refused: what is invalid is a finding.
 */
export function analyzeWith(
  found: AnalyzedObjects,
  files: readonly KubeObject[],
  options: ModelOptions & { readonly logger: Logger; readonly now: string },
): readonly Finding[] {
  const lists: Record<string, readonly KubeObject[]> = { ...found.mesh };
  let others = found.others;
  const fromFiles = new Set<KubeObject>();
  for (const raw of files) {
    const known = MESH_KINDS.find(
      ({ type, select }) =>
        type.kind === raw.kind &&
        type.group === groupOf(raw) &&
        (select?.fieldSelector === undefined ||
          select.fieldSelector === `metadata.name=${raw.metadata.name}`),
    );
    const before = known === undefined ? others : (lists[known.kind] ?? []);
    const replaced = before.find((each) => isSame(each, raw));
    const creationTimestamp = replaced?.metadata.creationTimestamp ?? options.now;
    const dated = { ...raw, metadata: { ...raw.metadata, creationTimestamp } };
    const object = known === undefined ? dated : prepared(known.kind, dated, options.logger);
    fromFiles.add(object);
    const after = [...before.filter((each) => each !== replaced), object];
    if (known === undefined) others = after;
    else lists[known.kind] = after;
  }
  const objects = lists as unknown as MeshObjects;
  return analyze({ objects, others, fromFiles, check: checkResource }, options);
}

function isSame(a: KubeObject, b: KubeObject): boolean {
  return (
    a.kind === b.kind &&
    groupOf(a) === groupOf(b) &&
    a.metadata.name === b.metadata.name &&
    (a.metadata.namespace ?? "") === (b.metadata.namespace ?? "")
  );
}

function groupOf({ apiVersion }: KubeObject): string {
  return apiVersion.includes("/") ? (apiVersion.split("/")[0] ?? "") : "";
}
