import type { BalancedHost, Balancer } from "./balancer.ts";

/**
 * Every host in turn, as often as its weight says, spread as evenly as weights allow (smooth
 * weighted round robin, as in nginx): each pick raises all credits by the weights, takes the
 * highest and charges it the total. Equal weights need only a counter.
 */
export function createBalancer<Host extends BalancedHost>(
  hosts: readonly Host[],
  startAt = 0,
): Balancer<Host> {
  if (hosts.every((host) => host.weight === hosts[0]?.weight)) {
    let next = hosts.length === 0 ? 0 : startAt % hosts.length;
    return {
      pick() {
        const host = hosts[next];
        next = next + 1 < hosts.length ? next + 1 : 0;
        return host;
      },
    };
  }
  const credits = hosts.map(() => 0);
  const total = hosts.reduce((sum, host) => sum + host.weight, 0);
  return {
    pick() {
      let best = 0;
      for (const [index, host] of hosts.entries()) {
        const credit = (credits[index] ?? 0) + host.weight;
        credits[index] = credit;
        if (credit > (credits[best] ?? 0)) best = index;
      }
      credits[best] = (credits[best] ?? 0) - total;
      return hosts[best];
    },
  };
}
