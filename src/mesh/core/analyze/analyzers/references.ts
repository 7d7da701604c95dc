import type { StringMap } from "../../../../api/index.ts";
import { coversHost, resolveHost } from "../../model-hosts.ts";
import { destinationsOf, MESH_GATEWAY, virtualServiceFrom } from "../../model-virtual-services.ts";
import {
  type AnalysisContext,
  type Analyzer,
  type Finding,
  formatLabels,
  type Resource,
  selectsLabels,
} from "../context.ts";

type Path = readonly (string | number)[];

function missing(
  { object }: Pick<Resource<unknown>, "object">,
  what: string,
  name: string,
  path: Path,
): Finding {
  return {
    code: "IST0101",
    object,
    message: `Referenced ${what} not found: ${JSON.stringify(name)}`,
    path,
  };
}

/** What resources name and does not exist. */
export const referencesAnalyzer: Analyzer = {
  name: "references",
  description:
    "gateways, hosts, subsets, delegates, selectors, namespaces and targets that are named",
  codes: ["IST0101", "IST0174"],
  *analyze(context) {
    yield* virtualServiceReferences(context);
    yield* ruleHosts(context);
    yield* gatewaySelectors(context);
    yield* sidecarSelectors(context);
    yield* policyNamespaces(context);
    yield* canaryReferences(context);
  },
};

function* virtualServiceReferences(context: AnalysisContext): Generator<Finding> {
  const { model } = context;
  const isService = (host: string): boolean => model.serviceByHost.has(host);
  const names = new Set(
    context.virtualServices.map(({ namespace, name }) => `${namespace}/${name}`),
  );
  const gateways = new Set([
    ...context.gateways.map(({ namespace, name }) => `${namespace}/${name}`),
    ...model.gateways.map(({ namespace, name }) => `${namespace}/${name}`),
  ]);
  for (const resource of context.virtualServices) {
    const { object, namespace, spec } = resource;
    const resolved = virtualServiceFrom(object, spec, isService);
    for (const [i, gateway] of resolved.gateways.entries()) {
      if (gateway === MESH_GATEWAY || gateways.has(gateway)) continue;
      yield missing(resource, "gateway", spec.gateways?.[i] ?? gateway, ["spec", "gateways", i]);
    }
    for (const [i, { delegate }] of (spec.http ?? []).entries()) {
      if (delegate?.name === undefined) continue;
      const target = `${delegate.namespace || namespace}/${delegate.name}`;
      if (!names.has(target)) {
        yield missing(resource, "VirtualService", target, ["spec", "http", i, "delegate"]);
      }
    }
    const said = new Set<string>();
    for (const { host, subset } of destinationsOf(resolved)) {
      const key = subset === undefined ? host : `${host}+${subset}`;
      if (said.has(key)) continue;
      said.add(key);
      if (!isKnownHost(host, context)) {
        yield missing(resource, "host", host, pathTo(resolved, host, undefined));
      } else if (subset !== undefined && subset !== "" && !hasSubset(host, subset, context)) {
        const path = pathTo(resolved, host, subset);
        yield missing(resource, "host+subset in destinationrule", `${host}+${subset}`, path);
      }
    }
  }
}

/** The first destination of that name. */
function pathTo(
  { http, tls, tcp }: ReturnType<typeof virtualServiceFrom>,
  host: string,
  subset: string | undefined,
): Path {
  for (const [kind, routes] of [
    ["http", http],
    ["tls", tls],
    ["tcp", tcp],
  ] as const) {
    for (const [i, { route }] of routes.entries()) {
      const j = (route ?? []).findIndex(
        ({ destination }) =>
          destination.host === host && (subset === undefined || destination.subset === subset),
      );
      if (j >= 0) return ["spec", kind, i, "route", j, "destination"];
    }
  }
  return ["spec"];
}

function isKnownHost(host: string, { model }: AnalysisContext): boolean {
  return (
    model.serviceByHost.has(host) ||
    model.services.some((service) => service.host.startsWith("*") && coversHost(service.host, host))
  );
}

function hasSubset(host: string, subset: string, { model }: AnalysisContext): boolean {
  return model.destinationRules.some(
    (rule) => coversHost(rule.host, host) && rule.subsets.some(({ name }) => name === subset),
  );
}

function* ruleHosts(context: AnalysisContext): Generator<Finding> {
  const { model } = context;
  for (const { object, namespace, spec } of context.destinationRules) {
    const host = resolveHost(spec.host, namespace, (name) => model.serviceByHost.has(name));
    const isKnown =
      isKnownHost(host, context) ||
      model.services.some((service) => coversHost(host, service.host));
    if (isKnown) continue;
    const message = `Unknown host ${JSON.stringify(spec.host)} referenced by DestinationRule`;
    yield { code: "IST0174", object, message, path: ["spec", "host"] };
  }
}

function* gatewaySelectors(context: AnalysisContext): Generator<Finding> {
  for (const resource of context.gateways) {
    const { selector = {} } = resource.spec;
    if (Object.keys(selector).length === 0 || isSelecting(context, selector, undefined)) continue;
    yield missing(resource, "selector", formatLabels(selector), ["spec", "selector"]);
  }
}

function* sidecarSelectors(context: AnalysisContext): Generator<Finding> {
  for (const resource of context.sidecars) {
    const labels = resource.spec.workloadSelector?.labels ?? {};
    if (Object.keys(labels).length === 0 || isSelecting(context, labels, resource.namespace)) {
      continue;
    }
    const path = ["spec", "workloadSelector", "labels"];
    yield missing(resource, "workloadSelector/labels", formatLabels(labels), path);
  }
}

/** Whether there is a pod with these labels, in that namespace if one is given. */
function isSelecting(
  { pods }: AnalysisContext,
  labels: StringMap,
  namespace: string | undefined,
): boolean {
  return pods.some(
    (pod) =>
      (namespace === undefined || pod.namespace === namespace) && selectsLabels(labels, pod.labels),
  );
}

function* policyNamespaces(context: AnalysisContext): Generator<Finding> {
  const known = context.objects.namespaces.map(({ metadata }) => metadata.name);
  // Files alone seldom have the namespaces with them.
  if (known.length === 0) return;
  for (const resource of context.authorizationPolicies) {
    for (const [i, rule] of (resource.spec.rules ?? []).entries()) {
      for (const [j, { source }] of (rule.from ?? []).entries()) {
        for (const [k, pattern] of (source?.namespaces ?? []).entries()) {
          if (known.some((name) => fitsPattern(pattern, name))) continue;
          const path = ["spec", "rules", i, "from", j, "source", "namespaces", k];
          yield missing(resource, "namespace", pattern, path);
        }
      }
    }
  }
}

/** Prefix, suffix or exact, as in policies. */
function fitsPattern(pattern: string, name: string): boolean {
  if (pattern.startsWith("*")) return name.endsWith(pattern.slice(1));
  if (pattern.endsWith("*")) return name.startsWith(pattern.slice(0, -1));
  return pattern === name;
}

function* canaryReferences(context: AnalysisContext): Generator<Finding> {
  const isThere = (kind: string, namespace: string, name: string): boolean =>
    context.all.some(
      (object) =>
        object.kind === kind &&
        object.metadata.name === name &&
        (object.metadata.namespace ?? "default") === namespace,
    );
  for (const resource of context.canaries) {
    const { namespace, spec } = resource;
    const { kind, name } = spec.targetRef;
    if (!isThere(kind, namespace, name)) {
      yield missing(resource, kind.toLowerCase(), `${namespace}/${name}`, ["spec", "targetRef"]);
    }
    for (const [i, { templateRef }] of (spec.analysis.metrics ?? []).entries()) {
      if (templateRef === undefined) continue;
      const at = templateRef.namespace || namespace;
      if (isThere("MetricTemplate", at, templateRef.name)) continue;
      const path = ["spec", "analysis", "metrics", i, "templateRef"];
      yield missing(resource, "metrictemplate", `${at}/${templateRef.name}`, path);
    }
    for (const [i, { providerRef }] of (spec.analysis.alerts ?? []).entries()) {
      const at = providerRef.namespace || namespace;
      if (isThere("AlertProvider", at, providerRef.name)) continue;
      const path = ["spec", "analysis", "alerts", i, "providerRef"];
      yield missing(resource, "alertprovider", `${at}/${providerRef.name}`, path);
    }
    for (const [i, gateway] of (spec.service?.gateways ?? []).entries()) {
      const full = gateway.includes("/") ? gateway : `${namespace}/${gateway}`;
      const [at = "", gatewayName = ""] = full.split("/");
      if (gateway === MESH_GATEWAY || isThere("Gateway", at, gatewayName)) continue;
      yield missing(resource, "gateway", full, ["spec", "service", "gateways", i]);
    }
  }
}
