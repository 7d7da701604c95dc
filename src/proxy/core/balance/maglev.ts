import type { HashBalancer, HashedHost } from "./balancer.ts";
import { normalizedWeights } from "./weights.ts";
import { xxHash64 } from "./xx-hash.ts";

const EMPTY = 0xffff_ffff;
const ALL_BITS = 0xffff_ffff_ffff_ffffn;

/**
 * Maglev hashing: a table of a prime number of slots in which every host has its share; a look-up is
 * one division. Hosts take slots in turn, each in an order of its own, so that a host that comes or
 * goes disturbs few others. Source: Eisenbud et al., "Maglev: A Fast and Reliable Software Network
 * Load Balancer", §3.4.
 */
export function createBalancer<Host extends HashedHost>(
  hosts: readonly Host[],
  tableSize = 65_537,
): HashBalancer<Host> {
  const table = buildTable(hosts, tableSize);
  const size = BigInt(tableSize);
  return {
    pick(hash, attempt) {
      if (hosts.length === 0) return undefined;
      const other = attempt === 0 ? hash : hash ^ (ALL_BITS - BigInt(attempt) + 1n);
      return hosts[table[Number(other % size)] ?? 0];
    },
  };
}

function buildTable(hosts: readonly HashedHost[], size: number): Uint32Array {
  const table = new Uint32Array(size).fill(EMPTY);
  if (hosts.length === 0) return table;
  const weights = normalizedWeights(hosts);
  const heaviest = Math.max(...weights);
  const entries = hosts.map((host, index) => ({
    offset: Number(xxHash64(host.hashKey) % BigInt(size)),
    skip: Number(xxHash64(host.hashKey, 1n) % BigInt(size - 1)) + 1,
    weight: weights[index] ?? 0,
    /** Its turn comes when as many rounds have passed as its weight says. */
    due: 0,
    next: 0,
  }));
  let filled = 0;
  for (let round = 1; filled < size; round += 1) {
    for (const [index, entry] of entries.entries()) {
      if (filled >= size) break;
      if (round * entry.weight < entry.due) continue;
      entry.due += heaviest;
      let slot = slotOf(entry, size);
      while (table[slot] !== EMPTY) {
        entry.next += 1;
        slot = slotOf(entry, size);
      }
      table[slot] = index;
      entry.next += 1;
      filled += 1;
    }
  }
  return table;
}

function slotOf(
  { offset, skip, next }: { readonly offset: number; readonly skip: number; readonly next: number },
  size: number,
): number {
  return (offset + skip * next) % size;
}
