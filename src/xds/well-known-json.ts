import { type Issue, tryParseDurationMs } from "../base/index.ts";
import { durationFromMs } from "./duration.ts";
import { bad, found, isObject, type JsonObject, readScalar, writeScalar } from "./json-scalar.ts";

/** The wrapper messages and the scalar each carries. */
const WRAPPERS: Readonly<Record<string, string>> = {
  "google.protobuf.DoubleValue": "double",
  "google.protobuf.FloatValue": "float",
  "google.protobuf.Int64Value": "int64",
  "google.protobuf.UInt64Value": "uint64",
  "google.protobuf.Int32Value": "int32",
  "google.protobuf.UInt32Value": "uint32",
  "google.protobuf.BoolValue": "bool",
  "google.protobuf.StringValue": "string",
  "google.protobuf.BytesValue": "bytes",
};

/** Default of each wrapped scalar: what a wrapper without its field means. */
const DEFAULTS: Readonly<Record<string, unknown>> = {
  bool: false,
  string: "",
  bytes: new Uint8Array(0),
};

const STRUCTURED = new Set([
  "google.protobuf.Duration",
  "google.protobuf.Timestamp",
  "google.protobuf.Struct",
  "google.protobuf.Value",
  "google.protobuf.ListValue",
]);

/** Whether the message has a JSON form of its own (`Any` apart). */
export function isWellKnown(name: string): boolean {
  return Object.hasOwn(WRAPPERS, name) || STRUCTURED.has(name);
}

/** Reads a well-known message from its own JSON form. */
export function wellKnownFromJson(
  name: string,
  json: unknown,
  path: readonly PropertyKey[],
  issues: Issue[],
): unknown {
  const scalar = WRAPPERS[name];
  if (scalar !== undefined) return { value: readScalar(scalar, json, path, issues) };
  switch (name) {
    case "google.protobuf.Duration":
      return readDuration(json, path, issues);
    case "google.protobuf.Timestamp":
      return readTimestamp(json, path, issues);
    case "google.protobuf.Struct":
      if (!isObject(json)) return bad(issues, path, `must be an object (found ${found(json)})`);
      return structFromJson(json);
    case "google.protobuf.ListValue":
      if (!Array.isArray(json)) return bad(issues, path, `must be a list (found ${found(json)})`);
      return { values: json.map(valueFromJson) };
    default:
      return valueFromJson(json);
  }
}

/** Writes a well-known message in its own JSON form. */
export function wellKnownToJson(name: string, message: Readonly<Record<string, unknown>>): unknown {
  const scalar = WRAPPERS[name];
  if (scalar !== undefined) {
    return writeScalar(scalar, message["value"] ?? DEFAULTS[scalar] ?? 0);
  }
  switch (name) {
    case "google.protobuf.Duration":
      return writeDuration(Number(message["seconds"] ?? 0), Number(message["nanos"] ?? 0));
    case "google.protobuf.Timestamp":
      return writeTimestamp(Number(message["seconds"] ?? 0), Number(message["nanos"] ?? 0));
    case "google.protobuf.Struct":
      return structToJson(message);
    case "google.protobuf.ListValue":
      return ((message["values"] ?? []) as JsonObject[]).map(valueToJson);
    default:
      return valueToJson(message);
  }
}

function readDuration(json: unknown, path: readonly PropertyKey[], issues: Issue[]): unknown {
  // "1.5s" and nothing else (protobuf JSON mapping, Duration).
  const isDuration = typeof json === "string" && /^-?\d+(\.\d{1,9})?s$/.test(json);
  const durationMs = isDuration ? tryParseDurationMs(json) : undefined;
  if (durationMs === undefined) {
    return bad(issues, path, `must be a duration in seconds such as "1.5s" (found ${found(json)})`);
  }
  return durationFromMs(durationMs);
}

function writeDuration(seconds: number, nanos: number): string {
  if (nanos === 0) return `${seconds}s`;
  const sign = seconds < 0 || nanos < 0 ? "-" : "";
  const fraction = String(Math.abs(nanos)).padStart(9, "0").replace(/0+$/, "");
  return `${sign}${Math.abs(seconds)}.${fraction}s`;
}

/** RFC 3339 to seconds and nanoseconds, without `Date`: days since the epoch by civil calendar. */
function readTimestamp(json: unknown, path: readonly PropertyKey[], issues: Issue[]): unknown {
  const match =
    typeof json === "string"
      ? /^(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d):(\d\d)(?:\.(\d{1,9}))?Z$/.exec(json)
      : null;
  if (match === null) {
    return bad(issues, path, `must be an RFC 3339 time in UTC (found ${found(json)})`);
  }
  const [year, month, day, hour, minute, second] = match.slice(1, 7).map(Number);
  const seconds =
    daysFromCivil(year ?? 0, month ?? 0, day ?? 0) * 86_400 +
    (hour ?? 0) * 3600 +
    (minute ?? 0) * 60 +
    (second ?? 0);
  return { seconds, nanos: Number((match[7] ?? "").padEnd(9, "0")) };
}

function writeTimestamp(seconds: number, nanos: number): string {
  const days = Math.floor(seconds / 86_400);
  const rest = seconds - days * 86_400;
  const two = (n: number): string => String(Math.floor(n)).padStart(2, "0");
  const fraction = nanos === 0 ? "" : `.${String(nanos).padStart(9, "0").replace(/0+$/, "")}`;
  const time = `${two(rest / 3600)}:${two((rest % 3600) / 60)}:${two(rest % 60)}`;
  return `${civilFromDays(days)}T${time}${fraction}Z`;
}

/** An instant as RFC 3339 with milliseconds: `2024-02-29T12:34:56.500Z`. */
export function formatTimestampMs(epochMs: number): string {
  const whole = Math.floor(epochMs);
  const seconds = Math.floor(whole / 1000);
  const millis = String(whole - seconds * 1000).padStart(3, "0");
  return writeTimestamp(seconds, 0).replace("Z", `.${millis}Z`);
}

/** Days since 1970-01-01 (H. Hinnant, "chrono-compatible low-level date algorithms"). */
function daysFromCivil(year: number, month: number, day: number): number {
  const y = month <= 2 ? year - 1 : year;
  const era = Math.floor(y / 400);
  const yearOfEra = y - era * 400;
  const dayOfYear = Math.floor((153 * (month + (month > 2 ? -3 : 9)) + 2) / 5) + day - 1;
  const dayOfEra =
    yearOfEra * 365 + Math.floor(yearOfEra / 4) - Math.floor(yearOfEra / 100) + dayOfYear;
  return era * 146_097 + dayOfEra - 719_468;
}

function civilFromDays(days: number): string {
  const z = days + 719_468;
  const era = Math.floor(z / 146_097);
  const dayOfEra = z - era * 146_097;
  const yearOfEra = Math.floor(
    (dayOfEra -
      Math.floor(dayOfEra / 1460) +
      Math.floor(dayOfEra / 36_524) -
      Math.floor(dayOfEra / 146_096)) /
      365,
  );
  const dayOfYear =
    dayOfEra - (365 * yearOfEra + Math.floor(yearOfEra / 4) - Math.floor(yearOfEra / 100));
  const shifted = Math.floor((5 * dayOfYear + 2) / 153);
  const day = dayOfYear - Math.floor((153 * shifted + 2) / 5) + 1;
  const month = shifted < 10 ? shifted + 3 : shifted - 9;
  const year = yearOfEra + era * 400 + (month <= 2 ? 1 : 0);
  const pad = (n: number, width: number): string => String(n).padStart(width, "0");
  return `${pad(year, 4)}-${pad(month, 2)}-${pad(day, 2)}`;
}

/** Plain JSON to `google.protobuf.Struct`. */
export function structFromJson(json: JsonObject): { fields: Record<string, object> } {
  return {
    fields: Object.fromEntries(Object.entries(json).map(([k, v]) => [k, valueFromJson(v)])),
  };
}

/** `google.protobuf.Struct` to plain JSON. */
export function structToJson(
  struct: { readonly fields?: unknown } | null | undefined,
): Record<string, unknown> {
  const fields = (struct?.fields ?? {}) as Record<string, JsonObject>;
  return Object.fromEntries(Object.entries(fields).map(([k, v]) => [k, valueToJson(v)]));
}

function valueFromJson(json: unknown): object {
  if (typeof json === "string") return { string_value: json };
  if (typeof json === "number") return { number_value: json };
  if (typeof json === "boolean") return { bool_value: json };
  if (Array.isArray(json)) return { list_value: { values: json.map(valueFromJson) } };
  if (isObject(json)) return { struct_value: structFromJson(json) };
  return { null_value: 0 };
}

function valueToJson(value: JsonObject): unknown {
  const { string_value, number_value, bool_value, list_value, struct_value } = value;
  if (typeof string_value === "string") return string_value;
  if (typeof number_value === "number") return number_value;
  if (typeof bool_value === "boolean") return bool_value;
  if (isObject(list_value)) return ((list_value["values"] ?? []) as JsonObject[]).map(valueToJson);
  if (isObject(struct_value)) return structToJson(struct_value);
  return null;
}
