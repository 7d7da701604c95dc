/** How many hosts a priority has, and how they are. */
export interface PriorityHealth {
  readonly hosts: number;
  readonly healthy: number;
  readonly degraded: number;
}

/** The share of each priority, in percent; all shares together are 100. */
export interface PriorityLoad {
  /** To the healthy hosts of a priority; in a panic to all of its hosts. */
  readonly healthy: readonly number[];
  /** To its degraded hosts. */
  readonly degraded: readonly number[];
}

/** `load` with the priorities that are so ill that all of their hosts are used. */
export interface PriorityPlan {
  /** What each priority can take of its hosts' load, in percent. */
  readonly availability: PriorityLoad;
  readonly load: PriorityLoad;
  readonly isPanic: readonly boolean[];
}

interface Settings {
  /** Percent; 140 = a priority keeps all of its load until less than 1/1.4 of its hosts are healthy. */
  readonly overprovisioningFactor: number;
  /** Percent of hosts that are not unhealthy, below which a priority panics; 0 = never. */
  readonly panicThresholdPercent: number;
}

/**
 * How much each priority takes. A priority's availability is its share of healthy hosts times the
 * overprovisioning factor; what the first cannot take falls to the next, and what no healthy host
 * takes, to degraded ones. When all availability together is below 100 %, priorities may panic; when
 * all of them do, load follows the number of hosts. Whole numbers throughout, as in Envoy, because
 * rounding decides who gets the rest. Source: Envoy docs, "Priority levels", "Degraded endpoints",
 * "Panic threshold".
 */
export function planPriorities(
  priorities: readonly PriorityHealth[],
  settings: Settings,
): PriorityPlan {
  const { overprovisioningFactor } = settings;
  const percentOf = (count: number, hosts: number): number =>
    hosts === 0 ? 0 : Math.min(100, Math.floor((overprovisioningFactor * count) / hosts));
  const healthy = priorities.map((p) => percentOf(p.healthy, p.hosts));
  const degraded = priorities.map((p) => percentOf(p.degraded, p.hosts));
  const total = totalAvailability(healthy, degraded);
  const isPanic = priorities.map((p) => total < 100 && panics(p, settings.panicThresholdPercent));
  const isTotalPanic = priorities.length > 0 && isPanic.every(Boolean);
  const availability = { healthy, degraded };
  if (isTotalPanic) return { availability, load: loadByHosts(priorities), isPanic };
  return { availability, load: loadByAvailability(healthy, degraded), isPanic };
}

/** Spreads 100 % over priorities by what they can take, healthy before degraded. */
export function loadByAvailability(
  healthy: readonly number[],
  degraded: readonly number[],
): PriorityLoad {
  const total = totalAvailability(healthy, degraded);
  // Nobody can take anything: the first priority gets it all, and finds no host.
  if (total === 0) return toFirst(healthy.length);
  const toHealthy = distribute(healthy, 100, total);
  const toDegraded = distribute(degraded, toHealthy.rest, total);
  // What is left comes of rounding.
  const first = healthy.findIndex((percent) => percent > 0);
  if (first >= 0) add(toHealthy.load, first, toDegraded.rest);
  else
    add(
      toDegraded.load,
      degraded.findIndex((percent) => percent > 0),
      toDegraded.rest,
    );
  return { healthy: toHealthy.load, degraded: toDegraded.load };
}

/** The priority and kind of host for a `point` in 0..99. */
export function choosePriority(
  load: PriorityLoad,
  point: number,
): { readonly priority: number; readonly isDegraded: boolean } {
  let rest = point;
  for (const [priority, percent] of load.healthy.entries()) {
    rest -= percent;
    if (rest < 0) return { priority, isDegraded: false };
  }
  for (const [priority, percent] of load.degraded.entries()) {
    rest -= percent;
    if (rest < 0) return { priority, isDegraded: true };
  }
  return { priority: 0, isDegraded: false };
}

/** Of 100 at most. */
function totalAvailability(healthy: readonly number[], degraded: readonly number[]): number {
  let sum = 0;
  for (const percent of healthy) sum += percent;
  for (const percent of degraded) sum += percent;
  return Math.min(100, sum);
}

function panics({ hosts, healthy, degraded }: PriorityHealth, thresholdPercent: number): boolean {
  const percent = hosts === 0 ? 0 : (100 * (healthy + degraded)) / hosts;
  return percent < thresholdPercent;
}

function distribute(
  availability: readonly number[],
  load: number,
  total: number,
): { readonly load: number[]; readonly rest: number } {
  let rest = load;
  const taken = availability.map((percent) => {
    const share = Math.min(rest, Math.floor((percent * 100) / total));
    rest -= share;
    return share;
  });
  return { load: taken, rest };
}

function loadByHosts(priorities: readonly PriorityHealth[]): PriorityLoad {
  const total = priorities.reduce((sum, { hosts }) => sum + hosts, 0);
  if (total === 0) return toFirst(priorities.length);
  const load = priorities.map(({ hosts }) => Math.floor((100 * hosts) / total));
  const rest = 100 - load.reduce((sum, percent) => sum + percent, 0);
  add(
    load,
    priorities.findIndex(({ hosts }) => hosts > 0),
    rest,
  );
  return { healthy: load, degraded: priorities.map(() => 0) };
}

function toFirst(count: number): PriorityLoad {
  const none = Array.from({ length: count }, () => 0);
  return { healthy: none.map((_, index) => (index === 0 ? 100 : 0)), degraded: none };
}

function add(load: number[], index: number, percent: number): void {
  load[index] = (load[index] ?? 0) + percent;
}
