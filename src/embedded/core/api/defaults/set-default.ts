import { isObject, type JsonObject, objectAt } from "../json.ts";

/** Sets a field of a draft that is not there yet. */
export function setDefault(draft: JsonObject, field: string, value: unknown): void {
  if (draft[field] === undefined) draft[field] = value;
}

/** The object in a field of a draft, created when absent. */
export function ensureObject(draft: JsonObject, field: string): JsonObject {
  const found = objectAt(draft, field);
  if (found !== undefined) return found;
  const created: JsonObject = {};
  draft[field] = created;
  return created;
}

/** The objects in a list of a draft; the list itself stays as it is. */
export function draftsOf(draft: JsonObject, field: string): readonly JsonObject[] {
  const list = draft[field];
  return Array.isArray(list) ? list.filter(isObject) : [];
}
