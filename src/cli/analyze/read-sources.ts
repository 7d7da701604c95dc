import { type Dirent, readdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { type Document, isNode, LineCounter, parseAllDocuments } from "yaml";
import type { KubeObject } from "../../api/index.ts";
import { messageOf, SerinError } from "../../base/index.ts";

/** Where a field of an object stands. */
export type LineOf = (path: readonly (string | number)[]) => number;

export interface SourceObject {
  readonly object: KubeObject;
  /** As given on the command line, or below it; `-` is standard input. */
  readonly file: string;
  /** From 1; of the field, or of what of its path there is. */
  readonly lineOf: LineOf;
}

export interface Sources {
  readonly objects: readonly SourceObject[];
  /** What could not be read, a sentence each; the rest counts nevertheless. */
  readonly errors: readonly string[];
}

const MANIFEST = /\.(?:ya?ml|json)$/i;

/**
 * Reads the objects of files and folders (`-` is standard input), with the lines they stand on. Objects
 * of namespaced kinds that name no namespace get `namespace`. Throws SERIN_UNREADABLE_INPUT for a path
 * that cannot be read; what is wrong inside of a file is listed.
 */
export function readSources(
  paths: readonly string[],
  options: { readonly isRecursive: boolean; readonly namespace: string },
): Sources {
  const objects: SourceObject[] = [];
  const errors: string[] = [];
  for (const file of paths.flatMap((path) => filesOf(path, options.isRecursive))) {
    const lines = new LineCounter();
    const documents = parseAllDocuments(readText(file), { lineCounter: lines });
    for (const [i, document] of documents.entries()) {
      const [error] = document.errors;
      if (error !== undefined) {
        errors.push(`${file}: document ${i + 1}: ${error.message}`);
        continue;
      }
      const lineOf: LineOf = (path) => lineIn(document, path, lines);
      collect(document.toJS(), [], { file, lineOf, namespace: options.namespace }, objects, errors);
    }
  }
  return { objects, errors };
}

function filesOf(path: string, isRecursive: boolean): readonly string[] {
  if (path === "-") return [path];
  try {
    if (!statSync(path).isDirectory()) return [path];
    const entries = readdirSync(path, { withFileTypes: true });
    entries.sort((a, b) => (a.name < b.name ? -1 : 1));
    return entries.flatMap((entry: Dirent) => {
      const inside = join(path, entry.name);
      if (entry.isDirectory()) return isRecursive ? filesOf(inside, isRecursive) : [];
      return MANIFEST.test(entry.name) ? [inside] : [];
    });
  } catch (error) {
    throw unreadable(path, error);
  }
}

function readText(file: string): string {
  try {
    return readFileSync(file === "-" ? 0 : file, "utf8");
  } catch (error) {
    throw unreadable(file, error);
  }
}

function unreadable(path: string, cause: unknown): SerinError {
  if (cause instanceof SerinError) return cause;
  const message = `cannot read ${path}: ${messageOf(cause)}`;
  return new SerinError("SERIN_UNREADABLE_INPUT", message, { source: "caller", cause });
}

/** Kinds that are in no namespace, of those that are looked at. */
const CLUSTER_KINDS = ["Namespace", "Node", "GatewayClass"];

function collect(
  value: unknown,
  prefix: readonly (string | number)[],
  source: { readonly file: string; readonly lineOf: LineOf; readonly namespace: string },
  objects: SourceObject[],
  errors: string[],
): void {
  if (value === null || value === undefined) return;
  const { kind, apiVersion, items, metadata } = value as Readonly<Record<string, unknown>>;
  if (typeof kind === "string" && kind.endsWith("List") && Array.isArray(items)) {
    for (const [i, item] of items.entries()) {
      collect(item, [...prefix, "items", i], source, objects, errors);
    }
    return;
  }
  const { file, lineOf, namespace } = source;
  const name = (metadata as { readonly name?: unknown } | null | undefined)?.name;
  const lacking = [
    ...(typeof apiVersion === "string" ? [] : ["apiVersion"]),
    ...(typeof kind === "string" ? [] : ["kind"]),
    ...(typeof name === "string" && name !== "" ? [] : ["metadata.name"]),
  ];
  if (lacking.length > 0) {
    errors.push(`${file}:${lineOf(prefix)}: no Kubernetes object: ${lacking.join(", ")} missing`);
    return;
  }
  const object = value as KubeObject;
  const place = CLUSTER_KINDS.includes(object.kind) ? {} : { namespace };
  objects.push({
    object: { ...object, metadata: { ...place, ...object.metadata } },
    file,
    lineOf: (path) => lineOf([...prefix, ...path]),
  });
}

/** The line of the deepest node on the path. */
function lineIn(
  document: Document,
  path: readonly (string | number)[],
  lines: LineCounter,
): number {
  for (let length = path.length; length >= 0; length -= 1) {
    const at = path.slice(0, length);
    const node = length === 0 ? document.contents : document.getIn(at, true);
    if (isNode(node) && node.range != null) return lines.linePos(node.range[0]).line;
  }
  return 1;
}
