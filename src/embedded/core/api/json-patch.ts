import { deepEqual, isObject, type JsonObject, setField } from "./json.ts";

/** Why a patch cannot be applied. */
export class PatchError extends Error {
  override readonly name = "PatchError";
}

type Container = JsonObject | unknown[];

/**
 * Applies an RFC 6902 JSON Patch and returns the new document; the old one is not touched.
 * Throws PatchError, naming the operation, when the patch is not one or does not fit.
 */
export function applyJsonPatch(document: unknown, patch: unknown): unknown {
  if (!Array.isArray(patch)) {
    throw new PatchError("a JSON patch must be an array of operations");
  }
  // One holder makes "the whole document" an ordinary location.
  const holder: JsonObject = { root: structuredClone(document) };
  for (const [index, operation] of patch.entries()) applyOperation(holder, operation, index);
  return holder["root"];
}

function applyOperation(holder: JsonObject, operation: unknown, index: number): void {
  if (!isObject(operation)) throw new PatchError(`operation ${index} is not an object`);
  const op = operation["op"];
  const where = `operation ${index} (${String(op)} ${String(operation["path"])})`;
  const path = parsePointer(operation["path"], where);
  switch (op) {
    case "add":
      add(holder, path, structuredClone(operand(operation, where)), where);
      return;
    case "remove":
      remove(holder, path, where);
      return;
    case "replace":
      remove(holder, path, where);
      add(holder, path, structuredClone(operand(operation, where)), where);
      return;
    case "move": {
      const from = parsePointer(operation["from"], where);
      if (isPrefix(from, path)) throw new PatchError(`${where}: cannot move into itself`);
      add(holder, path, remove(holder, from, where), where);
      return;
    }
    case "copy": {
      const from = parsePointer(operation["from"], where);
      add(holder, path, structuredClone(read(holder, from, where)), where);
      return;
    }
    case "test":
      if (!deepEqual(read(holder, path, where), operand(operation, where))) {
        throw new PatchError(`${where}: testing value failed`);
      }
      return;
    default:
      throw new PatchError(`${where}: unknown operation`);
  }
}

function operand(operation: JsonObject, where: string): unknown {
  if (!Object.hasOwn(operation, "value")) throw new PatchError(`${where}: value is missing`);
  return operation["value"];
}

/** RFC 6901; the first token leads into the holder. */
function parsePointer(pointer: unknown, where: string): readonly string[] {
  if (typeof pointer !== "string" || (pointer !== "" && !pointer.startsWith("/"))) {
    throw new PatchError(`${where}: ${JSON.stringify(pointer)} is not a JSON pointer`);
  }
  if (/~(?![01])/.test(pointer)) throw new PatchError(`${where}: bad escape in the pointer`);
  const tokens = pointer.split("/").slice(1);
  return ["root", ...tokens.map((t) => t.replaceAll("~1", "/").replaceAll("~0", "~"))];
}

function isPrefix(prefix: readonly string[], path: readonly string[]): boolean {
  return prefix.length < path.length && prefix.every((token, i) => path[i] === token);
}

/** The container of the last token of a path, and that token. */
function locate(
  holder: JsonObject,
  path: readonly string[],
  where: string,
): { readonly container: Container; readonly token: string } {
  let current: unknown = holder;
  for (const token of path.slice(0, -1)) current = child(current, token, where);
  if (!isObject(current) && !Array.isArray(current)) {
    throw new PatchError(`${where}: the parent is not an object or array`);
  }
  return { container: current, token: path.at(-1) ?? "" };
}

function child(container: unknown, token: string, where: string): unknown {
  if (Array.isArray(container)) return container[indexOf(container, token, where, false)];
  if (isObject(container) && Object.hasOwn(container, token)) return container[token];
  throw new PatchError(`${where}: there is no ${JSON.stringify(token)}`);
}

function indexOf(
  array: readonly unknown[],
  token: string,
  where: string,
  mayAppend: boolean,
): number {
  if (mayAppend && token === "-") return array.length;
  const index = /^(0|[1-9]\d*)$/.test(token) ? Number(token) : Number.NaN;
  if (!(index < array.length + (mayAppend ? 1 : 0))) {
    throw new PatchError(`${where}: ${JSON.stringify(token)} is not an index of the array`);
  }
  return index;
}

function read(holder: JsonObject, path: readonly string[], where: string): unknown {
  const { container, token } = locate(holder, path, where);
  return child(container, token, where);
}

function add(holder: JsonObject, path: readonly string[], value: unknown, where: string): void {
  const { container, token } = locate(holder, path, where);
  if (Array.isArray(container)) {
    container.splice(indexOf(container, token, where, true), 0, value);
  } else setField(container, token, value);
}

function remove(holder: JsonObject, path: readonly string[], where: string): unknown {
  const { container, token } = locate(holder, path, where);
  const removed = child(container, token, where);
  if (Array.isArray(container)) container.splice(indexOf(container, token, where, false), 1);
  else delete container[token];
  return removed;
}
