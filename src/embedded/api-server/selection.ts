import type { KubeObject } from "../../api/index.ts";
import {
  type FieldRequirement,
  fieldsMatch,
  parseFieldSelector,
} from "../core/api/field-selector.ts";
import {
  type LabelRequirement,
  labelsMatch,
  parseLabelSelector,
} from "../core/api/label-selector.ts";
import type { Target } from "./write-request.ts";

/** Which objects of a resource a request is about. */
export interface Selection {
  readonly labels: readonly LabelRequirement[];
  readonly fields: readonly FieldRequirement[];
}

export const EVERYTHING: Selection = { labels: [], fields: [] };

/** Reads `labelSelector` and `fieldSelector`; throws StatusError 400. */
export function parseSelection(query: URLSearchParams, target: Target): Selection {
  return {
    labels: parseLabelSelector(query.get("labelSelector") ?? ""),
    fields: parseFieldSelector(query.get("fieldSelector") ?? "", target.resource),
  };
}

/** Whether an object is among those asked for. */
export function isSelected(object: KubeObject, selection: Selection, namespace: string): boolean {
  if (namespace !== "" && object.metadata.namespace !== namespace) return false;
  return (
    labelsMatch(selection.labels, object.metadata.labels) && fieldsMatch(selection.fields, object)
  );
}
