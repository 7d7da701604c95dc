/** A value of a protobuf Struct, as JSON. */
export type MetadataValue =
  | null
  | boolean
  | number
  | string
  | readonly MetadataValue[]
  | { readonly [key: string]: MetadataValue };

/** Envoy's dynamic metadata of one request: what filters tell later ones, by the filter's name. */
export type DynamicMetadata = ReadonlyMap<string, MetadataValue>;

/** A test on one value of the metadata. */
export type MetadataPredicate = (metadata: DynamicMetadata | undefined) => boolean;

/** The value at a path below a filter's metadata; undefined when there is none. */
export function metadataAt(
  metadata: DynamicMetadata | undefined,
  filter: string,
  path: readonly string[],
): MetadataValue | undefined {
  let value = metadata?.get(filter);
  for (const key of path) {
    if (typeof value !== "object" || value === null || Array.isArray(value)) return undefined;
    if (!Object.hasOwn(value, key)) return undefined;
    value = (value as { readonly [key: string]: MetadataValue })[key];
  }
  return value;
}
