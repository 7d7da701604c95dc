import type { Issue } from "../base/index.ts";
import { decode, encode, type MessageName, type MessageTypes } from "./codec.ts";
import {
  enumValues,
  type FieldDescriptor,
  type MessageDescriptor,
  messageDescriptor,
} from "./descriptors.ts";
import { bad, found, isObject, type JsonObject, readScalar, writeScalar } from "./json-scalar.ts";
import { isWellKnown, wellKnownFromJson, wellKnownToJson } from "./well-known-json.ts";

/** What reading JSON gave: the message, or everything that is wrong with it. */
export type FromJson<T> =
  | { readonly ok: true; readonly value: T }
  | { readonly ok: false; readonly issues: readonly Issue[] };

/**
 * Reads protobuf JSON (https://protobuf.dev/programming-guides/json/) into a message: snake_case and
 * camelCase names, enums by name or number, 64-bit numbers as string or number, `Any` by "@type".
 * Unknown fields, unknown types and wrong values are all listed, each with its path.
 */
export function fromJson<T extends MessageName>(
  name: T,
  json: unknown,
  basePath: readonly PropertyKey[] = [],
): FromJson<MessageTypes[T]> {
  const issues: Issue[] = [];
  const value = readMessage(name, json, basePath, issues);
  return issues.length === 0
    ? { ok: true, value: value as MessageTypes[T] }
    : { ok: false, issues };
}

/** Writes a message as protobuf JSON with the .proto's own (snake_case) names; unset fields are left out. */
export function toJson<T extends MessageName>(name: T, value: MessageTypes[T]): unknown {
  return writeMessage(name, value as Record<string, unknown>);
}

function readMessage(
  name: string,
  json: unknown,
  path: readonly PropertyKey[],
  issues: Issue[],
): unknown {
  if (name === "google.protobuf.Any") return readAny(json, path, issues);
  if (isWellKnown(name)) return wellKnownFromJson(name, json, path, issues);
  const descriptor = messageDescriptor(name);
  if (descriptor === undefined) {
    return bad(issues, path, `type ${name} is not supported`);
  }
  if (!isObject(json)) return bad(issues, path, `must be an object (found ${found(json)})`);
  const out: Record<string, unknown> = {};
  for (const [key, item] of Object.entries(json)) {
    const field = Object.hasOwn(descriptor.fields, key) ? key : snakeCase(key);
    const fieldDescriptor = Object.hasOwn(descriptor.fields, field)
      ? descriptor.fields[field]
      : undefined;
    if (fieldDescriptor === undefined) {
      bad(issues, [...path, key], `unknown field of ${name}`);
      continue;
    }
    if (item === null && fieldDescriptor.type !== ".google.protobuf.Value") continue;
    if (Object.hasOwn(out, field)) {
      bad(issues, [...path, key], `given twice (as ${field} and in camelCase)`);
      continue;
    }
    out[field] = readField(fieldDescriptor, item, [...path, key], issues);
  }
  checkOneofs(descriptor, out, path, issues);
  return out;
}

function checkOneofs(
  descriptor: MessageDescriptor,
  out: Record<string, unknown>,
  path: readonly PropertyKey[],
  issues: Issue[],
): void {
  for (const { oneof } of Object.values(descriptor.oneofs ?? {})) {
    const set = oneof.filter((field) => Object.hasOwn(out, field));
    if (set.length > 1) bad(issues, path, `only one of ${set.join(", ")} may be set`);
  }
}

function readField(
  field: FieldDescriptor,
  json: unknown,
  path: readonly PropertyKey[],
  issues: Issue[],
): unknown {
  if (field.keyType !== undefined) {
    if (!isObject(json)) return bad(issues, path, `must be an object (found ${found(json)})`);
    return Object.fromEntries(
      Object.entries(json).map(([key, item]) => [
        key,
        readSingle(field.type, item, [...path, key], issues),
      ]),
    );
  }
  if (field.rule === "repeated") {
    if (!Array.isArray(json)) return bad(issues, path, `must be a list (found ${found(json)})`);
    return json.map((item, i) => readSingle(field.type, item, [...path, i], issues));
  }
  return readSingle(field.type, json, path, issues);
}

function readSingle(
  type: string,
  json: unknown,
  path: readonly PropertyKey[],
  issues: Issue[],
): unknown {
  if (!type.startsWith(".")) return readScalar(type, json, path, issues);
  const name = type.slice(1);
  const values = enumValues(name);
  return values === undefined
    ? readMessage(name, json, path, issues)
    : readEnum(values, json, path, issues);
}

function readEnum(
  values: Readonly<Record<string, number>>,
  json: unknown,
  path: readonly PropertyKey[],
  issues: Issue[],
): unknown {
  if (typeof json === "string" && Object.hasOwn(values, json)) return values[json];
  if (typeof json === "number" && Object.values(values).includes(json)) return json;
  return bad(
    issues,
    path,
    `must be one of ${Object.keys(values).join(", ")} (found ${found(json)})`,
  );
}

function readAny(json: unknown, path: readonly PropertyKey[], issues: Issue[]): unknown {
  if (!isObject(json)) return bad(issues, path, `must be an object (found ${found(json)})`);
  const { "@type": url, ...rest } = json;
  if (typeof url !== "string" || !url.includes("/")) {
    return bad(issues, [...path, "@type"], "must name the type, as type.googleapis.com/<name>");
  }
  const name = url.slice(url.lastIndexOf("/") + 1);
  if (messageDescriptor(name) === undefined) {
    return bad(issues, [...path, "@type"], `type ${name} is not supported`);
  }
  const before = issues.length;
  const value = isWellKnown(name)
    ? readMessage(name, rest["value"], [...path, "value"], issues)
    : readMessage(name, rest, path, issues);
  if (issues.length > before) return undefined;
  return { type_url: url, value: encode(name as MessageName, value as never) };
}

function writeMessage(name: string, value: Record<string, unknown>): unknown {
  if (name === "google.protobuf.Any") return writeAny(value);
  if (isWellKnown(name)) return wellKnownToJson(name, value);
  const descriptor = messageDescriptor(name);
  const out: Record<string, unknown> = {};
  for (const [key, field] of Object.entries(descriptor?.fields ?? {})) {
    if (!Object.hasOwn(value, key)) continue;
    const item = value[key];
    if (item === undefined || item === null) continue;
    if (field.rule === "repeated" && (item as unknown[]).length === 0) continue;
    if (field.keyType !== undefined && Object.keys(item as JsonObject).length === 0) continue;
    out[key] = writeField(field, item);
  }
  return out;
}

function writeField(field: FieldDescriptor, item: unknown): unknown {
  if (field.keyType !== undefined) {
    return Object.fromEntries(
      Object.entries(item as JsonObject).map(([key, each]) => [key, writeSingle(field.type, each)]),
    );
  }
  if (field.rule === "repeated") {
    return (item as unknown[]).map((each) => writeSingle(field.type, each));
  }
  return writeSingle(field.type, item);
}

function writeSingle(type: string, item: unknown): unknown {
  if (!type.startsWith(".")) return writeScalar(type, item);
  const name = type.slice(1);
  const values = enumValues(name);
  if (values === undefined) return writeMessage(name, item as Record<string, unknown>);
  return Object.keys(values).find((key) => values[key] === item) ?? item;
}

/** An `Any` of a type outside the pruned set keeps its bytes: `{"@type", "value": base64}`. */
function writeAny(any: Record<string, unknown>): unknown {
  const url = String(any["type_url"] ?? "");
  const bytes = (any["value"] ?? new Uint8Array(0)) as Uint8Array;
  const name = url.slice(url.lastIndexOf("/") + 1);
  if (messageDescriptor(name) === undefined) {
    return { "@type": url, value: Uint8Array.from(bytes).toBase64() };
  }
  const json = writeMessage(name, decode(name as MessageName, bytes) as Record<string, unknown>);
  return isWellKnown(name) ? { "@type": url, value: json } : { "@type": url, ...(json as object) };
}

function snakeCase(name: string): string {
  return name.replace(/[A-Z]/g, (c) => `_${c.toLowerCase()}`);
}
