import { type BalancedHost, type Balancer, WeightedSampler } from "./balancer.ts";

/**
 * The least loaded of `choices` hosts drawn at random by weight (power of two choices). Load is
 * requests in flight per weight; a tie goes to the first drawn, so an idle cluster follows weights.
 * Source: Mitzenmacher, "The Power of Two Choices in Randomized Load Balancing".
 */
export function createBalancer<Host extends BalancedHost>(
  hosts: readonly Host[],
  choices = 2,
): Balancer<Host> {
  const sampler = new WeightedSampler(hosts);
  return {
    pick(random) {
      let best = sampler.sample(random());
      if (hosts.length < 2 || best === undefined) return best;
      for (let drawn = 1; drawn < choices; drawn += 1) {
        const other = sampler.sample(random());
        if (other === undefined) continue;
        if (other.activeRequests * best.weight < best.activeRequests * other.weight) best = other;
      }
      return best;
    },
  };
}
