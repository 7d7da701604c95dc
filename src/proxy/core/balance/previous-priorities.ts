import { loadByAvailability, type PriorityLoad } from "./priority-load.ts";

/**
 * The load of a retry that keeps away from priorities that were tried: every `updateFrequency` tries
 * the priorities of those tries are left out; when none would be left, all are in again. `tried` has
 * the priority of each try in order. Undefined = the usual load.
 * Source: envoy.retry_priorities.previous_priorities.
 */
export function loadWithoutTried(
  availability: PriorityLoad,
  tried: readonly number[],
  updateFrequency: number,
): PriorityLoad | undefined {
  const excluded = new Set<number>();
  const left = ({ healthy, degraded }: PriorityLoad): PriorityLoad => ({
    healthy: healthy.map((percent, priority) => (excluded.has(priority) ? 0 : percent)),
    degraded: degraded.map((percent, priority) => (excluded.has(priority) ? 0 : percent)),
  });
  let load: PriorityLoad | undefined;
  for (let count = updateFrequency; count <= tried.length; count += updateFrequency) {
    for (const priority of tried.slice(count - updateFrequency, count)) excluded.add(priority);
    let rest = left(availability);
    if (!isAvailable(rest)) {
      excluded.clear();
      rest = left(availability);
    }
    load = isAvailable(rest) ? loadByAvailability(rest.healthy, rest.degraded) : undefined;
  }
  return load;
}

function isAvailable({ healthy, degraded }: PriorityLoad): boolean {
  return healthy.some((percent) => percent > 0) || degraded.some((percent) => percent > 0);
}
