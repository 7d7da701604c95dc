import { type FieldError, invalidValue, notSupported, required } from "../field-error.ts";
import { goRegex } from "../go-regex.ts";
import { isObject, type JsonObject, objectAt } from "../json.ts";

const TYPES = ["array", "boolean", "integer", "number", "object", "string"];

/**
 * What a CustomResourceDefinition's schema must keep to at every field: a type (unless it is
 * int-or-string or open), known types, patterns that compile.
 */
export function validateStructuralSchema(schema: JsonObject, at: string): readonly FieldError[] {
  const errors: FieldError[] = [];
  const { type, pattern } = schema;
  const isOpen =
    schema["x-kubernetes-int-or-string"] === true ||
    schema["x-kubernetes-preserve-unknown-fields"] === true;
  if (type === undefined || type === "") {
    if (!isOpen) {
      errors.push(required(`${at}.type`, "must not be empty for specified object fields"));
    }
  } else if (!TYPES.includes(String(type))) errors.push(notSupported(`${at}.type`, type, TYPES));
  if (typeof pattern === "string" && goRegex(pattern) === undefined) {
    const detail = "must be a valid regular expression, but isn't";
    errors.push(invalidValue(`${at}.pattern`, pattern, detail));
  }
  for (const [field, inner] of Object.entries(objectAt(schema, "properties") ?? {})) {
    if (isObject(inner)) {
      errors.push(...validateStructuralSchema(inner, `${at}.properties[${field}]`));
    }
  }
  for (const field of ["items", "additionalProperties"]) {
    const inner = schema[field];
    if (isObject(inner)) errors.push(...validateStructuralSchema(inner, `${at}.${field}`));
  }
  return errors;
}
