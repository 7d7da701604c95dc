import type { HashBalancer, HashedHost } from "./balancer.ts";
import { normalizedWeights } from "./weights.ts";
import { xxHash64 } from "./xx-hash.ts";

/**
 * Consistent hashing on a ring (Ketama): every host has points on it in proportion to its weight, a
 * request goes to the first point at or after its hash. A host that comes or goes moves only its
 * own share. The ring has at least `minimumSize` points, spread so that the lightest host has a
 * whole number of them. Source: Envoy docs, "Ring hash".
 */
export function createBalancer<Host extends HashedHost>(
  hosts: readonly Host[],
  minimumSize = 1024,
  maximumSize = 8_388_608,
): HashBalancer<Host> {
  const { hashes, owners } = buildRing(hosts, minimumSize, maximumSize);
  return {
    pick(hash, attempt) {
      if (hashes.length === 0) return undefined;
      let low = 0;
      let high = hashes.length;
      while (low < high) {
        const middle = (low + high) >> 1;
        if ((hashes[middle] ?? 0n) < hash) low = middle + 1;
        else high = middle;
      }
      // A host that was tried already: as if it were not on the ring.
      return hosts[owners[(low + attempt) % hashes.length] ?? 0];
    },
  };
}

/** Points in ascending order and the index of the host that each belongs to. */
function buildRing(
  hosts: readonly HashedHost[],
  minimumSize: number,
  maximumSize: number,
): { readonly hashes: BigUint64Array; readonly owners: Uint32Array } {
  const weights = normalizedWeights(hosts);
  const least = Math.min(...weights);
  const scale = Math.min(Math.ceil(least * minimumSize) / least, maximumSize);
  const points: { hash: bigint; owner: number }[] = [];
  let target = 0;
  for (const [owner, host] of hosts.entries()) {
    target += scale * (weights[owner] ?? 0);
    for (let i = 0; points.length < target; i += 1) {
      points.push({ hash: xxHash64(`${host.hashKey}_${i}`), owner });
    }
  }
  points.sort((a, b) => (a.hash < b.hash ? -1 : Number(a.hash > b.hash)));
  return {
    hashes: BigUint64Array.from(points, ({ hash }) => hash),
    owners: Uint32Array.from(points, ({ owner }) => owner),
  };
}
