import type { KubeObject, ResourceType } from "../../api/index.ts";
import { claimOf, ownerReferenceTo } from "../core/controllers/owner.ts";
import type { LocalApi } from "../local-api.ts";

/** The objects of a namespace that belong to `owner`: orphans are adopted, strays released on the way. */
export async function claimObjects(
  api: LocalApi,
  owner: KubeObject,
  type: ResourceType,
): Promise<readonly KubeObject[]> {
  const { namespace = "" } = owner.metadata;
  const claimed: KubeObject[] = [];
  for (const object of await api.list(type, { namespace })) {
    const { metadata } = object;
    const claim = claimOf(owner, object);
    if (claim === "owned") claimed.push(object);
    if (claim === "adopt") {
      const ownerReferences = [...(metadata.ownerReferences ?? []), ownerReferenceTo(owner)];
      claimed.push(
        await api.update(type, { ...object, metadata: { ...metadata, ownerReferences } }),
      );
    }
    if (claim === "release") {
      const ownerReferences = (metadata.ownerReferences ?? []).filter(
        ({ uid }) => uid !== owner.metadata.uid,
      );
      await api.update(type, { ...object, metadata: { ...metadata, ownerReferences } });
    }
  }
  return claimed;
}
