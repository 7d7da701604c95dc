import {
  duplicate,
  type FieldError,
  invalidValue,
  notSupported,
  required,
  tooLong,
  typeInvalid,
} from "./field-error.ts";
import { goRegex } from "./go-regex.ts";
import { deepEqual, isObject, type JsonObject } from "./json.ts";
import type { Schema } from "./schema.ts";

/**
 * Checks a value against a schema and lists every wrong field, worded as kube-apiserver words it
 * for custom resources. CEL rules (`x-kubernetes-validations`) are not evaluated.
 */
export function validateSchema(value: unknown, schema: Schema, path = ""): readonly FieldError[] {
  const errors: FieldError[] = [];
  visit(value, schema, path, errors);
  return errors;
}

function visit(value: unknown, schema: Schema, path: string, errors: FieldError[]): void {
  if (value === null && schema.nullable === true) return;
  if (!hasType(value, schema)) {
    const wanted = schema["x-kubernetes-int-or-string"] === true ? "integer,string" : schema.type;
    const found = jsonTypeOf(value);
    errors.push(
      typeInvalid(
        path,
        found,
        `${path} in body must be of type ${wanted}: ${JSON.stringify(found)}`,
      ),
    );
    return;
  }
  if (schema.enum !== undefined && !schema.enum.some((allowed) => deepEqual(allowed, value))) {
    errors.push(notSupported(path, value, schema.enum));
  }
  if (typeof value === "string") checkString(value, schema, path, errors);
  else if (typeof value === "number") checkNumber(value, schema, path, errors);
  else if (Array.isArray(value)) checkArray(value, schema, path, errors);
  else if (isObject(value)) checkObject(value, schema, path, errors);
  checkLogic(value, schema, path, errors);
}

function hasType(value: unknown, schema: Schema): boolean {
  if (schema["x-kubernetes-int-or-string"] === true) {
    return typeof value === "string" || Number.isInteger(value);
  }
  switch (schema.type ?? "any") {
    case "any":
      return true;
    case "object":
      return isObject(value);
    case "array":
      return Array.isArray(value);
    case "integer":
      return Number.isInteger(value);
    case "number":
    case "string":
    case "boolean":
      return typeof value === schema.type;
  }
}

function jsonTypeOf(value: unknown): string {
  if (value === null) return "null";
  if (Array.isArray(value)) return "array";
  if (typeof value === "number") return Number.isInteger(value) ? "integer" : "number";
  return typeof value;
}

function checkString(value: string, schema: Schema, path: string, errors: FieldError[]): void {
  const length = [...value].length;
  const { minLength, maxLength, pattern, format } = schema;
  if (maxLength !== undefined && length > maxLength) errors.push(tooLong(path, maxLength));
  if (minLength !== undefined && length < minLength) {
    errors.push(
      invalidValue(path, value, `${path} in body should be at least ${minLength} chars long`),
    );
  }
  if (pattern !== undefined && goRegex(pattern)?.test(value) === false) {
    errors.push(invalidValue(path, value, `${path} in body should match '${pattern}'`));
  }
  if (format !== undefined && !hasFormat(value, format)) {
    const detail = `${path} in body must be of type ${format}: ${JSON.stringify(value)}`;
    errors.push(invalidValue(path, value, detail));
  }
}

function hasFormat(value: string, format: string): boolean {
  switch (format) {
    case "date-time":
      return /^\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)$/.test(value);
    case "date":
      return /^\d{4}-\d\d-\d\d$/.test(value);
    case "byte":
      return /^[A-Za-z0-9+/]*={0,2}$/.test(value) && value.length % 4 === 0;
    case "uuid":
      return /^[0-9a-f]{8}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{12}$/i.test(value);
    case "ipv4":
      return /^(\d{1,3})(\.\d{1,3}){3}$/.test(value) && value.split(".").every((n) => +n < 256);
    default:
      return true;
  }
}

function checkNumber(value: number, schema: Schema, path: string, errors: FieldError[]): void {
  const { minimum, maximum, multipleOf, format } = schema;
  const say = (rule: string): void => {
    errors.push(invalidValue(path, value, `${path} in body should be ${rule}`));
  };
  if (minimum !== undefined) {
    if (schema.exclusiveMinimum === true ? value <= minimum : value < minimum) {
      say(`greater than ${schema.exclusiveMinimum === true ? "" : "or equal to "}${minimum}`);
    }
  }
  if (maximum !== undefined) {
    if (schema.exclusiveMaximum === true ? value >= maximum : value > maximum) {
      say(`less than ${schema.exclusiveMaximum === true ? "" : "or equal to "}${maximum}`);
    }
  }
  if (multipleOf !== undefined && !Number.isInteger(Number((value / multipleOf).toFixed(9)))) {
    say(`a multiple of ${multipleOf}`);
  }
  if (format === "int32" && (value > 2_147_483_647 || value < -2_147_483_648)) {
    errors.push(
      invalidValue(path, value, `${path} in body must be of type int32: "number out of range"`),
    );
  }
}

function checkArray(
  value: readonly unknown[],
  schema: Schema,
  path: string,
  errors: FieldError[],
): void {
  const { minItems, maxItems, items } = schema;
  if (minItems !== undefined && value.length < minItems) {
    const detail = `${path} in body should have at least ${minItems} items`;
    errors.push(invalidValue(path, value.length, detail));
  }
  if (maxItems !== undefined && value.length > maxItems) {
    const detail = `must have at most ${maxItems} items`;
    errors.push({ reason: "FieldValueTooMany", field: path, value: value.length, detail });
  }
  for (const [index, item] of value.entries()) {
    const at = `${path}[${index}]`;
    if (items !== undefined) visit(item, items, at, errors);
    if (isDuplicate(value.slice(0, index), item, schema)) errors.push(duplicate(at, item));
  }
}

function isDuplicate(before: readonly unknown[], item: unknown, schema: Schema): boolean {
  if (schema["x-kubernetes-list-type"] === "set" || schema.uniqueItems === true) {
    return before.some((other) => deepEqual(other, item));
  }
  if (schema["x-kubernetes-list-type"] !== "map" || !isObject(item)) return false;
  const keys = schema["x-kubernetes-list-map-keys"] ?? [];
  return before.some(
    (other) => isObject(other) && keys.every((key) => deepEqual(other[key], item[key])),
  );
}

function checkObject(value: JsonObject, schema: Schema, path: string, errors: FieldError[]): void {
  const { properties, additionalProperties, minProperties, maxProperties } = schema;
  const inner = (field: string): string => (path === "" ? field : `${path}.${field}`);
  for (const field of schema.required ?? []) {
    if (!Object.hasOwn(value, field)) errors.push(required(inner(field)));
  }
  const count = Object.keys(value).length;
  if (minProperties !== undefined && count < minProperties) {
    const detail = `${path} in body should have at least ${minProperties} properties`;
    errors.push(invalidValue(path, count, detail));
  }
  if (maxProperties !== undefined && count > maxProperties) {
    const detail = `must have at most ${maxProperties} items`;
    errors.push({ reason: "FieldValueTooMany", field: path, value: count, detail });
  }
  for (const [field, fieldValue] of Object.entries(value)) {
    const known =
      properties !== undefined && Object.hasOwn(properties, field) ? properties[field] : undefined;
    if (known !== undefined) visit(fieldValue, known, inner(field), errors);
    else if (typeof additionalProperties === "object") {
      visit(fieldValue, additionalProperties, inner(field), errors);
    }
  }
}

function checkLogic(value: unknown, schema: Schema, path: string, errors: FieldError[]): void {
  const passes = (option: Schema): boolean => validateSchema(value, option, path).length === 0;
  const say = (rule: string): void => {
    errors.push(invalidValue(path, "", `"${path}" must ${rule}`));
  };
  for (const option of schema.allOf ?? []) visit(value, option, path, errors);
  if (schema.anyOf !== undefined && !schema.anyOf.some(passes)) {
    say("validate at least one schema (anyOf)");
    errors.push(...closest(value, schema.anyOf, path));
  }
  if (schema.oneOf !== undefined) {
    const valid = schema.oneOf.filter(passes).length;
    if (valid === 0) {
      say("validate one and only one schema (oneOf). Found none valid");
      errors.push(...closest(value, schema.oneOf, path));
    } else if (valid > 1) {
      say(`validate one and only one schema (oneOf). Found ${valid} valid alternatives`);
    }
  }
  if (schema.not !== undefined && passes(schema.not)) say("not validate the schema (not)");
}

/** The errors of the alternative that misses by least. */
function closest(value: unknown, options: readonly Schema[], path: string): readonly FieldError[] {
  const misses = options.map((option) => validateSchema(value, option, path));
  return misses.sort((a, b) => a.length - b.length)[0] ?? [];
}
