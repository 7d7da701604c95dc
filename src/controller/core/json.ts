/** A JSON object as the API server sends it. */
export type Json = Readonly<Record<string, unknown>>;

export function isJson(value: unknown): value is Json {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** The object at a field, or an empty one. */
export function objectAt(value: unknown, field: string): Json {
  const found = isJson(value) ? value[field] : undefined;
  return isJson(found) ? found : {};
}

/** The array at a field, or an empty one. */
export function arrayAt(value: unknown, field: string): readonly unknown[] {
  const found = isJson(value) ? value[field] : undefined;
  return Array.isArray(found) ? found : [];
}

/** JSON with sorted keys and `<`, `>`, `&` escaped, as Go's encoding/json writes a map. */
export function canonicalJson(value: unknown): string {
  const text = JSON.stringify(sorted(value)) ?? "null";
  return text.replace(
    /[<>&\u2028\u2029]/g,
    (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, "0")}`,
  );
}

/** Whether `actual` has everything `desired` says; fields only in `actual` (defaults) do not matter. */
export function covers(actual: unknown, desired: unknown): boolean {
  if (Array.isArray(desired)) {
    return (
      Array.isArray(actual) &&
      actual.length === desired.length &&
      desired.every((item, i) => covers(actual[i], item))
    );
  }
  if (isJson(desired)) {
    return (
      isJson(actual) &&
      Object.entries(desired).every(
        ([key, value]) => value === undefined || covers(actual[key], value),
      )
    );
  }
  return Object.is(actual, desired);
}

function sorted(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(sorted);
  if (!isJson(value)) return value;
  const entries = Object.entries(value).sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0));
  return Object.fromEntries(entries.map(([key, item]) => [key, sorted(item)]));
}
