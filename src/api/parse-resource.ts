import type { z } from "zod";
import { type Issue, invalidDocument, issuesOf } from "../base/index.ts";
import type { KubeObject } from "./meta.ts";

/**
 * Reads an object's spec by a strict schema. Throws SERIN_INVALID_RESOURCE that lists every bad path:
 * what is wrong, what was found, and for an unknown field the known one that it resembles.
 */
export function parseSpec<Schema extends z.ZodType>(
  object: KubeObject,
  schema: Schema,
): z.infer<Schema> {
  const issues = specIssues(object["spec"] ?? {}, schema);
  if (issues.length === 0) return schema.parse(object["spec"] ?? {});
  const { namespace = "default", name } = object.metadata;
  throw invalidDocument(`${object.kind} ${namespace}/${name}`, issues);
}

/** Everything wrong with a spec; empty = valid. */
export function specIssues(spec: unknown, schema: z.ZodType): readonly Issue[] {
  const result = schema.safeParse(spec, { reportInput: true });
  if (result.success) return [];
  return result.error.issues.flatMap((issue) => {
    const flat = issuesOf({ issues: [issue] } as unknown as z.ZodError);
    return flat.map(({ path, message }) => ({
      path: path === "" ? "spec" : `spec${path.startsWith("[") ? "" : "."}${path}`,
      message: describe(issue, message, path, schema),
    }));
  });
}

function describe(
  issue: z.core.$ZodIssue,
  message: string,
  path: string,
  schema: z.ZodType,
): string {
  if (issue.code === "unrecognized_keys") {
    const key = path.slice(path.lastIndexOf(".") + 1);
    const nearest = nearestOf(key, fieldsAt(schema, issue.path));
    return nearest === undefined ? message : `${message}, did you mean ${nearest}?`;
  }
  const input = issue.input;
  const isPlain = input !== undefined && (input === null || typeof input !== "object");
  if (!isPlain || message.includes("(found ")) return message;
  return `${message} (found ${JSON.stringify(input)})`;
}

/** The names that an object at a path may have. */
function fieldsAt(schema: z.ZodType, path: readonly PropertyKey[]): readonly string[] {
  let at: z.ZodType | undefined = schema;
  for (const key of path) at = at === undefined ? undefined : childOf(unwrap(at), key);
  const found = at === undefined ? undefined : unwrap(at);
  const shape = found === undefined ? undefined : shapeOf(found);
  return shape === undefined ? [] : Object.keys(shape);
}

interface Definition {
  readonly type: string;
  readonly innerType?: z.ZodType;
  readonly in?: z.ZodType;
  readonly element?: z.ZodType;
  readonly valueType?: z.ZodType;
  readonly shape?: Readonly<Record<string, z.ZodType>>;
}

function definitionOf(schema: z.ZodType): Definition {
  return schema._zod.def as unknown as Definition;
}

function unwrap(schema: z.ZodType): z.ZodType {
  const { innerType, in: input } = definitionOf(schema);
  const inner = innerType ?? input;
  return inner === undefined ? schema : unwrap(inner);
}

function shapeOf(schema: z.ZodType): Definition["shape"] {
  return definitionOf(schema).shape;
}

function childOf(schema: z.ZodType, key: PropertyKey): z.ZodType | undefined {
  const { element, valueType, shape } = definitionOf(schema);
  if (typeof key === "number") return element;
  return shape?.[String(key)] ?? valueType;
}

/** The name that needs the fewest edits, when that is few enough to be a slip. */
export function nearestOf(found: string, known: readonly string[]): string | undefined {
  const limit = Math.max(1, Math.floor(found.length / 3));
  let best: { readonly name: string; readonly edits: number } | undefined;
  for (const name of known) {
    const edits = editDistance(found.toLowerCase(), name.toLowerCase());
    if (edits <= limit && (best === undefined || edits < best.edits)) best = { name, edits };
  }
  return best?.name;
}

/** Levenshtein distance. */
function editDistance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, i) => i);
  for (let i = 1; i <= a.length; i += 1) {
    const next = [i];
    for (let j = 1; j <= b.length; j += 1) {
      const replaced = (row[j - 1] ?? 0) + Number(a[i - 1] !== b[j - 1]);
      next.push(Math.min(replaced, (row[j] ?? 0) + 1, (next[j - 1] ?? 0) + 1));
    }
    row = next;
  }
  return row[b.length] ?? 0;
}
