import { type Any, decodeKeepingUnknown, type MessageName } from "./codec.ts";
import { messageDescriptor } from "./descriptors.ts";
import names from "./generated/left-out.json" with { type: "json" };

/** A field that somebody set and the pruned set of messages does not have. */
export interface UnknownField {
  readonly path: readonly PropertyKey[];
  /** Full name of the message it belongs to. */
  readonly message: string;
  /** As the .proto file names it; `#12` when that is newer than the protos we know. */
  readonly name: string;
}

/** What the manifest leaves out: message → field number → name. */
const leftOut: Readonly<Record<string, Readonly<Record<string, string>>>> = names;

/**
 * The fields of an encoded message, and of all within it, that nothing here will ever read. Throws
 * when the bytes do not decode.
 */
export function unknownFields(name: MessageName, bytes: Uint8Array): readonly UnknownField[] {
  const found: UnknownField[] = [];
  walk(name, decodeKeepingUnknown(name, bytes), [], found);
  return found;
}

function walk(
  message: string,
  value: unknown,
  path: readonly PropertyKey[],
  found: UnknownField[],
): void {
  if (typeof value !== "object" || value === null) return;
  if (message === "google.protobuf.Any") {
    walkAny(value, path, found);
    return;
  }
  const unknowns: unknown = Reflect.get(value, "$unknowns");
  for (const bytes of Array.isArray(unknowns) ? unknowns : []) {
    const name = nameOf(message, fieldNumber(bytes));
    if (!found.some((field) => field.message === message && field.name === name)) {
      found.push({ path: [...path, name], message, name });
    }
  }
  for (const [key, { type, rule, keyType }] of Object.entries(
    messageDescriptor(message)?.fields ?? {},
  )) {
    if (!type.startsWith(".")) continue;
    const item: unknown = Reflect.get(value, key);
    if (typeof item !== "object" || item === null) continue;
    const inner = type.slice(1);
    if (rule !== "repeated" && keyType === undefined) walk(inner, item, [...path, key], found);
    else {
      const isList = Array.isArray(item);
      for (const [at, part] of Object.entries(item)) {
        walk(inner, part, [...path, key, isList ? Number(at) : at], found);
      }
    }
  }
}

function walkAny(any: Any, path: readonly PropertyKey[], found: UnknownField[]): void {
  const name = any.type_url?.slice(any.type_url.indexOf("/") + 1) ?? "";
  if (!isMessageName(name)) return;
  let value: unknown;
  try {
    value = decodeKeepingUnknown(name, any.value ?? new Uint8Array(0));
  } catch {
    // Who reads it refuses it, and says why.
    return;
  }
  walk(name, value, path, found);
}

function isMessageName(name: string): name is MessageName {
  return name !== "google.protobuf.Any" && messageDescriptor(name) !== undefined;
}

function nameOf(message: string, number: number): string {
  return leftOut[message]?.[number] ?? `#${number}`;
}

/** The field number in the tag at the start (protobuf encoding: varint, number << 3 | wire type). */
function fieldNumber(bytes: Uint8Array): number {
  let tag = 0;
  for (let i = 0; i < bytes.length && i < 5; i += 1) {
    const byte = bytes[i] ?? 0;
    tag += (byte & 0x7f) * 2 ** (7 * i);
    if (byte < 0x80) break;
  }
  return Math.floor(tag / 8);
}
