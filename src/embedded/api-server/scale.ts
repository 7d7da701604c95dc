import type { KubeObject, LabelSelector } from "../../api/index.ts";
import { invalidValue } from "../core/api/field-error.ts";
import { isObject, type JsonObject, numberAt, objectAt, setField } from "../core/api/json.ts";
import { evaluateJsonPath } from "../core/api/json-path.ts";
import { formatLabelSelector } from "../core/api/label-selector.ts";
import type { ScaleInfo } from "../core/api/resource-info.ts";
import { badRequest, invalid } from "../core/api/status-error.ts";
import type { Target } from "./write-request.ts";

/** The autoscaling/v1 Scale of an object. */
export function scaleOf(object: KubeObject, scale: ScaleInfo): KubeObject {
  const { name, namespace, uid, resourceVersion, creationTimestamp } = object.metadata;
  const selector =
    scale.labelSelectorPath === undefined
      ? formatLabelSelector(objectAt(object, "spec", "selector") as LabelSelector | undefined)
      : evaluateJsonPath(scale.labelSelectorPath, object)[0];
  return {
    kind: "Scale",
    apiVersion: "autoscaling/v1",
    metadata: {
      name,
      ...(namespace === undefined ? {} : { namespace }),
      ...(uid === undefined ? {} : { uid }),
      ...(resourceVersion === undefined ? {} : { resourceVersion }),
      ...(creationTimestamp === undefined ? {} : { creationTimestamp }),
    },
    spec: { replicas: evaluateJsonPath(scale.specReplicasPath, object)[0] ?? 0 },
    status: {
      replicas: evaluateJsonPath(scale.statusReplicasPath, object)[0] ?? 0,
      ...(typeof selector === "string" && selector !== "" ? { selector } : {}),
    },
  };
}

/** The object with the replicas (and the resourceVersion) of a Scale. Throws StatusError 400, 422. */
export function withScale(
  object: KubeObject,
  document: unknown,
  scale: ScaleInfo,
  target: Target,
): JsonObject {
  if (!isObject(document)) throw badRequest("the body of the request must be a Scale");
  const replicas = numberAt(document, "spec", "replicas") ?? 0;
  if (!Number.isInteger(replicas) || replicas < 0) {
    const error = invalidValue("spec.replicas", replicas, "must be greater than or equal to 0");
    throw invalid({ group: "autoscaling", kind: "Scale" }, object.metadata.name, [error]);
  }
  const draft = structuredClone(object) as unknown as JsonObject;
  const metadata = objectAt(draft, "metadata") ?? {};
  metadata["resourceVersion"] = objectAt(document, "metadata")?.["resourceVersion"] ?? "";
  const path = scale.specReplicasPath.split(".").filter((part) => part !== "");
  let current = draft;
  for (const field of path.slice(0, -1)) {
    const next = objectAt(current, field) ?? {};
    setField(current, field, next);
    current = next;
  }
  const last = path.at(-1);
  if (last === undefined) throw badRequest(`${target.resource.plural} cannot be scaled`);
  setField(current, last, replicas);
  return draft;
}
