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

/**
 * Where a dump holds resources that came by xDS: the list, the resource in its entries, its name, and
 * what of it counts.
 */
const TYPES = [
  {
    type: "Clusters",
    list: "dynamic_active_clusters",
    path: ["cluster"],
    name: "name",
    essence: asIs,
  },
  {
    type: "Listeners",
    list: "dynamic_listeners",
    path: ["active_state", "listener"],
    name: "name",
    essence: asIs,
  },
  {
    type: "Routes",
    list: "dynamic_route_configs",
    path: ["route_config"],
    name: "name",
    essence: asIs,
  },
  {
    type: "Endpoints",
    list: "dynamic_endpoint_configs",
    path: ["endpoint_config"],
    name: "cluster_name",
    essence: endpointsOf,
  },
] as const;

/** Compares two dumps (`/config_dump` of a proxy, `/debug/config_dump` of the control plane). */
export function compareDumps(expected: unknown, actual: unknown): readonly TypeDiff[] {
  return TYPES.map(({ type, list, path, name, essence }) => {
    const wanted = resourcesOf(expected, list, path, name);
    const found = resourcesOf(actual, list, path, name);
    // Envoy lists endpoints of clusters that name them themselves, too.
    if (type === "Endpoints") forgetOthers(found, expected, actual);
    const names = [...new Set([...wanted.keys(), ...found.keys()])].sort();
    // Name by name, so that a resource that is missing does not shift all that follow.
    const diffs = names.map((each) =>
      unifiedDiff(linesOf(wanted.get(each), essence), linesOf(found.get(each), essence), [
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
): Map<string, unknown> {
  const entries = listField(dump, "configs").flatMap((section) => listField(section, list));
  const resources = entries.map((entry) => field(entry, ...path));
  return new Map(
    resources.flatMap((resource) =>
      resource === undefined ? [] : [[textField(resource, name), resource] as const],
    ),
  );
}

function linesOf(resource: unknown, essence: (resource: unknown) => unknown): readonly string[] {
  if (resource === undefined) return [];
  return JSON.stringify(ordered(essence(resource)), undefined, 2).split("\n");
}

function asIs(resource: unknown): unknown {
  return resource;
}

/** Envoy does not show the assignment that it was sent, but what it made of it: who is in it counts. */
function endpointsOf(assignment: unknown): unknown {
  const endpoints = listField(assignment, "endpoints").flatMap((group) =>
    listField(group, "lb_endpoints").map((each) => {
      const at = ["endpoint", "address", "socket_address"] as const;
      const place = ["region", "zone", "sub_zone"].map((part) =>
        textField(group, "locality", part),
      );
      return {
        address: `${textField(each, ...at, "address")}:${textField(each, ...at, "port_value")}`,
        priority: textField(group, "priority") || "0",
        locality: place.join("/"),
        weight: textField(each, "load_balancing_weight") || "1",
      };
    }),
  );
  return {
    cluster_name: textField(assignment, "cluster_name"),
    endpoints: endpoints.sort((a, b) => (a.address < b.address ? -1 : 1)),
  };
}

function forgetOthers(found: Map<string, unknown>, expected: unknown, actual: unknown): void {
  for (const dump of [expected, actual]) {
    for (const section of listField(dump, "configs")) {
      for (const entry of listField(section, "dynamic_active_clusters")) {
        const cluster = field(entry, "cluster");
        if (textField(cluster, "type") !== "EDS") found.delete(textField(cluster, "name"));
      }
    }
  }
}

/** Fields in the order of their names: a proxy may list them in another one. */
function ordered(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(ordered);
  if (typeof value !== "object" || value === null) return value;
  const entries = Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1));
  return Object.fromEntries(entries.map(([key, item]) => [key, ordered(item)]));
}
