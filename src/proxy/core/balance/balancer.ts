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

/** Picks a host by weight in O(log n): a search in the running sums. */
export class WeightedSampler<Host extends BalancedHost> {
  readonly #hosts: readonly Host[];
  /** Undefined when all weights are equal. */
  readonly #sums: Float64Array | undefined;

  constructor(hosts: readonly Host[]) {
    this.#hosts = hosts;
    if (hosts.every((host) => host.weight === hosts[0]?.weight)) return;
    this.#sums = new Float64Array(hosts.length);
    let sum = 0;
    for (const [index, host] of hosts.entries()) {
      sum += host.weight;
      this.#sums[index] = sum;
    }
  }

  sample(random: number): Host | undefined {
    const sums = this.#sums;
    if (sums === undefined) return this.#hosts[Math.floor(random * this.#hosts.length)];
    const point = random * (sums[sums.length - 1] ?? 0);
    let low = 0;
    let high = sums.length - 1;
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((sums[middle] ?? 0) > point) high = middle;
      else low = middle + 1;
    }
    return this.#hosts[low];
  }
}
