import { type BalancedHost, type Balancer, hasEqualWeights, weightOf } from "./balancer.ts";
import { EdfScheduler } from "./edf.ts";

interface Options<Host> {
  /** How many are drawn; at least 2. */
  readonly choices?: number;
  /** How much requests in flight take from a weight: 0 = nothing, 1 = in proportion. */
  readonly activeRequestBias?: number;
  /** Passes over so many turns first (weighted hosts). */
  readonly startAt?: number;
  /** The weight of now, where weights change by themselves (slow start). */
  readonly changing?: ((host: Host) => number) | undefined;
}

/**
 * Hosts of equal weight: the least loaded of some drawn at random; the first drawn wins a tie.
 * Otherwise turns by weight, where a weight counts the less the more requests are in flight:
 * `weight / (active + 1) ^ bias`. Sources: Mitzenmacher, "The Power of Two Choices in Randomized Load
 * Balancing"; Envoy docs, "Weighted least request".
 */
export function createBalancer<Host extends BalancedHost>(
  hosts: readonly Host[],
  { choices = 2, activeRequestBias = 1, startAt = 0, changing }: Options<Host> = {},
): Balancer<Host> {
  if (changing === undefined && hasEqualWeights(hosts)) return byChoice(hosts, choices);
  const ownWeight = changing ?? weightOf;
  const weight = (host: Host): number =>
    ownWeight(host) / (host.activeRequests + 1) ** activeRequestBias;
  const scheduler = new EdfScheduler(hosts, weight);
  const skipped = hosts.length === 0 ? 0 : startAt % hosts.length;
  for (let turn = 0; turn < skipped; turn += 1) scheduler.next(weight);
  return { pick: () => scheduler.next(weight) };
}

function byChoice<Host extends BalancedHost>(
  hosts: readonly Host[],
  choices: number,
): Balancer<Host> {
  return {
    pick(random) {
      let best = hosts[Math.floor(random() * hosts.length)];
      if (hosts.length < 2 || best === undefined) return best;
      for (let drawn = 1; drawn < choices; drawn += 1) {
        const other = hosts[Math.floor(random() * hosts.length)];
        if (other !== undefined && other.activeRequests < best.activeRequests) best = other;
      }
      return best;
    },
  };
}
