import { z } from "zod";
import { alternatives, extensions } from "./fields.ts";

/** A node of a structural schema (apiextensions.k8s.io/v1 JSONSchemaProps). */
export type CrdSchema = { [field: string]: unknown };

/** JSON Schema's words that a structural schema has too. */
const KEPT = [
  ...["type", "description", "enum", "format", "pattern", "minimum", "maximum"],
  ...["minLength", "maxLength", "minItems", "maxItems", "required", "oneOf"],
];

/**
 * The structural schema of a zod schema: every field typed, no unions but int-or-string
 * and alternatives of required fields. What only a
 * refinement says is left to the validating webhook.
 * Source: Kubernetes docs, "Specifying a structural schema".
 */
export function crdSchemaOf(schema: z.ZodType): CrdSchema {
  const json = z.toJSONSchema(schema, {
    io: "input",
    unrepresentable: "any",
    override: ({ zodSchema, jsonSchema }) => {
      const extension = extensions.get(zodSchema as unknown as z.ZodType);
      const sets = alternatives.get(zodSchema as unknown as z.ZodType);
      if (sets !== undefined)
        (jsonSchema as CrdSchema)["oneOf"] = sets.map((required) => ({ required }));
      if (extension === undefined) return;
      for (const key of Object.keys(jsonSchema)) delete (jsonSchema as CrdSchema)[key];
      (jsonSchema as CrdSchema)["x-serin"] = extension;
    },
  });
  return structural(json as CrdSchema);
}

function structural(node: CrdSchema): CrdSchema {
  if (node["x-serin"] === "int64") return { type: "integer", format: "int64" };
  if (node["x-serin"] === "intOrString") return { "x-kubernetes-int-or-string": true };
  if (node["x-serin"] === "freeForm") {
    return { type: "object", "x-kubernetes-preserve-unknown-fields": true };
  }
  const out: CrdSchema = {};
  for (const key of KEPT) if (node[key] !== undefined) out[key] = node[key];
  if (node["const"] !== undefined) {
    out["type"] = typeof node["const"];
    out["enum"] = [node["const"]];
  }
  // zod bounds every integer by what a double holds.
  if (out["minimum"] === Number.MIN_SAFE_INTEGER) delete out["minimum"];
  if (out["maximum"] === Number.MAX_SAFE_INTEGER) delete out["maximum"];
  if (isNode(node["items"])) out["items"] = structural(node["items"]);
  if (isNode(node["properties"])) {
    out["properties"] = Object.fromEntries(
      Object.entries(node["properties"]).map(([name, child]) => [
        name,
        structural(child as CrdSchema),
      ]),
    );
  } else if (isNode(node["additionalProperties"])) {
    out["additionalProperties"] = structural(node["additionalProperties"]);
  }
  if (out["type"] === undefined) {
    throw new TypeError(`not a structural schema: ${JSON.stringify(node)}`);
  }
  return out;
}

function isNode(value: unknown): value is CrdSchema {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
