import { isObject, type JsonObject, setField } from "./json.ts";
import type { Schema } from "./schema.ts";

/** What came of reading a document by a schema. */
export interface Decoded {
  /** The document without what the schema does not know and without nulls. */
  readonly value: JsonObject;
  /** Paths of unknown fields, `spec.containers[0].imagee`. */
  readonly unknown: readonly string[];
}

/** A value of another type than the field's; worded as Go's JSON decoder does. */
export class DecodeError extends Error {
  override readonly name = "DecodeError";
}

/**
 * Reads a document of a built-in kind as kube-apiserver's decoder does: unknown fields are dropped
 * and listed, null counts as absent, numbers are taken where a quantity is meant. Throws
 * DecodeError for a value of the wrong JSON type.
 */
export function decodeBuiltIn(document: JsonObject, schema: Schema): Decoded {
  const unknown: string[] = [];
  const value = decodeObject(document, schema, { path: "", goPath: "", struct: "", unknown });
  return { value, unknown };
}

interface Place {
  readonly path: string;
  /** As Go prints it: no indices. */
  readonly goPath: string;
  readonly struct: string;
  readonly unknown: string[];
}

function decodeValue(value: unknown, schema: Schema, place: Place): unknown {
  if (schema["x-kubernetes-int-or-string"] === true) {
    if (typeof value === "string" || Number.isInteger(value)) return value;
    throw mismatch(value, "intstr.IntOrString", place);
  }
  if (schema.quantity === true && typeof value === "number") return String(value);
  switch (schema.type ?? "any") {
    case "any":
      return value;
    case "object":
      if (!isObject(value)) throw mismatch(value, goTypeOf(schema), place);
      return decodeObject(value, schema, place);
    case "array": {
      if (!Array.isArray(value)) throw mismatch(value, goTypeOf(schema), place);
      const items = schema.items ?? {};
      return value.map((item, index) =>
        item === null && items.type === "object"
          ? {}
          : decodeValue(item, items, { ...place, path: `${place.path}[${index}]` }),
      );
    }
    case "string":
      if (typeof value !== "string") throw mismatch(value, goTypeOf(schema), place);
      return value;
    case "boolean":
      if (typeof value !== "boolean") throw mismatch(value, "bool", place);
      return value;
    case "integer":
      if (!Number.isInteger(value)) throw mismatch(value, goTypeOf(schema), place);
      return value;
    case "number":
      if (typeof value !== "number") throw mismatch(value, "float64", place);
      return value;
  }
}

function decodeObject(value: JsonObject, schema: Schema, place: Place): JsonObject {
  const decoded: JsonObject = {};
  const { properties, additionalProperties } = schema;
  for (const [field, inner] of Object.entries(value)) {
    const path = place.path === "" ? field : `${place.path}.${field}`;
    const known = properties !== undefined && Object.hasOwn(properties, field);
    const fieldSchema = known
      ? properties[field]
      : typeof additionalProperties === "object"
        ? additionalProperties
        : undefined;
    if (fieldSchema === undefined) {
      // An object without declared fields (RawExtension, a schema's default) is open.
      if (properties === undefined) setField(decoded, field, inner);
      else place.unknown.push(path);
      continue;
    }
    // A nulled key of a map keeps its zero value; a nulled field is as good as absent.
    if (inner === null) {
      if (!known && fieldSchema.type === "string") setField(decoded, field, "");
      continue;
    }
    const goPath = place.goPath === "" ? field : `${place.goPath}.${field}`;
    const struct = known ? (schema.goType ?? "") : place.struct;
    setField(decoded, field, decodeValue(inner, fieldSchema, { ...place, path, goPath, struct }));
  }
  return decoded;
}

function mismatch(value: unknown, goType: string, place: Place): DecodeError {
  const found = Array.isArray(value)
    ? "array"
    : isObject(value)
      ? "object"
      : typeof value === "boolean"
        ? "bool"
        : typeof value === "number"
          ? Number.isInteger(value)
            ? "number"
            : `number ${value}`
          : typeof value;
  return new DecodeError(
    `json: cannot unmarshal ${found} into Go struct field ${place.struct}.${place.goPath} of type ${goType}`,
  );
}

function goTypeOf(schema: Schema): string {
  if (schema.quantity === true) return "resource.Quantity";
  switch (schema.type ?? "any") {
    case "any":
      return "interface {}";
    case "integer":
      return schema.format ?? "int64";
    case "array":
      return `[]${goTypeOf(schema.items ?? {})}`;
    case "object": {
      if (schema.goType !== undefined) return `v1.${schema.goType}`;
      const values = schema.additionalProperties;
      return `map[string]${goTypeOf(typeof values === "object" ? values : {})}`;
    }
    case "string":
      return "string";
    case "boolean":
      return "bool";
    case "number":
      return "float64";
  }
}
