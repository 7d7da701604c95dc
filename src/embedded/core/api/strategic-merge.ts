import { deepEqual, isObject, type JsonObject, setField } from "./json.ts";
import { PatchError } from "./json-patch.ts";
import type { Schema } from "./schema.ts";

const DIRECTIVE = "$patch";
const RETAIN_KEYS = "$retainKeys";
const ORDER = "$setElementOrder/";
const DELETE_FROM = "$deleteFromPrimitiveList/";

/**
 * Applies a Kubernetes strategic merge patch: as a merge patch, but lists that the schema marks
 * with a merge key are merged by element, and `$patch`, `$retainKeys`, `$setElementOrder/…`,
 * `$deleteFromPrimitiveList/…` are obeyed. Throws PatchError naming the field.
 * Source: the community's "strategic merge patch" document.
 */
export function applyStrategicMerge(document: unknown, patch: unknown, schema: Schema): unknown {
  if (!isObject(patch)) throw new PatchError("a strategic merge patch must be an object");
  return mergeObject(isObject(document) ? document : {}, patch, schema, "");
}

function mergeObject(
  original: JsonObject,
  patch: JsonObject,
  schema: Schema | undefined,
  path: string,
): JsonObject {
  const directive = patch[DIRECTIVE];
  if (directive === "replace") return withoutDirectives(patch);
  if (directive === "delete") return {};
  if (directive !== undefined && directive !== "merge") {
    throw new PatchError(`${path || "patch"}: unknown $patch ${JSON.stringify(directive)}`);
  }
  const merged: JsonObject = { ...original };
  retainKeys(merged, patch, path);
  for (const [field, value] of Object.entries(patch)) {
    if (field.startsWith(DELETE_FROM)) {
      const target = field.slice(DELETE_FROM.length);
      merged[target] = withoutValues(merged[target], value, `${path}.${target}`);
    }
  }
  for (const [field, value] of Object.entries(patch)) {
    if (field.startsWith("$")) continue;
    const inner = path === "" ? field : `${path}.${field}`;
    const merging = mergeField(
      Object.hasOwn(merged, field) ? merged[field] : undefined,
      value,
      fieldSchema(schema, field),
      inner,
    );
    if (merging === undefined) delete merged[field];
    else setField(merged, field, merging);
  }
  for (const [field, order] of Object.entries(patch)) {
    if (!field.startsWith(ORDER)) continue;
    const target = field.slice(ORDER.length);
    const list = merged[target];
    const wanted = patch[target];
    if (Array.isArray(list) && Array.isArray(order)) {
      const mergeKey = fieldSchema(schema, target)?.["x-kubernetes-patch-merge-key"];
      merged[target] = inOrder(list, order, Array.isArray(wanted) ? wanted : [], mergeKey);
    }
  }
  return merged;
}

/** undefined when the field is deleted. */
function mergeField(
  old: unknown,
  value: unknown,
  schema: Schema | undefined,
  path: string,
): unknown {
  if (value === null) return undefined;
  if (isObject(value)) {
    if (value[DIRECTIVE] === "delete") return undefined;
    const replaces = schema?.["x-kubernetes-patch-strategy"]?.split(",").includes("replace");
    return mergeObject(isObject(old) && replaces !== true ? old : {}, value, schema, path);
  }
  if (!Array.isArray(value)) return value;
  const strategies = schema?.["x-kubernetes-patch-strategy"]?.split(",") ?? [];
  if (!strategies.includes("merge")) return value.map((v) => (isObject(v) ? withoutNulls(v) : v));
  const list = Array.isArray(old) ? old : [];
  const mergeKey = schema?.["x-kubernetes-patch-merge-key"];
  if (mergeKey === undefined) return mergePrimitives(list, value);
  return mergeList(list, value, mergeKey, schema?.items, path);
}

function fieldSchema(schema: Schema | undefined, field: string): Schema | undefined {
  if (schema?.properties !== undefined && Object.hasOwn(schema.properties, field)) {
    return schema.properties[field];
  }
  const rest = schema?.additionalProperties;
  return typeof rest === "object" ? rest : undefined;
}

function retainKeys(merged: JsonObject, patch: JsonObject, path: string): void {
  const keys = patch[RETAIN_KEYS];
  if (keys === undefined) return;
  if (!Array.isArray(keys)) throw new PatchError(`${path}.$retainKeys must be a list`);
  for (const field of Object.keys(patch)) {
    if (!field.startsWith("$") && patch[field] !== null && !keys.includes(field)) {
      throw new PatchError(`${path}.$retainKeys does not hold ${field}, which the patch sets`);
    }
  }
  for (const field of Object.keys(merged)) if (!keys.includes(field)) delete merged[field];
}

function mergePrimitives(list: readonly unknown[], added: readonly unknown[]): unknown[] {
  return [...new Set([...list, ...added])];
}

function withoutValues(list: unknown, values: unknown, path: string): unknown {
  if (!Array.isArray(values)) {
    throw new PatchError(`${path}: $deleteFromPrimitiveList must be a list`);
  }
  return Array.isArray(list) ? list.filter((item) => !values.includes(item)) : list;
}

function mergeList(
  original: readonly unknown[],
  patch: readonly unknown[],
  mergeKey: string,
  items: Schema | undefined,
  path: string,
): unknown[] {
  const elements = patch.map((element, index) => {
    if (!isObject(element)) throw new PatchError(`${path}[${index}] must be an object`);
    return element;
  });
  // `$patch: replace` in the list itself: nothing of the old one stays.
  if (elements.some((e) => e[DIRECTIVE] === "replace" && e[mergeKey] === undefined)) {
    return elements.filter((e) => e[DIRECTIVE] === undefined).map(withoutNulls);
  }
  let merged: unknown[] = [...original];
  for (const [index, element] of elements.entries()) {
    const key = element[mergeKey];
    if (key === undefined) {
      throw new PatchError(`${path}[${index}] does not contain declared merge key: ${mergeKey}`);
    }
    const has = (item: unknown): boolean => isObject(item) && item[mergeKey] === key;
    if (element[DIRECTIVE] === "delete") {
      merged = merged.filter((item) => !has(item));
      continue;
    }
    const at = merged.findIndex(has);
    const old = at < 0 ? undefined : merged[at];
    const next = mergeObject(isObject(old) ? old : {}, element, items, `${path}[${index}]`);
    if (at < 0) merged.push(next);
    else merged[at] = next;
  }
  return merged;
}

/**
 * Orders a merged list: what `$setElementOrder` names comes in that order; what only the server
 * has keeps its place relative to its old neighbours.
 */
function inOrder(
  list: readonly unknown[],
  order: readonly unknown[],
  patched: readonly unknown[],
  mergeKey: string | undefined,
): unknown[] {
  const keyOf = (item: unknown): unknown =>
    mergeKey !== undefined && isObject(item) ? item[mergeKey] : item;
  const ranks = order.map(keyOf);
  const rankOf = (item: unknown): number => ranks.findIndex((r) => deepEqual(r, keyOf(item)));
  const patchedKeys = patched.map(keyOf);
  const named = list.filter((i) => rankOf(i) >= 0).sort((a, b) => rankOf(a) - rankOf(b));
  const serverOnly = list
    .map((item, index) => ({ item, index }))
    .filter(({ item }) => rankOf(item) < 0);
  const merged: unknown[] = [...named];
  for (const { item, index } of serverOnly) {
    // Before the first named element that stood behind it and is not new with this patch.
    const follower = list
      .slice(index + 1)
      .find((other) => rankOf(other) >= 0 && !patchedKeys.some((k) => deepEqual(k, keyOf(other))));
    const at = follower === undefined ? merged.length : merged.indexOf(follower);
    merged.splice(at, 0, item);
  }
  return merged;
}

function withoutDirectives(value: JsonObject): JsonObject {
  const copy: JsonObject = {};
  for (const [field, inner] of Object.entries(value)) {
    if (!field.startsWith("$") && inner !== null) setField(copy, field, inner);
  }
  return copy;
}

function withoutNulls(value: JsonObject): JsonObject {
  const copy: JsonObject = {};
  for (const [field, inner] of Object.entries(value)) {
    if (inner === null || field === DIRECTIVE) continue;
    setField(copy, field, isObject(inner) ? withoutNulls(inner) : inner);
  }
  return copy;
}
