/** A Deployment's ReplicaSet, as a rolling update sees it. */
export interface ReplicaSetCounts {
  readonly name: string;
  /** spec.replicas */
  readonly replicas: number;
  /** status.availableReplicas */
  readonly available: number;
}

export interface RollingUpdateLimits {
  /** spec.replicas of the Deployment. */
  readonly replicas: number;
  /** Pods beyond `replicas`. */
  readonly maxSurge: number;
  /** Pods that may be missing from `replicas`. */
  readonly maxUnavailable: number;
}

/**
 * maxSurge and maxUnavailable as numbers: percentages of `replicas`, surge rounded up and
 * unavailable down. Both zero would never move: then one may be unavailable.
 */
export function rollingUpdateLimits(
  replicas: number,
  maxSurge: unknown,
  maxUnavailable: unknown,
): RollingUpdateLimits {
  const surge = absolute(maxSurge ?? "25%", replicas, Math.ceil);
  const unavailable = absolute(maxUnavailable ?? "25%", replicas, Math.floor);
  return {
    replicas,
    maxSurge: surge,
    maxUnavailable: Math.min(surge === 0 && unavailable === 0 ? 1 : unavailable, replicas),
  };
}

function absolute(value: unknown, total: number, round: (n: number) => number): number {
  if (typeof value === "number") return value;
  const percent = /^(\d+)%$/.exec(String(value))?.[1];
  return percent === undefined ? 0 : round((Number(percent) * total) / 100);
}

/** How many replicas the new ReplicaSet of a rolling update may have now. */
export function newReplicaSetSize(
  current: number,
  all: readonly ReplicaSetCounts[],
  { replicas, maxSurge }: RollingUpdateLimits,
): number {
  if (current >= replicas) return replicas;
  const total = all.reduce((sum, set) => sum + set.replicas, 0);
  const room = replicas + maxSurge - total;
  return room <= 0 ? current : current + Math.min(room, replicas - current);
}

/**
 * The sizes of the old ReplicaSets now, oldest first: first pods that are not available go, then
 * available ones as far as `maxUnavailable` allows. Names that keep their size are left out.
 */
export function oldReplicaSetSizes(
  oldOldestFirst: readonly ReplicaSetCounts[],
  fresh: ReplicaSetCounts,
  { replicas, maxUnavailable }: RollingUpdateLimits,
): ReadonlyMap<string, number> {
  const all = [...oldOldestFirst, fresh];
  const total = all.reduce((sum, set) => sum + set.replicas, 0);
  const minAvailable = replicas - maxUnavailable;
  let mayGo = total - minAvailable - Math.max(0, fresh.replicas - fresh.available);
  const sizes = new Map<string, number>();
  for (const set of oldOldestFirst) {
    if (mayGo <= 0) break;
    const go = Math.min(mayGo, Math.max(0, set.replicas - set.available));
    if (go === 0) continue;
    sizes.set(set.name, set.replicas - go);
    mayGo -= go;
  }
  let spare =
    all.reduce((sum, set) => sum + Math.min(set.available, set.replicas), 0) - minAvailable;
  for (const set of oldOldestFirst) {
    if (spare <= 0) break;
    const size = sizes.get(set.name) ?? set.replicas;
    const go = Math.min(spare, size, mayGo);
    if (go <= 0) continue;
    sizes.set(set.name, size - go);
    spare -= go;
    mayGo -= go;
  }
  return sizes;
}

/**
 * The sizes of ReplicaSets when a Deployment is scaled in the middle of a rolling update: each keeps
 * its share of the total that was allowed before (`maxReplicas`, 0 = not known), rounded; the largest
 * takes what rounding leaves. `allowed` is the new total.
 * Source: kube-controller-manager's GetProportion.
 */
export function proportionalSizes(
  sets: readonly {
    readonly name: string;
    readonly replicas: number;
    readonly maxReplicas?: number;
  }[],
  allowed: number,
): ReadonlyMap<string, number> {
  const total = sets.reduce((sum, set) => sum + set.replicas, 0);
  const toGive = allowed - total;
  const sorted = sets.toSorted((a, b) => b.replicas - a.replicas || (a.name < b.name ? -1 : 1));
  const sizes = new Map<string, number>();
  let given = 0;
  for (const { name, replicas, maxReplicas = 0 } of sorted) {
    const was = maxReplicas > 0 ? maxReplicas : total;
    const share = was === 0 ? 0 : Math.round((replicas * allowed) / was) - replicas;
    const left = toGive - given;
    const part =
      toGive > 0 ? Math.min(Math.max(0, share), left) : Math.max(Math.min(0, share), left);
    const size = Math.max(0, replicas + part);
    sizes.set(name, size);
    given += size - replicas;
  }
  let rest = toGive - given;
  for (const { name } of sorted) {
    if (rest === 0) break;
    const size = sizes.get(name) ?? 0;
    const next = Math.max(0, size + rest);
    sizes.set(name, next);
    rest -= next - size;
  }
  return sizes;
}
