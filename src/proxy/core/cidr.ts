import { ipRange } from "./ip-range.ts";

/** A range of IP addresses that says how narrow it is. */
export interface CidrRange {
  readonly prefixBits: number;
  /** As configured, e.g. `10.0.0.0/8`. */
  readonly text: string;
  contains(address: string): boolean;
}

/** A range from its address and length; undefined when they are none. */
export function parseCidr(address: string, prefixBits: number): CidrRange | undefined {
  const contains = ipRange(address, prefixBits);
  return contains === undefined
    ? undefined
    : { prefixBits, text: `${address}/${prefixBits}`, contains };
}
