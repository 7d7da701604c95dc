/** What a balancer needs to know of a host. */
export interface BalancedHost {
  /** Relative, at least 1. */
  readonly weight: number;
  /** Requests in flight. */
  readonly activeRequests: number;
}

/** Chooses a host for one request. */
export interface Balancer<Host extends BalancedHost> {
  /** `random` gives numbers in [0, 1). Undefined only when there are no hosts. */
  pick(random: () => number): Host | undefined;
}

/** A host that can be found again by what it is called. */
export interface HashedHost extends BalancedHost {
  /** Its address, `ip:port`: places it on the ring or in the table. */
  readonly hashKey: string;
}

/** Chooses a host by a hash, so that equal requests meet the same host. */
export interface HashBalancer<Host extends HashedHost> {
  /** `hash` is 64 bits; `attempt` counts hosts of the same request that were passed over. */
  pick(hash: bigint, attempt: number): Host | undefined;
}

/** A host's own weight. */
export function weightOf(host: BalancedHost): number {
  return host.weight;
}

/** Whether all hosts weigh the same; true for none. */
export function hasEqualWeights(hosts: readonly BalancedHost[]): boolean {
  return hosts.every((host) => host.weight === hosts[0]?.weight);
}
