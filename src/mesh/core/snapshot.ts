import { CLUSTER_TYPE, LISTENER_TYPE, ROUTE_TYPE } from "../../xds/index.ts";
import { missingClusters, referencesOf } from "./snapshot-references.ts";
import type { ResourceSet } from "./xds-resource.ts";

/** A resource that names another one which is not there. */
export interface MissingReference {
  /** As Envoy calls the resource: `Listener` or `RouteConfiguration`. */
  readonly kind: "Listener" | "RouteConfiguration";
  readonly name: string;
  readonly missing: string;
  readonly message: string;
}

/**
 * What a set of resources lacks: every cluster that a route or listener names (weighted and mirror
 * clusters included) and every route configuration that a listener asks for must be in it. Empty
 * when the set may be sent.
 */
export function checkConsistent(resources: ResourceSet): readonly MissingReference[] {
  const problems: MissingReference[] = [];
  const clusters = resources.get(CLUSTER_TYPE) ?? new Map();
  const routes = resources.get(ROUTE_TYPE);
  for (const [typeUrl, kind] of [
    [LISTENER_TYPE, "Listener"],
    [ROUTE_TYPE, "RouteConfiguration"],
  ] as const) {
    for (const [name, resource] of resources.get(typeUrl) ?? []) {
      const references = referencesOf(resource);
      const report = (what: string, missing: string): void => {
        const message = `${kind} ${name} names ${what} ${missing}, which does not exist`;
        problems.push({ kind, name, missing, message });
      };
      for (const each of missingClusters(resource, clusters)) report("cluster", each);
      for (const each of references.routes) {
        if (routes?.has(each) !== true) report("route configuration", each);
      }
    }
  }
  return problems;
}
