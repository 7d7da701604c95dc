import { isObject, type JsonObject, setField } from "./json.ts";

/** Applies an RFC 7396 merge patch: null deletes, objects merge, everything else replaces. */
export function applyMergePatch(document: unknown, patch: unknown): unknown {
  if (!isObject(patch)) return structuredClone(patch);
  const merged: JsonObject = isObject(document) ? { ...document } : {};
  for (const [field, value] of Object.entries(patch)) {
    if (value === null) delete merged[field];
    else {
      const old = Object.hasOwn(merged, field) ? merged[field] : undefined;
      setField(merged, field, applyMergePatch(old, value));
    }
  }
  return merged;
}
