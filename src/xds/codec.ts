import protobuf from "protobufjs/minimal.js";
import root, { type google_protobuf_Any, type MessageTypes } from "./generated/messages.cjs";

// 64-bit fields as plain numbers: none of ours leaves the safe integer range, and `long` objects
// would leak into every duration. This is this package's own copy of protobufjs.
(protobuf.util as { Long: unknown }).Long = null;
protobuf.configure();

export type { MessageTypes };
/** Full protobuf name of a message of the pruned set, e.g. `envoy.config.cluster.v3.Cluster`. */
export type MessageName = keyof MessageTypes;
export type Any = google_protobuf_Any;

interface Codec {
  encode(value: unknown): protobuf.Writer;
  decode(bytes: Uint8Array | protobuf.Reader): unknown;
}

const TYPE_PREFIX = "type.googleapis.com/";
const codecs = new Map<string, Codec>();

function codecOf(name: string): Codec | undefined {
  const known = codecs.get(name);
  if (known !== undefined) return known;
  let node: unknown = root;
  for (const part of name.split(".")) {
    if (node === null || node === undefined) return undefined;
    node = (node as Record<string, unknown>)[part];
  }
  if (typeof node !== "function") return undefined;
  const codec = node as unknown as Codec;
  codecs.set(name, codec);
  return codec;
}

/** The type URL of a message, `type.googleapis.com/<full name>`. */
export function typeUrl(name: MessageName): string {
  return TYPE_PREFIX + name;
}

/** Encodes a message. Fields left out take their protobuf default. */
export function encode<T extends MessageName>(name: T, value: MessageTypes[T]): Uint8Array {
  const codec = codecOf(name);
  if (codec === undefined) throw new TypeError(`xds: unknown message ${name}`);
  return codec.encode(value).finish();
}

/**
 * Decodes a message. Unset scalars read as their protobuf default, unset messages as null or
 * undefined. Throws when the bytes are not a valid encoding.
 */
export function decode<T extends MessageName>(name: T, bytes: Uint8Array): MessageTypes[T] {
  const codec = codecOf(name);
  if (codec === undefined) throw new TypeError(`xds: unknown message ${name}`);
  return codec.decode(bytes) as MessageTypes[T];
}

/** As `decode`, and keeps the fields it does not know, encoded, as `$unknowns` of their message. */
export function decodeKeepingUnknown(name: MessageName, bytes: Uint8Array): unknown {
  const codec = codecOf(name);
  if (codec === undefined) throw new TypeError(`xds: unknown message ${name}`);
  const reader = protobuf.Reader.create(bytes);
  reader.discardUnknown = false;
  return codec.decode(reader);
}

/** Wraps a message in `google.protobuf.Any`. */
export function packAny<T extends MessageName>(name: T, value: MessageTypes[T]): Any {
  return { type_url: typeUrl(name), value: encode(name, value) };
}

/**
 * Opens an `Any` when it holds a message of the given name; undefined when it holds another.
 * Throws when the name fits but the bytes do not decode.
 */
export function unpackAny<T extends MessageName>(
  name: T,
  any: Any | null | undefined,
): MessageTypes[T] | undefined {
  if (any?.type_url !== typeUrl(name)) return undefined;
  return decode(name, any.value ?? new Uint8Array(0));
}
