import type { KubeObject, StringMap } from "../../api/index.ts";
import { hostLookup, isVisible, resolveHost } from "./model-hosts.ts";
import type { DestinationRuleSpec, Subset, TrafficPolicy } from "./model-istio.ts";

/** The DestinationRules of one namespace for one host, merged. */
export interface MeshDestinationRule {
  /** Of the oldest of them. */
  readonly name: string;
  readonly namespace: string;
  readonly host: string;
  readonly exportTo: readonly string[];
  /** Whose clients follow it; undefined = all. */
  readonly workloadSelector: StringMap | undefined;
  readonly trafficPolicy: TrafficPolicy | undefined;
  readonly subsets: readonly Subset[];
}

/**
 * Merges the rules of one namespace for one host as Istio does: subsets are joined (the first of a
 * name wins), the traffic policy is the oldest rule's that has one. `specs` come oldest first.
 */
export function mergeDestinationRules(
  specs: readonly { readonly object: KubeObject; readonly spec: DestinationRuleSpec }[],
  isService: (host: string) => boolean,
): readonly MeshDestinationRule[] {
  const merged = new Map<string, MeshDestinationRule>();
  for (const { object, spec } of specs) {
    const { namespace = "default", name } = object.metadata;
    const host = resolveHost(spec.host, namespace, isService);
    const exportTo = (spec.exportTo ?? []).length > 0 ? (spec.exportTo ?? []) : ["*"];
    const workloadSelector = spec.workloadSelector?.matchLabels;
    const selected = JSON.stringify(Object.entries(workloadSelector ?? {}).sort());
    const key = `${namespace}/${host}/${exportTo.join()}/${selected}`;
    const first = merged.get(key);
    const subsets = [...(first?.subsets ?? [])];
    for (const subset of spec.subsets ?? []) {
      if (!subsets.some((known) => known.name === subset.name)) subsets.push(subset);
    }
    merged.set(key, {
      name: first?.name ?? name,
      namespace,
      host,
      exportTo: workloadSelector === undefined ? exportTo : ["."],
      workloadSelector,
      trafficPolicy: first?.trafficPolicy ?? spec.trafficPolicy,
      subsets,
    });
  }
  return [...merged.values()];
}

/** Finds the rule that a client follows for a service. */
export type DestinationRuleLookup = (service: {
  readonly host: string;
  readonly namespace: string;
}) => MeshDestinationRule | undefined;

/**
 * The rules as a client in `client` sees them: its own namespace's, else the service's, else the root
 * namespace's; in each the one that names the host most exactly, and of equals the one that selects
 * workloads (the model's view leaves only those in that select the client).
 */
export function destinationRulesFor(
  rules: readonly MeshDestinationRule[],
  client: string,
  rootNamespace: string,
): DestinationRuleLookup {
  const visible = Map.groupBy(
    rules
      .filter((rule) => isVisible(rule, client))
      .toSorted((a, b) => Number(!a.workloadSelector) - Number(!b.workloadSelector)),
    (rule) => rule.namespace,
  );
  const byNamespace = new Map(
    [...visible].map(([namespace, list]) => [namespace, hostLookup(list, (rule) => [rule.host])]),
  );
  return (service) => {
    for (const namespace of new Set([client, service.namespace, rootNamespace])) {
      const found = byNamespace.get(namespace)?.(service.host);
      if (found !== undefined) return found;
    }
    return undefined;
  };
}
