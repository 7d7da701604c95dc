import descriptors from "./generated/descriptors.json" with { type: "json" };

/** A field of a pruned message as the .proto file declares it. */
export interface FieldDescriptor {
  /** A scalar's name, or `.full.Name` of a message or enum. */
  readonly type: string;
  readonly id: number;
  readonly rule?: "repeated";
  /** Present on maps. */
  readonly keyType?: string;
}

export interface MessageDescriptor {
  readonly fields: Readonly<Record<string, FieldDescriptor>>;
  readonly oneofs?: Readonly<Record<string, { readonly oneof: readonly string[] }>>;
}

const messages = descriptors.messages as unknown as Readonly<Record<string, MessageDescriptor>>;
const enums = descriptors.enums as unknown as Readonly<
  Record<string, Readonly<Record<string, number>>>
>;

/** The descriptor of a message by full name; undefined when the pruned set lacks it. */
export function messageDescriptor(name: string): MessageDescriptor | undefined {
  return Object.hasOwn(messages, name) ? messages[name] : undefined;
}

/** Names to numbers of an enum by full name; undefined when there is no such enum. */
export function enumValues(name: string): Readonly<Record<string, number>> | undefined {
  return Object.hasOwn(enums, name) ? enums[name] : undefined;
}
