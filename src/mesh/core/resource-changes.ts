import { JoinedMap } from "./translate/joined-map.ts";
import type { XdsResource } from "./xds-resource.ts";

type Resources = ReadonlyMap<string, XdsResource>;

/** Maps never change and are shared between proxies: two of them are compared once, not per proxy. */
const known = new WeakMap<Resources, WeakMap<Resources, ReadonlySet<string>>>();
const NONE: ReadonlySet<string> = new Set();

/**
 * The names that are in one of two maps only, or in both with different versions. With joined maps
 * a name may be among them that is the same after all. Cost: nothing for the same map, else the
 * size of the parts that differ, once for each pair.
 */
export function changedNames(before: Resources, after: Resources): ReadonlySet<string> {
  if (before === after) return NONE;
  if (before instanceof JoinedMap && after instanceof JoinedMap) {
    const first = changedNames(before.first, after.first);
    const second = compare(before.second, after.second);
    if (second.size === 0) return first;
    return first.size === 0 ? second : first.union(second);
  }
  const others = known.get(before) ?? new WeakMap<Resources, ReadonlySet<string>>();
  known.set(before, others);
  const seen = others.get(after) ?? compare(before, after);
  others.set(after, seen);
  return seen;
}

function compare(before: Resources, after: Resources): ReadonlySet<string> {
  if (before === after) return NONE;
  const names = new Set<string>();
  for (const [name, resource] of after) {
    const old = before.get(name);
    if (old !== resource && old?.version !== resource.version) names.add(name);
  }
  for (const name of before.keys()) if (!after.has(name)) names.add(name);
  return names.size === 0 ? NONE : names;
}
