import type { HashedHost } from "./balancer.ts";

/** Each host's share of the whole, 0..1. */
export function normalizedWeights(hosts: readonly HashedHost[]): readonly number[] {
  const total = hosts.reduce((sum, { weight }) => sum + weight, 0);
  return hosts.map(({ weight }) => weight / total);
}
