import { formatPath, type Issue } from "../base/index.ts";

/** Any JSON object. */
export type JsonObject = { readonly [key: string]: unknown };

const INTEGER_RANGE: Readonly<Record<string, readonly [number, number]>> = {
  int32: [-(2 ** 31), 2 ** 31 - 1],
  sint32: [-(2 ** 31), 2 ** 31 - 1],
  sfixed32: [-(2 ** 31), 2 ** 31 - 1],
  uint32: [0, 2 ** 32 - 1],
  fixed32: [0, 2 ** 32 - 1],
  int64: [Number.MIN_SAFE_INTEGER, Number.MAX_SAFE_INTEGER],
  sint64: [Number.MIN_SAFE_INTEGER, Number.MAX_SAFE_INTEGER],
  sfixed64: [Number.MIN_SAFE_INTEGER, Number.MAX_SAFE_INTEGER],
  uint64: [0, Number.MAX_SAFE_INTEGER],
  fixed64: [0, Number.MAX_SAFE_INTEGER],
};

/** Reads a scalar of the proto type `type`; undefined plus an issue when it is not one. */
export function readScalar(
  type: string,
  json: unknown,
  path: readonly PropertyKey[],
  issues: Issue[],
): unknown {
  if (type === "string") {
    return typeof json === "string"
      ? json
      : bad(issues, path, `must be a string (found ${found(json)})`);
  }
  if (type === "bool") {
    return typeof json === "boolean"
      ? json
      : bad(issues, path, `must be true or false (found ${found(json)})`);
  }
  if (type === "bytes") return readBytes(json, path, issues);
  return readNumber(type, json, path, issues);
}

function readNumber(
  type: string,
  json: unknown,
  path: readonly PropertyKey[],
  issues: Issue[],
): unknown {
  const isText = typeof json === "string" && json.trim() !== "";
  const number = typeof json === "number" ? json : isText ? Number(json) : Number.NaN;
  const range = INTEGER_RANGE[type];
  if (range === undefined) {
    const isSpecial = json === "NaN";
    return Number.isNaN(number) && !isSpecial
      ? bad(issues, path, `must be a number (found ${found(json)})`)
      : number;
  }
  if (!Number.isInteger(number)) {
    return bad(issues, path, `must be an integer (found ${found(json)})`);
  }
  if (number < range[0] || number > range[1]) {
    return bad(issues, path, `must be ${range[0]}..${range[1]} (found ${found(json)})`);
  }
  return number;
}

function readBytes(json: unknown, path: readonly PropertyKey[], issues: Issue[]): unknown {
  if (typeof json !== "string") {
    return bad(issues, path, `must be base64 text (found ${found(json)})`);
  }
  try {
    return Uint8Array.fromBase64(json.replaceAll("-", "+").replaceAll("_", "/"));
  } catch {
    return bad(issues, path, "must be base64 text");
  }
}

/** Writes a scalar of the proto type `type`: 64-bit integers as text, bytes as base64. */
export function writeScalar(type: string, item: unknown): unknown {
  if (type === "bytes") return Uint8Array.from(item as Uint8Array).toBase64();
  if (type.endsWith("64")) return String(item);
  if (typeof item === "number" && !Number.isFinite(item)) return String(item);
  return item;
}

/** Records an issue; returns undefined so that callers can `return bad(…)`. */
export function bad(issues: Issue[], path: readonly PropertyKey[], message: string): undefined {
  issues.push({ path: formatPath(path), message });
  return undefined;
}

/** How a wrong value is shown in an error. */
export function found(json: unknown): string {
  const text = JSON.stringify(json) ?? "nothing";
  return text.length > 60 ? `${text.slice(0, 57)}...` : text;
}

/** Whether a JSON value is an object (not a list, not null). */
export function isObject(json: unknown): json is JsonObject {
  return typeof json === "object" && json !== null && !Array.isArray(json);
}
