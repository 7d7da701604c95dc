import { isObject, type JsonObject, setField } from "./json.ts";
import type { Schema } from "./schema.ts";

const ENVELOPE = ["apiVersion", "kind", "metadata"];

/**
 * Drops what a structural schema does not know, except below `x-kubernetes-preserve-unknown-fields`,
 * and lists the dropped paths. The envelope (apiVersion, kind, metadata) of the root and of embedded
 * resources stays.
 */
export function pruneCustomResource(
  document: JsonObject,
  schema: Schema,
): { readonly value: JsonObject; readonly unknown: readonly string[] } {
  const unknown: string[] = [];
  const value = pruneObject(document, schema, "", true, unknown);
  return { value, unknown };
}

function prune(value: unknown, schema: Schema, path: string, unknown: string[]): unknown {
  if (Array.isArray(value)) {
    const { items } = schema;
    if (items === undefined) return value;
    return value.map((item, index) => prune(item, items, `${path}[${index}]`, unknown));
  }
  if (!isObject(value)) return value;
  return pruneObject(
    value,
    schema,
    path,
    schema["x-kubernetes-embedded-resource"] === true,
    unknown,
  );
}

function pruneObject(
  value: JsonObject,
  schema: Schema,
  path: string,
  isResource: boolean,
  unknown: string[],
): JsonObject {
  const keepsUnknown =
    schema["x-kubernetes-preserve-unknown-fields"] === true || schema.additionalProperties === true;
  const pruned: JsonObject = {};
  for (const [field, inner] of Object.entries(value)) {
    const innerPath = path === "" ? field : `${path}.${field}`;
    const { properties, additionalProperties } = schema;
    const known =
      properties !== undefined && Object.hasOwn(properties, field) ? properties[field] : undefined;
    if (isResource && ENVELOPE.includes(field)) setField(pruned, field, inner);
    else if (known !== undefined) setField(pruned, field, prune(inner, known, innerPath, unknown));
    else if (typeof additionalProperties === "object") {
      setField(pruned, field, prune(inner, additionalProperties, innerPath, unknown));
    } else if (keepsUnknown) setField(pruned, field, inner);
    else unknown.push(innerPath);
  }
  return pruned;
}

/** Fills in the defaults of a structural schema; a null where null is not allowed counts as absent. */
export function defaultCustomResource(document: JsonObject, schema: Schema): JsonObject {
  const defaulted = defaultValue(document, schema);
  return isObject(defaulted) ? defaulted : document;
}

function defaultValue(value: unknown, schema: Schema): unknown {
  if (Array.isArray(value)) {
    const { items } = schema;
    return items === undefined ? value : value.map((item) => defaultValue(item, items));
  }
  if (!isObject(value)) return value;
  const result: JsonObject = { ...value };
  for (const [field, inner] of Object.entries(schema.properties ?? {})) {
    const nulled = result[field] === null && inner.nullable !== true;
    if ((!Object.hasOwn(result, field) || nulled) && inner.default !== undefined) {
      result[field] = structuredClone(inner.default);
    }
    if (Object.hasOwn(result, field)) result[field] = defaultValue(result[field], inner);
  }
  const { additionalProperties } = schema;
  if (typeof additionalProperties === "object") {
    for (const [field, inner] of Object.entries(result)) {
      if (schema.properties !== undefined && Object.hasOwn(schema.properties, field)) continue;
      setField(result, field, defaultValue(inner, additionalProperties));
    }
  }
  return result;
}
