import { arrayAt, deepEqual, type JsonObject, objectAt, stringAt } from "../core/api/json.ts";
import { dnsSubdomainProblem } from "../core/api/names.ts";
import { invalid } from "../core/api/status-error.ts";
import { validateSchema } from "../core/api/validate-schema.ts";
import { validateMetadata, validateMetadataUpdate } from "../core/api/validation/metadata.ts";
import type { ServedResource } from "./registry.ts";
import type { Draft } from "./write-request.ts";

/** Checks an object before it is stored; throws StatusError 422 with every wrong field. */
export function checkObject(draft: Draft, target: ServedResource, old?: Draft): void {
  const { resource, version } = target;
  const nameProblem = resource.rules.nameProblem ?? dnsSubdomainProblem;
  const errors = [...validateMetadata(draft.metadata, nameProblem)];
  if (resource.isCustom) {
    const { metadata: _checkedAbove, ...rest } = draft;
    const schema = version.schema ?? {};
    errors.push(
      ...validateSchema(rest, {
        ...schema,
        required: (schema.required ?? []).filter((r) => r !== "metadata"),
      }),
    );
  } else errors.push(...(resource.rules.validate?.(draft) ?? []));
  if (old !== undefined) {
    errors.push(...validateMetadataUpdate(draft.metadata, old.metadata));
    errors.push(...(resource.rules.validateUpdate?.(draft, old) ?? []));
  }
  if (errors.length > 0) throw invalid(resource, stringAt(draft, "metadata", "name") ?? "", errors);
}

/** Groups whose built-in kinds count generations. */
const COUNTING = [
  "apps",
  "batch",
  "admissionregistration.k8s.io",
  "apiextensions.k8s.io",
  "discovery.k8s.io",
];

/** Whether metadata.generation is kept for a kind. */
export function countsGenerations(target: ServedResource): boolean {
  return target.resource.isCustom || COUNTING.includes(target.resource.group);
}

/** Whether what is wanted (not metadata, not status) differs: the generation then goes up. */
export function wantsSomethingElse(next: Draft, old: Draft, target: ServedResource): boolean {
  const wanted = (object: Draft): JsonObject => {
    const { metadata: _metadata, apiVersion: _apiVersion, ...rest } = object;
    if (target.version.hasStatus) delete rest["status"];
    return rest;
  };
  return !deepEqual(wanted(next), wanted(old));
}

/** Whether a deleted object may go now: nobody holds it any more. */
export function isReleased(object: JsonObject, target: ServedResource): boolean {
  const metadata = objectAt(object, "metadata") ?? {};
  if (metadata["deletionTimestamp"] === undefined) return false;
  if (arrayAt(metadata, "finalizers").length > 0) return false;
  if ((metadata["deletionGracePeriodSeconds"] ?? 0) !== 0) return false;
  const isNamespace = target.resource.kind === "Namespace" && target.resource.group === "";
  return !isNamespace || arrayAt(object, "spec", "finalizers").length === 0;
}
