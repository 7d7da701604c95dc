import { RESOURCES } from "../api/index.ts";
import { SerinError } from "../base/index.ts";
import type { KubeStore } from "../kube/store.ts";
import type { Logger } from "../runtime/index.ts";
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
