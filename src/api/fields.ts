import { z } from "zod";
import { tryParseDurationMs } from "../base/index.ts";

/** What a schema says in the CRD that JSON Schema has no word for. */
export type SchemaExtension = "intOrString" | "freeForm";

/** Extensions of the schemas of this folder, read by `crd-schema.ts`. */
export const extensions = new WeakMap<z.ZodType, SchemaExtension>();

function extended<Schema extends z.ZodType>(schema: Schema, extension: SchemaExtension): Schema {
  extensions.set(schema, extension);
  return schema;
}

/** A port by number or name. */
export const intOrString = extended(z.union([z.int(), z.string()]), "intOrString");
/** An object that somebody else defines; kept as it is. */
export const freeForm = extended(z.record(z.string(), z.unknown()), "freeForm");

export const text = z.string();
export const name = z.string().min(1);
export const texts = z.array(z.string());
export const stringMap = z.record(z.string(), z.string());
export const port = z.int().min(1).max(65_535);
export const count = z.int().min(0).max(2_147_483_647);
export const percentNumber = z.number().min(0).max(100);
export const percent = z.strictObject({ value: percentNumber.optional() });

/** A Go duration such as `1.5s`, `2m`, `500ms`; Istio's and Flagger's. */
export const duration = z.string().refine((value) => tryParseDurationMs(value) !== undefined, {
  error: (issue) => `must be a duration such as 1s or 500ms (found ${JSON.stringify(issue.input)})`,
});

/** A duration of more than nothing. */
export const positiveDuration = duration.refine(
  (value) => (tryParseDurationMs(value) ?? 1) > 0,
  "must be more than 0",
);
