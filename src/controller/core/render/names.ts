import type { KubeObject, ObjectMeta, OwnerReference, StringMap } from "../../../api/index.ts";
import { SerinError } from "../../../base/index.ts";
import { objectAt } from "../json.ts";
import type { Observation } from "../observation.ts";

/** Flux must leave what we generate alone. */
export const FLUX_DISABLED: StringMap = {
  "kustomize.toolkit.fluxcd.io/reconcile": "disabled",
  "helm.toolkit.fluxcd.io/driftDetection": "disabled",
};
const SELECTOR_LABELS = ["app", "name", "app.kubernetes.io/name"] as const;

export function ownerOf(canary: KubeObject): OwnerReference {
  const { apiVersion, kind, metadata } = canary;
  return {
    ...{ apiVersion, kind, name: metadata.name, uid: metadata.uid ?? "" },
    ...{ controller: true, blockOwnerDeletion: true },
  };
}

/** metadata of a generated object: owned by the Canary, in its namespace. */
export function ownedMeta(
  canary: KubeObject,
  name: string,
  labels: StringMap,
  annotations: StringMap,
): ObjectMeta {
  const { namespace = "default" } = canary.metadata;
  return { name, namespace, labels, annotations, ownerReferences: [ownerOf(canary)] };
}

/** The label that tells the target's pods: the first of app, name, app.kubernetes.io/name in its selector. */
export function selectorLabel(target: KubeObject): {
  readonly key: string;
  readonly value: string;
} {
  const labels = objectAt(objectAt(objectAt(target, "spec"), "selector"), "matchLabels");
  for (const key of SELECTOR_LABELS) {
    const value = labels[key];
    if (typeof value === "string") return { key, value };
  }
  const { namespace, name } = target.metadata;
  throw new SerinError(
    "SERIN_INVALID_RESOURCE",
    `Deployment ${namespace}/${name}: spec.selector.matchLabels must contain one of ${SELECTOR_LABELS.join(", ")}`,
    { source: "caller" },
  );
}

/** Names one rollout; as a pod annotation it makes a promotion of nothing but configs roll the pods. */
export function rolloutId(observation: Observation): string {
  const sums = observation.configs.map((c) => c.checksum).sort();
  return [observation.targetHash, ...sums].join("-");
}
