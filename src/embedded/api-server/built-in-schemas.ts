import * as models from "@kubernetes/client-node";
import { PATCH_KEYS } from "../core/api/patch-keys.ts";
import type { Schema } from "../core/api/schema.ts";

interface Attribute {
  readonly baseName: string;
  readonly type: string;
  readonly format: string;
}

type Draft = { -readonly [K in keyof Schema]: Schema[K] };

/** Fields whose values are resource.Quantity, by Go type. */
const QUANTITY_MAPS: Readonly<Record<string, readonly string[]>> = {
  ResourceRequirements: ["limits", "requests"],
  PodSpec: ["overhead"],
  NodeStatus: ["capacity", "allocatable"],
};
const QUANTITIES: Readonly<Record<string, readonly string[]>> = {
  EmptyDirVolumeSource: ["sizeLimit"],
  ResourceFieldSelector: ["divisor"],
  MetricTarget: ["averageValue", "value"],
};

const cache = new Map<string, Draft>();

/**
 * The schema of a built-in kind by its model's name (`V1Deployment`), from the official client's
 * own type map, so that it is as complete as the client and never goes stale. Schemas are shared
 * and may be cyclic. Throws when there is no such model.
 */
export function builtInSchema(model: string): Schema {
  const known = cache.get(model);
  if (known !== undefined) return known;
  const goType = model
    .replace(
      /^(Core|Discovery|Events|Admissionregistration|Apiextensions|Rbac)?V\d+((alpha|beta)\d+)?/,
      "",
    )
    .replace(/^CoreV1/, "");
  const schema: Draft = { type: "object", goType };
  // Before its fields are read: a type may hold itself.
  cache.set(model, schema);
  const properties: Record<string, Schema> = {};
  for (const attribute of attributesOf(model)) {
    properties[attribute.baseName] = withPatchKeys(
      fieldSchema(attribute, goType),
      goType,
      attribute,
    );
  }
  if (Object.keys(properties).length > 0) schema.properties = properties;
  return schema;
}

function attributesOf(model: string): readonly Attribute[] {
  const found: unknown = Reflect.get(models, model);
  if (typeof found !== "function" || !("getAttributeTypeMap" in found)) {
    throw new TypeError(`@kubernetes/client-node has no model ${model}`);
  }
  return (found as { getAttributeTypeMap(): readonly Attribute[] }).getAttributeTypeMap();
}

function withPatchKeys(schema: Schema, goType: string, attribute: Attribute): Schema {
  const key = PATCH_KEYS[`${goType}.${attribute.baseName}`];
  if (key === undefined) return schema;
  return {
    ...schema,
    "x-kubernetes-patch-strategy": key.strategy,
    ...(key.mergeKey === undefined ? {} : { "x-kubernetes-patch-merge-key": key.mergeKey }),
  };
}

function fieldSchema(attribute: Attribute, goType: string): Schema {
  const { baseName, type, format } = attribute;
  if (QUANTITIES[goType]?.includes(baseName) === true) return { type: "string", quantity: true };
  const isQuantityMap = QUANTITY_MAPS[goType]?.includes(baseName) === true;
  return schemaOfType(type, format, isQuantityMap);
}

function schemaOfType(type: string, format: string, isQuantity: boolean): Schema {
  const list = /^Array<(.*)>$/.exec(type)?.[1];
  if (list !== undefined) return { type: "array", items: schemaOfType(list, format, false) };
  const map = /^\{ \[key: string\]: (.*); \}$/.exec(type)?.[1];
  if (map !== undefined) {
    const values = isQuantity
      ? { type: "string" as const, quantity: true }
      : schemaOfType(map, format, false);
    return { type: "object", additionalProperties: values };
  }
  switch (type) {
    case "string":
      return format === "byte" ? { type: "string", format } : { type: "string" };
    case "boolean":
      return { type: "boolean" };
    case "number":
      return format === "double" ? { type: "number", format } : { type: "integer", format };
    case "Date":
    case "V1MicroTime":
      return { type: "string", format: "date-time" };
    case "IntOrString":
      return { "x-kubernetes-int-or-string": true };
    case "any":
      return {};
    default:
      return builtInSchema(type);
  }
}
