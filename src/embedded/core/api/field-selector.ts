import { valueAt } from "./json.ts";
import { badRequest } from "./status-error.ts";

/** One condition of a field selector. */
export interface FieldRequirement {
  readonly field: string;
  readonly equal: boolean;
  readonly value: string;
}

const EVERY_KIND = ["metadata.name", "metadata.namespace"];

/** Fields beyond name and namespace that a kind can be selected by (as kube-apiserver allows). */
const BY_KIND: Readonly<Record<string, readonly string[]>> = {
  "/Pod": [
    "spec.nodeName",
    "spec.restartPolicy",
    "spec.schedulerName",
    "spec.serviceAccountName",
    "spec.hostNetwork",
    "status.phase",
    "status.podIP",
    "status.nominatedNodeName",
  ],
  "/Event": [
    "involvedObject.kind",
    "involvedObject.namespace",
    "involvedObject.name",
    "involvedObject.uid",
    "involvedObject.apiVersion",
    "involvedObject.resourceVersion",
    "involvedObject.fieldPath",
    "reason",
    "reportingComponent",
    "source",
    "type",
  ],
  "/Namespace": ["status.phase"],
  "/Node": ["spec.unschedulable"],
  "/Secret": ["type"],
  "/Service": ["spec.clusterIP", "spec.type"],
  "/ReplicationController": ["status.replicas"],
  "apps/ReplicaSet": ["status.replicas"],
  "batch/Job": ["status.successful"],
};

/**
 * Parses `fieldSelector` for a kind: `a=b,c!=d` (also `==`). Throws a 400 StatusError for a field
 * that the kind cannot be selected by.
 */
export function parseFieldSelector(
  text: string,
  kind: { readonly group: string; readonly kind: string },
): readonly FieldRequirement[] {
  if (text.trim() === "") return [];
  const known = [...EVERY_KIND, ...(BY_KIND[`${kind.group}/${kind.kind}`] ?? [])];
  return splitUnescaped(text).map((part) => {
    const match = /^([^=!]+)(==|!=|=)((?:[^\\]|\\.)*)$/.exec(part);
    const [field, operator, value] = [match?.[1]?.trim(), match?.[2], match?.[3]];
    if (field === undefined || operator === undefined || value === undefined) {
      throw badRequest(
        `invalid selector: '${part}'; can't understand '${part}' (in fieldSelector ${JSON.stringify(text)})`,
      );
    }
    if (!known.includes(field)) {
      throw badRequest(`field label not supported: ${field}`);
    }
    return { field, equal: operator !== "!=", value: value.replaceAll(/\\(.)/g, "$1") };
  });
}

function splitUnescaped(text: string): readonly string[] {
  return text.match(/(?:[^,\\]|\\.)+/g) ?? [];
}

/** Whether an object satisfies every requirement; an absent field counts as empty. */
export function fieldsMatch(requirements: readonly FieldRequirement[], object: unknown): boolean {
  return requirements.every(
    ({ field, equal, value }) => (fieldOf(object, field) === value) === equal,
  );
}

function fieldOf(object: unknown, field: string): string {
  if (field === "source") {
    const reporter =
      valueAt(object, "source", "component") ?? valueAt(object, "reportingComponent");
    return typeof reporter === "string" ? reporter : "";
  }
  const value = valueAt(object, ...field.split("."));
  if (value === undefined || value === null) {
    return field === "spec.hostNetwork" || field === "spec.unschedulable" ? "false" : "";
  }
  return String(value);
}
