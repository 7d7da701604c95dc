import { z } from "zod";
import { tryParseDurationMs } from "../base/index.ts";

/** What a schema says in the CRD that JSON Schema has no word for. */
export type SchemaExtension = "intOrString" | "freeForm" | "int64";

/** Extensions of the schemas of this folder, read by `crd-schema.ts`. */
export const extensions = new WeakMap<z.ZodType, SchemaExtension>();

/**
 * Which sets of fields exclude each other, for the CRD: exactly one set must be there whole. The
 * schema itself has to say so too, by a refinement.
 */
export const alternatives = new WeakMap<z.ZodType, readonly (readonly string[])[]>();

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
/** Whole, and more than 32 bits hold: epoch milliseconds. */
export const int64 = extended(z.int(), "int64");
export const texts = z.array(z.string());
export const stringMap = z.record(z.string(), z.string());
export const port = z.int().min(1).max(65_535);
export const count = z.int().min(0).max(2_147_483_647);
export const percentNumber = z.number().min(0).max(100);
export const percent = z.strictObject({ value: percentNumber.optional() });

const said = (issue: { readonly input?: unknown }): string =>
  `(found ${JSON.stringify(issue.input)})`;

const durationText = z.string().refine((value) => tryParseDurationMs(value) !== undefined, {
  error: (issue) => `must be a duration such as 1s or 500ms ${said(issue)}`,
});
const msOf = (value: string): number => tryParseDurationMs(value) ?? 1;

/** A Go duration such as `1.5s`, `2m`, `500ms`; 0 has a meaning of its own (mostly: none). */
export const durationOrZero = durationText.refine((value) => msOf(value) >= 0, {
  error: (issue) => `must not be negative ${said(issue)}`,
});

/** A Go duration as Istio takes it: 1 ms or more, in whole milliseconds. */
export const duration = durationText
  .refine((value) => msOf(value) >= 1, {
    error: (issue) => `must be 1ms or more ${said(issue)}`,
  })
  // Sums of binary fractions (1.1s) are whole but for their last bits.
  .refine((value) => Math.abs(msOf(value) - Math.round(msOf(value))) < 1e-6, {
    error: (issue) => `must be in whole milliseconds ${said(issue)}`,
  });
