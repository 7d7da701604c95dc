import { isDeepStrictEqual } from "node:util";
import { type Document, isCollection, isMap, isSeq, type YAMLMap, type YAMLSeq } from "yaml";

/**
 * Makes the node at `path` of a document say `value`, and leaves what says so already as it is written:
 * comments, order and quoting stay.
 */
export function writeInto(document: Document, path: readonly string[], value: unknown): void {
  const node = document.getIn(path, true);
  if (isMap(node) && isObject(value)) writeMap(document, node, value);
  else if (isSeq(node) && Array.isArray(value)) writeSeq(document, node, value);
  else document.setIn(path, plain(document, value));
}

function writeMap(
  document: Document,
  map: YAMLMap,
  value: Readonly<Record<string, unknown>>,
): void {
  for (const [key, wanted] of Object.entries(value)) {
    const node: unknown = map.get(key, true);
    if (isDeepStrictEqual(toJs(document, node), wanted)) continue;
    if (isMap(node) && isObject(wanted)) writeMap(document, node, wanted);
    else if (isSeq(node) && Array.isArray(wanted)) writeSeq(document, node, wanted);
    else map.set(key, plain(document, wanted));
  }
  for (const pair of [...map.items]) {
    const key = String(toJs(document, pair.key));
    if (!Object.hasOwn(value, key)) map.delete(pair.key);
  }
}

/** Items keep their nodes: those of a name by their name, others when they are equal. */
function writeSeq(document: Document, seq: YAMLSeq, value: readonly unknown[]): void {
  const left = [...seq.items];
  const items = value.map((wanted) => {
    const at = left.findIndex((node) => isSame(toJs(document, node), wanted));
    if (at < 0) return plain(document, wanted);
    const [node] = left.splice(at, 1);
    if (isMap(node) && isObject(wanted)) writeMap(document, node, wanted);
    return node;
  });
  seq.items.splice(0, seq.items.length, ...items);
}

function isSame(found: unknown, wanted: unknown): boolean {
  if (isObject(found) && isObject(wanted) && found["name"] !== undefined) {
    return found["name"] === wanted["name"];
  }
  return isDeepStrictEqual(found, wanted);
}

/** New parts in block style, whatever flow they stand in allows. */
function plain(document: Document, value: unknown): unknown {
  return document.createNode(value);
}

function toJs(document: Document, node: unknown): unknown {
  if (isCollection(node)) return node.toJS(document) as unknown;
  return typeof node === "object" && node !== null && "value" in node ? node.value : node;
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
