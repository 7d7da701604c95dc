import { type FieldError, forbiddenField, invalidValue, required } from "../field-error.ts";
import { deepEqual, isObject, type JsonObject, objectAt, objectsAt, stringAt } from "../json.ts";
import { dnsLabelProblem, labelKeyProblem, labelValueProblem } from "../names.ts";

const MAX_ANNOTATIONS_BYTES = 256 * 1024;

/** Checks metadata of any kind; `nameProblem` says what is wrong with a name of this kind. */
export function validateMetadata(
  metadata: JsonObject,
  nameProblem: (name: string) => string | undefined,
): readonly FieldError[] {
  const errors: FieldError[] = [];
  const generateName = stringAt(metadata, "generateName") ?? "";
  if (generateName !== "") {
    const problem = nameProblem(generateName.replace(/-+$/, ""));
    if (problem !== undefined) {
      errors.push(invalidValue("metadata.generateName", generateName, problem));
    }
  }
  const name = stringAt(metadata, "name") ?? "";
  if (name === "") errors.push(required("metadata.name", "name or generateName is required"));
  else {
    const problem = nameProblem(name);
    if (problem !== undefined) errors.push(invalidValue("metadata.name", name, problem));
  }
  const namespace = stringAt(metadata, "namespace") ?? "";
  const problem = namespace === "" ? undefined : dnsLabelProblem(namespace);
  if (problem !== undefined) errors.push(invalidValue("metadata.namespace", namespace, problem));
  errors.push(...validateLabels(objectAt(metadata, "labels"), "metadata.labels"));
  errors.push(...validateAnnotations(objectAt(metadata, "annotations")));
  errors.push(...validateOwners(metadata));
  return errors;
}

/** Keys and values of labels. */
export function validateLabels(labels: JsonObject | undefined, field: string): FieldError[] {
  const errors: FieldError[] = [];
  for (const [key, value] of Object.entries(labels ?? {})) {
    const keyProblem = labelKeyProblem(key);
    if (keyProblem !== undefined) errors.push(invalidValue(field, key, keyProblem));
    const valueProblem = labelValueProblem(String(value));
    if (valueProblem !== undefined) errors.push(invalidValue(field, value, valueProblem));
  }
  return errors;
}

function validateAnnotations(annotations: JsonObject | undefined): readonly FieldError[] {
  const errors: FieldError[] = [];
  let sizeBytes = 0;
  for (const [key, value] of Object.entries(annotations ?? {})) {
    const problem = labelKeyProblem(key.toLowerCase());
    if (problem !== undefined) errors.push(invalidValue("metadata.annotations", key, problem));
    sizeBytes += key.length + String(value).length;
  }
  if (sizeBytes > MAX_ANNOTATIONS_BYTES) {
    const detail = `may not be more than ${MAX_ANNOTATIONS_BYTES} bytes`;
    errors.push({ reason: "FieldValueTooLong", field: "metadata.annotations", detail });
  }
  return errors;
}

function validateOwners(metadata: JsonObject): readonly FieldError[] {
  const errors: FieldError[] = [];
  const owners = objectsAt(metadata, "ownerReferences");
  for (const [index, owner] of owners.entries()) {
    for (const field of ["apiVersion", "kind", "name", "uid"]) {
      if ((stringAt(owner, field) ?? "") === "") {
        errors.push(required(`metadata.ownerReferences[${index}].${field}`, "must not be empty"));
      }
    }
  }
  if (owners.filter((owner) => owner["controller"] === true).length > 1) {
    const detail = "Only one reference can have Controller set to true";
    errors.push(invalidValue("metadata.ownerReferences", owners, detail));
  }
  return errors;
}

/** What an update may not do to metadata. */
export function validateMetadataUpdate(next: JsonObject, old: JsonObject): readonly FieldError[] {
  const errors: FieldError[] = [];
  for (const field of ["uid", "creationTimestamp", "name", "namespace"]) {
    if (!deepEqual(next[field], old[field])) {
      errors.push(invalidValue(`metadata.${field}`, next[field], "field is immutable"));
    }
  }
  if (old["deletionTimestamp"] !== undefined) {
    const had = Array.isArray(old["finalizers"]) ? old["finalizers"] : [];
    const has = Array.isArray(next["finalizers"]) ? next["finalizers"] : [];
    const added = has.filter((finalizer) => !had.includes(finalizer));
    if (added.length > 0) {
      errors.push(
        forbiddenField(
          "metadata.finalizers",
          `no new finalizers can be added if the object is being deleted, found new finalizers ${JSON.stringify(added)}`,
        ),
      );
    }
  }
  return errors;
}

/** A field that may not change once it is set. */
export function immutable(
  next: unknown,
  old: unknown,
  field: string,
  detail = "field is immutable",
): readonly FieldError[] {
  return deepEqual(next, old) ? [] : [invalidValue(field, next, detail)];
}

/** A LabelSelector as a field. */
export function validateSelector(selector: unknown, field: string): FieldError[] {
  if (!isObject(selector)) return [];
  const errors = validateLabels(objectAt(selector, "matchLabels"), `${field}.matchLabels`);
  for (const [index, expression] of objectsAt(selector, "matchExpressions").entries()) {
    const at = `${field}.matchExpressions[${index}]`;
    const operator = stringAt(expression, "operator") ?? "";
    const values = Array.isArray(expression["values"]) ? expression["values"] : [];
    if (operator === "In" || operator === "NotIn") {
      if (values.length === 0) {
        const detail = "must be specified when `operator` is 'In' or 'NotIn'";
        errors.push(required(`${at}.values`, detail));
      }
    } else if (operator === "Exists" || operator === "DoesNotExist") {
      if (values.length > 0) {
        const detail = "may not be specified when `operator` is 'Exists' or 'DoesNotExist'";
        errors.push(forbiddenField(`${at}.values`, detail));
      }
    } else errors.push(invalidValue(`${at}.operator`, operator, "not a valid selector operator"));
    const problem = labelKeyProblem(stringAt(expression, "key") ?? "");
    if (problem !== undefined) errors.push(invalidValue(`${at}.key`, expression["key"], problem));
  }
  return errors;
}
