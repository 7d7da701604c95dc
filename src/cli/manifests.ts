import { readFileSync } from "node:fs";
import { parseAllDocuments } from "yaml";
import { z } from "zod";
import type { KubeObject } from "../api/index.ts";
import { messageOf, SerinError } from "../base/index.ts";

const objectSchema = z.looseObject({
  apiVersion: z.string().min(1),
  kind: z.string().min(1),
  metadata: z.looseObject({ name: z.string().min(1) }),
});
const listSchema = z.looseObject({
  kind: z.string().endsWith("List"),
  items: z.array(z.unknown()),
});

/**
 * The objects of a YAML or JSON file (`-` is standard input): several documents, and the items of Lists;
 * empty documents are left out. Throws SERIN_UNREADABLE_INPUT naming the document that is no object.
 */
export function readManifests(path: string): readonly KubeObject[] {
  let text: string;
  try {
    text = readFileSync(path === "-" ? 0 : path, "utf8");
  } catch (error) {
    throw unreadable(`cannot read ${path}: ${messageOf(error)}`, error);
  }
  return parseAllDocuments(text).flatMap((document, i) => {
    const where = `${path}: document ${i + 1}`;
    const [error] = document.errors;
    if (error !== undefined) throw unreadable(`${where}: ${error.message}`, error);
    return objectsOf(document.toJS(), where);
  });
}

function objectsOf(value: unknown, where: string): readonly KubeObject[] {
  if (value === null || value === undefined) return [];
  const list = listSchema.safeParse(value);
  if (list.success)
    return list.data.items.flatMap((item, i) => objectsOf(item, `${where}: items[${i}]`));
  const found = objectSchema.safeParse(value);
  if (found.success) return [found.data as unknown as KubeObject];
  const [issue] = found.error.issues;
  throw unreadable(
    `${where}: ${issue?.path.join(".") || "it"}: ${issue?.message ?? "is no object"}`,
    found.error,
  );
}

function unreadable(message: string, cause: unknown): SerinError {
  return new SerinError("SERIN_UNREADABLE_INPUT", message, { source: "caller", cause });
}
