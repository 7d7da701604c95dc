import { randomFillSync } from "node:crypto";

const ID_BYTES = 8;
const pool = Buffer.allocUnsafe(ID_BYTES * 256);
let offset = pool.length;

/** Random identifiers of 16 hex digits; random bytes are drawn for many at once. */
export function newSpanId(): string {
  if (offset === pool.length) {
    randomFillSync(pool);
    offset = 0;
  }
  const id = pool.toString("hex", offset, offset + ID_BYTES);
  offset += ID_BYTES;
  return id;
}
