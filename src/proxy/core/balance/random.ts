import { type BalancedHost, type Balancer, WeightedSampler } from "./balancer.ts";

/** Each request goes to a host at random, by weight. */
export function createBalancer<Host extends BalancedHost>(hosts: readonly Host[]): Balancer<Host> {
  const sampler = new WeightedSampler(hosts);
  return { pick: (random) => sampler.sample(random()) };
}
