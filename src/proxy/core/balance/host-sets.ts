/** Whether a host takes traffic: always, when nobody healthy does, or only in a panic. */
export type HostHealth = "healthy" | "degraded" | "unhealthy";

/** A host with what its place in the cluster depends on. */
export interface PlacedHost<Host> {
  readonly host: Host;
  readonly priority: number;
  /** Equal for hosts of one locality. */
  readonly locality: string;
  /** 0 = the locality takes nothing where localities are weighted. */
  readonly localityWeight: number;
  readonly health: HostHealth;
}

/** The hosts of one locality of a priority. */
export interface LocalityHosts<Host> {
  readonly weight: number;
  readonly all: readonly Host[];
  readonly healthy: readonly Host[];
  readonly degraded: readonly Host[];
}

/** The hosts of one priority. */
export interface HostSet<Host> extends Omit<LocalityHosts<Host>, "weight"> {
  readonly localities: readonly LocalityHosts<Host>[];
}

/** Sorts hosts by priority; a priority that nobody has is an empty set. Always at least one set. */
export function hostSetsOf<Host>(hosts: readonly PlacedHost<Host>[]): readonly HostSet<Host>[] {
  const highest = hosts.reduce((most, { priority }) => Math.max(most, priority), 0);
  const byPriority: PlacedHost<Host>[][] = Array.from({ length: highest + 1 }, () => []);
  for (const placed of hosts) byPriority[placed.priority]?.push(placed);
  return byPriority.map((members) => ({
    ...byHealth(members),
    localities: [...Map.groupBy(members, ({ locality }) => locality).values()].map((group) => ({
      weight: group[0]?.localityWeight ?? 0,
      ...byHealth(group),
    })),
  }));
}

function byHealth<Host>(members: readonly PlacedHost<Host>[]): Omit<LocalityHosts<Host>, "weight"> {
  const of = (health: HostHealth): Host[] =>
    members.flatMap((placed) => (placed.health === health ? [placed.host] : []));
  return { all: members.map(({ host }) => host), healthy: of("healthy"), degraded: of("degraded") };
}

/**
 * A locality's weight as far as its hosts can answer for it: `eligible` of `all` hosts are left, and
 * the overprovisioning factor (percent) makes up for some that are not.
 * Source: Envoy docs, "Locality weighted load balancing".
 */
export function effectiveLocalityWeight(
  weight: number,
  eligible: number,
  all: number,
  overprovisioningFactor: number,
): number {
  if (all === 0) return 0;
  return weight * Math.min(1, (overprovisioningFactor / 100) * (eligible / all));
}
