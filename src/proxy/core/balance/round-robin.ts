import { type BalancedHost, type Balancer, hasEqualWeights, weightOf } from "./balancer.ts";
import { EdfScheduler } from "./edf.ts";

/**
 * Every host in turn, as often as its weight says. Equal weights need only a counter. `startAt`: so
 * many turns are passed over first, lest all proxies begin with the same host. `changing`: the weight
 * of now, where weights change by themselves (slow start).
 */
export function createBalancer<Host extends BalancedHost>(
  hosts: readonly Host[],
  startAt = 0,
  changing?: (host: Host) => number,
): Balancer<Host> {
  const skipped = hosts.length === 0 ? 0 : startAt % hosts.length;
  if (changing === undefined && hasEqualWeights(hosts)) {
    let next = skipped;
    return {
      pick() {
        const host = hosts[next];
        next = next + 1 < hosts.length ? next + 1 : 0;
        return host;
      },
    };
  }
  const weight = changing ?? weightOf;
  const scheduler = new EdfScheduler(hosts, weight);
  for (let turn = 0; turn < skipped; turn += 1) scheduler.next(weight);
  return { pick: () => scheduler.next(weight) };
}
