import { type KubeObject, RESOURCES } from "../api/index.ts";
import { SerinError } from "../base/index.ts";
import type { KubeStore } from "../kube/store.ts";
import type { Logger } from "../runtime/index.ts";
import { type AdmissionRequest, admitResource } from "./admission.ts";
import type { MeshObjects } from "./core/mesh-objects.ts";
import { MESH_KINDS, prepared } from "./watch.ts";

/**
 * Everything of the mesh, read once: what the control plane watches. A kind without its CRD is empty,
 * and so are Secrets that the caller may not read. Throws SERIN_UNAVAILABLE, SERIN_API.
 */
export async function readMesh(store: KubeStore, logger: Logger): Promise<MeshObjects> {
  const lists = await Promise.all(
    MESH_KINDS.map(async ({ kind, type, select }) => {
      try {
        const { items } = await store.list(type, select);
        return [kind, items.map((item) => prepared(kind, item, logger))] as const;
      } catch (error) {
        const isMissing = error instanceof SerinError && error.code === "SERIN_NOT_FOUND";
        // Certificates of gateways; an operator may well not see them.
        const isForbidden =
          type === RESOURCES.secret &&
          error instanceof SerinError &&
          error.code !== "SERIN_UNAVAILABLE";
        if (!isMissing && !isForbidden) throw error;
        return [kind, []] as const;
      }
    }),
  );
  return Object.fromEntries(lists) as unknown as MeshObjects;
}

/**
 * The mesh as if these objects had been applied: they replace those of the same kind and name, or come
 * as the youngest of their kind. `now`: RFC 3339. Throws SERIN_UNREADABLE_INPUT for a kind that is none
 * of the mesh's, and for what the validating webhook would refuse.
 */
export function withApplied(
  mesh: MeshObjects,
  objects: readonly KubeObject[],
  defaults: { readonly namespace: string; readonly now: string },
): MeshObjects {
  const lists: Record<string, readonly KubeObject[]> = { ...mesh };
  for (const raw of objects) {
    const [group = ""] = raw.apiVersion.includes("/") ? raw.apiVersion.split("/") : [""];
    const known = MESH_KINDS.find(({ type }) => type.kind === raw.kind && type.group === group);
    const what = `${raw.kind} ${raw.metadata.name}`;
    if (known === undefined) throw refused(`${what} (${raw.apiVersion}) is no part of the mesh`);
    const { namespace = defaults.namespace, name } = raw.metadata;
    const place = known.type.namespaced ? { namespace } : {};
    const list = lists[known.kind] ?? [];
    const isIt = ({ metadata }: KubeObject): boolean =>
      metadata.name === name && (!known.type.namespaced || metadata.namespace === namespace);
    const before = list.find(isIt);
    const creationTimestamp = before?.metadata.creationTimestamp ?? defaults.now;
    const object = { ...raw, metadata: { ...raw.metadata, ...place, creationTimestamp } };
    const { allowed, status } = admitResource({
      ...{ uid: "", namespace, operation: "CREATE" },
      object: object as NonNullable<AdmissionRequest["object"]>,
    });
    if (!allowed) throw refused(status?.message ?? `${what} is invalid`);
    lists[known.kind] = [...list.filter((each) => !isIt(each)), object];
  }
  return lists as unknown as MeshObjects;
}

function refused(message: string): SerinError {
  return new SerinError("SERIN_UNREADABLE_INPUT", message, { source: "caller" });
}
