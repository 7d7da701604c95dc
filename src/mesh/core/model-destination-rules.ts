import type { KubeObject } from "../../api/index.ts";
import { coversHost, isVisible, resolveHost, specificity } from "./model-hosts.ts";
import type { DestinationRuleSpec, Subset, TrafficPolicy } from "./model-istio.ts";

/** The DestinationRules of one namespace for one host, merged. */
export interface MeshDestinationRule {
  /** Of the oldest of them. */
  readonly name: string;
  readonly namespace: string;
  readonly host: string;
  readonly exportTo: readonly string[];
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
    const key = `${namespace}/${host}/${exportTo.join()}`;
    const first = merged.get(key);
    const subsets = [...(first?.subsets ?? [])];
    for (const subset of spec.subsets ?? []) {
      if (!subsets.some((known) => known.name === subset.name)) subsets.push(subset);
    }
    merged.set(key, {
      name: first?.name ?? name,
      namespace,
      host,
      exportTo,
      trafficPolicy: first?.trafficPolicy ?? spec.trafficPolicy,
      subsets,
    });
  }
  return [...merged.values()];
}

/**
 * The rule that a client in `client` follows for a service: its own namespace's, else the service's,
 * else the root namespace's; in each the one that names the host most exactly.
 */
export function destinationRuleFor(
  rules: readonly MeshDestinationRule[],
  service: { readonly host: string; readonly namespace: string },
  client: string,
  rootNamespace: string,
): MeshDestinationRule | undefined {
  for (const namespace of new Set([client, service.namespace, rootNamespace])) {
    let best: MeshDestinationRule | undefined;
    for (const rule of rules) {
      if (rule.namespace !== namespace || !isVisible(rule, client)) continue;
      if (!coversHost(rule.host, service.host)) continue;
      if (best === undefined || specificity(rule.host) > specificity(best.host)) best = rule;
    }
    if (best !== undefined) return best;
  }
  return undefined;
}
