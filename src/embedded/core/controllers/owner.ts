import type { LabelSelector } from "../../../api/index.ts";
import { type KubeObject, matchesSelector, type OwnerReference } from "../../../api/index.ts";
import { objectAt } from "../api/json.ts";

/** The owner that controls an object, if any. */
export function controllerOf(object: KubeObject): OwnerReference | undefined {
  return object.metadata.ownerReferences?.find((owner) => owner.controller === true);
}

export function ownerReferenceTo(owner: KubeObject): OwnerReference {
  return {
    apiVersion: owner.apiVersion,
    kind: owner.kind,
    name: owner.metadata.name,
    uid: owner.metadata.uid ?? "",
    controller: true,
    blockOwnerDeletion: true,
  };
}

/** What a controller does about an object that its selector or an owner reference names. */
export type Claim = "owned" | "adopt" | "release" | "ignore";

/** As controllers claim objects: orphans that match are adopted, own ones that do not are released. */
export function claimOf(owner: KubeObject, object: KubeObject): Claim {
  const controller = controllerOf(object);
  const selector = objectAt(owner, "spec", "selector") as LabelSelector | undefined;
  const isMatch = matchesSelector(selector, object.metadata.labels);
  if (controller !== undefined) {
    if (controller.uid !== owner.metadata.uid) return "ignore";
    return isMatch ? "owned" : "release";
  }
  const isGoing =
    owner.metadata.deletionTimestamp !== undefined ||
    object.metadata.deletionTimestamp !== undefined;
  return isMatch && !isGoing ? "adopt" : "ignore";
}
