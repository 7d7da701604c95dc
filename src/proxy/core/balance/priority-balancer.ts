import { EdfScheduler } from "./edf.ts";
import {
  effectiveLocalityWeight,
  type HostSet,
  hostSetsOf,
  type LocalityHosts,
  type PlacedHost,
} from "./host-sets.ts";
import { loadWithoutTried } from "./previous-priorities.ts";
import {
  choosePriority,
  type PriorityHealth,
  type PriorityLoad,
  planPriorities,
} from "./priority-load.ts";

/** Chooses among hosts that all may be taken. `hash`: 64 bits, for those that place by hash. */
export type HostPicker<Host> = (hash: bigint | undefined, attempt: number) => Host | undefined;

export interface PriorityBalancerOptions<Host> {
  readonly hosts: readonly PlacedHost<Host>[];
  readonly overprovisioningFactor: number;
  readonly panicThresholdPercent: number;
  /** Localities take their weight's share before hosts do. */
  readonly isLocalityWeighted: boolean;
  /** In [0, 1). */
  readonly random: () => number;
  /** The policy places by hash: never on degraded hosts, and localities weigh hosts of one ring. */
  readonly isHashed: boolean;
  /** Called once per set of hosts that may be chosen from. `weights`: in place of their own. */
  createPicker(hosts: readonly Host[], weights?: readonly number[]): HostPicker<Host>;
  hostWeight(host: Host): number;
  /** A request went to a priority in which all hosts are used, healthy or not. */
  onPanic?(): void;
}

interface Locality<Host> {
  readonly weight: number;
  readonly pick: HostPicker<Host>;
}

/**
 * Envoy's way to a host: first the priority by its load, then, where localities are weighted, the
 * locality, then the host by the cluster's policy. Made anew when hosts or their health change.
 */
export class PriorityBalancer<Host> {
  readonly load: PriorityLoad;
  /** What `load` was made of, by priority. */
  readonly priorities: readonly PriorityHealth[];
  readonly #options: PriorityBalancerOptions<Host>;
  readonly #sets: readonly HostSet<Host>[];
  readonly #isPanic: readonly boolean[];
  readonly #availability: PriorityLoad;
  /** Healthy (or, in a panic, all) hosts by priority, then degraded ones. */
  readonly #pickers: (HostPicker<Host> | undefined)[] = [];

  constructor(options: PriorityBalancerOptions<Host>) {
    this.#options = options;
    this.#sets = hostSetsOf(options.hosts);
    this.priorities = this.#sets.map(({ all, healthy, degraded }) => ({
      hosts: all.length,
      healthy: healthy.length,
      degraded: degraded.length,
    }));
    const plan = planPriorities(this.priorities, options);
    this.load = plan.load;
    this.#isPanic = plan.isPanic;
    this.#availability = plan.availability;
    // Rings and tables are costly: those that will be used are made before a request waits for them.
    for (const [priority, percent] of plan.load.healthy.entries()) {
      if (percent > 0) this.#picker(priority, false);
    }
    for (const [priority, percent] of plan.load.degraded.entries()) {
      if (percent > 0) this.#picker(priority, true);
    }
  }

  /** The host for one request. `load` stands in for the balancer's own. */
  pick(hash: bigint | undefined, attempt: number, load = this.load): Host | undefined {
    if (load.healthy[0] === 100) return this.#pickIn(0, false, hash, attempt);
    const point = hash === undefined ? this.#options.random() * 100 : Number(hash % 100n);
    const { priority, isDegraded } = choosePriority(load, Math.floor(point));
    return this.#pickIn(priority, isDegraded, hash, attempt);
  }

  /** The load of a retry after tries in these priorities; undefined = the usual. */
  loadWithoutTried(tried: readonly number[], updateFrequency: number): PriorityLoad | undefined {
    return loadWithoutTried(this.#availability, tried, updateFrequency);
  }

  #pickIn(
    priority: number,
    isDegraded: boolean,
    hash: bigint | undefined,
    attempt: number,
  ): Host | undefined {
    if (this.#isPanic[priority] === true) this.#options.onPanic?.();
    return this.#picker(priority, isDegraded)(hash, attempt);
  }

  #picker(priority: number, isDegraded: boolean): HostPicker<Host> {
    const isPanic = this.#isPanic[priority] === true;
    const slot = isDegraded && !isPanic ? this.#sets.length + priority : priority;
    let picker = this.#pickers[slot];
    if (picker === undefined) {
      picker = this.#create(priority, isPanic ? "all" : isDegraded ? "degraded" : "healthy");
      this.#pickers[slot] = picker;
    }
    return picker;
  }

  #create(priority: number, kind: "all" | "healthy" | "degraded"): HostPicker<Host> {
    const { isLocalityWeighted, isHashed, createPicker } = this.#options;
    const set = this.#sets[priority];
    if (set === undefined) return createPicker([]);
    if (isHashed) return this.#hashed(set, kind === "all" ? "all" : "healthy");
    // In a panic localities do not count.
    const localities = isLocalityWeighted && kind !== "all" ? this.#localities(set, kind) : [];
    if (localities.length === 0) return createPicker(set[kind]);
    const scheduler = new EdfScheduler(localities, weightOf);
    return (hash, attempt) => scheduler.next(weightOf)?.pick(hash, attempt);
  }

  #hashed(set: HostSet<Host>, kind: "all" | "healthy"): HostPicker<Host> {
    const { isLocalityWeighted, createPicker, hostWeight } = this.#options;
    const total = set.localities.reduce((sum, { weight }) => sum + weight, 0);
    if (!isLocalityWeighted || total === 0) return createPicker(set[kind]);
    const hosts: Host[] = [];
    const weights: number[] = [];
    for (const locality of set.localities) {
      if (locality.weight === 0) continue;
      const sum = locality[kind].reduce((all, host) => all + hostWeight(host), 0);
      for (const host of locality[kind]) {
        hosts.push(host);
        weights.push((locality.weight / total) * (hostWeight(host) / sum));
      }
    }
    return createPicker(hosts, weights);
  }

  #localities(set: HostSet<Host>, kind: "healthy" | "degraded"): readonly Locality<Host>[] {
    const { overprovisioningFactor, createPicker } = this.#options;
    const effective = (locality: LocalityHosts<Host>): number =>
      effectiveLocalityWeight(
        locality.weight,
        locality[kind].length,
        locality.all.length,
        overprovisioningFactor,
      );
    return set.localities.flatMap((locality) => {
      const weight = effective(locality);
      return weight > 0 ? [{ weight, pick: createPicker(locality[kind]) }] : [];
    });
  }
}

function weightOf({ weight }: { readonly weight: number }): number {
  return weight;
}
