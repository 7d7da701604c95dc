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
    if (Array.isArray(list) && Array.isArray(order)) {
      const mergeKey = fieldSchema(schema, target)?.["x-kubernetes-patch-merge-key"];
      const before = original[target];
      merged[target] = inOrder(list, order, Array.isArray(before) ? before : [], mergeKey);
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
 * has keeps its place among those that were there before (`before` is the list as it was).
 */
function inOrder(
  list: readonly unknown[],
  order: readonly unknown[],
  before: readonly unknown[],
  mergeKey: string | undefined,
): unknown[] {
  const keyOf = (item: unknown): unknown =>
    mergeKey !== undefined && isObject(item) ? item[mergeKey] : item;
  const rankIn = (ranked: readonly unknown[], item: unknown): number =>
    ranked.findIndex((other) => deepEqual(keyOf(other), keyOf(item)));
  const named = list
    .filter((item) => rankIn(order, item) >= 0)
    .sort((a, b) => rankIn(order, a) - rankIn(order, b));
  const serverOnly = list.filter((item) => rankIn(order, item) < 0);
  const merged: unknown[] = [];
  for (const item of named) {
    const place = rankIn(before, item);
    // A new element has no old place: it does not push server-only ones forward.
    while (place >= 0 && serverOnly.length > 0 && rankIn(before, serverOnly[0]) < place) {
      merged.push(serverOnly.shift());
    }
    merged.push(item);
  }
  return [...merged, ...serverOnly];
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
