import { ipRange } from "./ip-range.ts";

/** A range of IP addresses that says how narrow it is. */
export interface CidrRange {
  readonly prefixBits: number;
  contains(address: string): boolean;
}

/** A range from its address and length; undefined when they are none. */
export function parseCidr(address: string, prefixBits: number): CidrRange | undefined {
  const contains = ipRange(address, prefixBits);
  return contains === undefined ? undefined : { prefixBits, contains };
}
