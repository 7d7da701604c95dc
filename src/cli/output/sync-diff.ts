import { field, listField, textField } from "./config-dump.ts";
import { unifiedDiff } from "./unified-diff.ts";

/** One type of resource, as the control plane means it and as the proxy has it. */
export interface TypeDiff {
  /** `Clusters`, `Listeners`, `Routes`, `Endpoints`. */
  readonly type: string;
  readonly isSame: boolean;
  /** A unified diff of what differs, as JSON; "" when nothing does. */
  readonly diff: string;
}

/** Where a dump holds resources that came by xDS: the list, the resource in its entries, its name. */
const TYPES = [
  { type: "Clusters", list: "dynamic_active_clusters", path: ["cluster"], name: "name" },
  {
    type: "Listeners",
    list: "dynamic_listeners",
    path: ["active_state", "listener"],
    name: "name",
  },
  { type: "Routes", list: "dynamic_route_configs", path: ["route_config"], name: "name" },
  {
    type: "Endpoints",
    list: "dynamic_endpoint_configs",
    path: ["endpoint_config"],
    name: "cluster_name",
  },
] as const;

/** Compares two dumps (`/config_dump` of a proxy, `/debug/config_dump` of the control plane). */
export function compareDumps(expected: unknown, actual: unknown): readonly TypeDiff[] {
  return TYPES.map(({ type, list, path, name }) => {
    const wanted = resourcesOf(expected, list, path, name);
    const found = resourcesOf(actual, list, path, name);
    const names = [...new Set([...wanted.keys(), ...found.keys()])].sort();
    // Name by name, so that a resource that is missing does not shift all that follow.
    const diffs = names.map((each) =>
      unifiedDiff(linesOf(wanted.get(each)), linesOf(found.get(each)), [
        `Control plane ${type} ${each}`,
        `Proxy ${type} ${each}`,
      ]),
    );
    const diff = diffs.join("");
    return { type, isSame: diff === "", diff };
  });
}

function resourcesOf(
  dump: unknown,
  list: string,
  path: readonly string[],
  name: string,
): ReadonlyMap<string, unknown> {
  const entries = listField(dump, "configs").flatMap((section) => listField(section, list));
  const resources = entries.map((entry) => field(entry, ...path));
  return new Map(
    resources.flatMap((resource) =>
      resource === undefined ? [] : [[textField(resource, name), resource] as const],
    ),
  );
}

function linesOf(resource: unknown): readonly string[] {
  return resource === undefined ? [] : JSON.stringify(ordered(resource), undefined, 2).split("\n");
}

/** Fields in the order of their names: a proxy may list them in another one. */
function ordered(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(ordered);
  if (typeof value !== "object" || value === null) return value;
  const entries = Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1));
  return Object.fromEntries(entries.map(([key, item]) => [key, ordered(item)]));
}
