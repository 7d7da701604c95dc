import { type Json, objectOf } from "./model-object.ts";

/** Envoy's bounds of a hash ring and of a Maglev table. */
const MAX_RING_SIZE = 8_388_608;
const MAX_TABLE_SIZE = 5_000_011;

/** Sizes of a consistentHash that Envoy takes; undefined = its default. */
export interface HashSizes {
  readonly minimumRingSize: number | undefined;
  readonly tableSize: number | undefined;
}

/** The sizes that are asked for, those that no proxy takes left out. */
export function hashSizes(hash: Json): HashSizes {
  const { ring, table } = asked(hash);
  return {
    minimumRingSize: isRingSize(ring) ? ring : undefined,
    tableSize: isTableSize(table) ? table : undefined,
  };
}

/** What was left out, by field below `loadBalancer`. */
export function hashSizeProblems(hash: Json): readonly string[] {
  const { ring, table } = asked(hash);
  return [
    ...(ring === undefined || ring === 0 || isRingSize(ring)
      ? []
      : [`consistentHash: the ring size must be 1..${MAX_RING_SIZE}, 1024 is used`]),
    ...(table === undefined || table === 0 || isTableSize(table)
      ? []
      : [`consistentHash.maglev.tableSize must be a prime up to ${MAX_TABLE_SIZE}, 65537 is used`]),
  ];
}

function asked(hash: Json): { readonly ring: unknown; readonly table: unknown } {
  // The field of its own is the older place.
  const ring = objectOf(hash["ringHash"])["minimumRingSize"] ?? hash["minimumRingSize"];
  return { ring, table: objectOf(hash["maglev"])["tableSize"] };
}

function isRingSize(size: unknown): size is number {
  return typeof size === "number" && Number.isInteger(size) && size > 0 && size <= MAX_RING_SIZE;
}

function isTableSize(size: unknown): size is number {
  if (typeof size !== "number" || !Number.isInteger(size)) return false;
  if (size < 2 || size > MAX_TABLE_SIZE) return false;
  for (let divisor = 2; divisor * divisor <= size; divisor += 1) {
    if (size % divisor === 0) return false;
  }
  return true;
}
