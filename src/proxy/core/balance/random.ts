import type { BalancedHost, Balancer } from "./balancer.ts";

/** Each request goes to a host at random; weights do not count, as in Envoy. */
export function createBalancer<Host extends BalancedHost>(hosts: readonly Host[]): Balancer<Host> {
  return { pick: (random) => hosts[Math.floor(random() * hosts.length)] };
}
