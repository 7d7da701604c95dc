import type { DestinationRuleSpec } from "../../../../api/index.ts";
import { resolveHost } from "../../model-hosts.ts";
import type { TrafficPolicy } from "../../model-istio.ts";
import { labelsOf, objectOf } from "../../model-object.ts";
import { effectiveMutualTls } from "../../model-peer-authentication.ts";
import {
  type AnalysisContext,
  type Analyzer,
  type Finding,
  formatLabels,
  type PodSource,
  type Resource,
  selectsLabels,
} from "../context.ts";

type Rule = Resource<DestinationRuleSpec>;
type Policy = Pick<TrafficPolicy, "tls">;

/** What DestinationRules promise and cannot keep. */
export const destinationRulesAnalyzer: Analyzer = {
  name: "destination rules",
  description: "subsets without pods, TLS that verifies nobody, TLS that servers do not take",
  codes: ["IST0113", "IST0128", "IST0129", "IST0173"],
  *analyze(context) {
    for (const rule of context.destinationRules) {
      const host = resolveHost(rule.spec.host, rule.namespace, (name) =>
        context.model.serviceByHost.has(name),
      );
      yield* unverified(rule);
      const pods = podsBehind(host, context);
      if (pods === undefined) continue;
      yield* emptySubsets(rule, pods);
      yield* tlsConflicts(rule, host, pods, context);
    }
  },
};

/** Undefined when the host is no Kubernetes service with a selector. */
function podsBehind(host: string, context: AnalysisContext): readonly PodSource[] | undefined {
  const service = context.model.serviceByHost.get(host);
  if (service === undefined || service.isEntry) return undefined;
  const object = context.objects.services.find(
    ({ metadata }) =>
      metadata.name === service.name && (metadata.namespace ?? "default") === service.namespace,
  );
  const selector = labelsOf(objectOf(object?.["spec"])["selector"]);
  if (Object.keys(selector).length === 0) return undefined;
  return context.pods.filter(
    ({ namespace, labels }) => namespace === service.namespace && selectsLabels(selector, labels),
  );
}

function* emptySubsets({ object, spec }: Rule, pods: readonly PodSource[]): Generator<Finding> {
  for (const [i, { name, labels = {} }] of (spec.subsets ?? []).entries()) {
    if (pods.some((pod) => selectsLabels(labels, pod.labels))) continue;
    const message = `Subset ${name} selects no pod of ${spec.host}: none has the labels ${formatLabels(labels)}.`;
    yield { code: "IST0173", object, message, path: ["spec", "subsets", i] };
  }
}

function* unverified({ object, namespace, name, spec }: Rule): Generator<Finding> {
  const policies = [
    { path: ["spec", "trafficPolicy"], policy: spec.trafficPolicy },
    ...(spec.subsets ?? []).map(({ trafficPolicy }, i) => ({
      path: ["spec", "subsets", i, "trafficPolicy"],
      policy: trafficPolicy,
    })),
  ];
  const text = (mode: string): string =>
    `DestinationRule ${namespace}/${name} speaks TLS (${mode}) without caCertificates: who answers for ${spec.host} is not verified`;
  for (const { path, policy } of policies) {
    const mode = unverifiedMode(policy);
    if (mode !== undefined) {
      yield { code: "IST0128", object, message: `${text(mode)}.`, path: [...path, "tls"] };
    }
    for (const [i, settings] of (policy?.portLevelSettings ?? []).entries()) {
      const portMode = unverifiedMode(settings);
      if (portMode === undefined) continue;
      const message = `${text(portMode)} at port ${settings.port?.number}.`;
      yield { code: "IST0129", object, message, path: [...path, "portLevelSettings", i, "tls"] };
    }
  }
}

/** The mode, when it is one of TLS with certificates of the author's own and without verification. */
function unverifiedMode(policy: Policy | undefined): string | undefined {
  const tls = policy?.tls;
  const isOwn = tls?.mode === "SIMPLE" || tls?.mode === "MUTUAL";
  // A credential brings its certificate authority along.
  return isOwn && !tls.caCertificates && !tls.credentialName ? tls.mode : undefined;
}

function* tlsConflicts(
  { object, namespace, name, spec }: Rule,
  host: string,
  pods: readonly PodSource[],
  { model, rootNamespace }: AnalysisContext,
): Generator<Finding> {
  const mode = spec.trafficPolicy?.tls?.mode;
  if (mode === undefined) return;
  for (const pod of pods) {
    const server = effectiveMutualTls(model.peerAuthentications, pod, undefined, rootNamespace);
    const isRefused =
      (mode !== "ISTIO_MUTUAL" && server.mode === "STRICT") ||
      (mode === "ISTIO_MUTUAL" && (server.mode === "DISABLE" || !pod.hasSidecar));
    if (!isRefused) continue;
    const { policy } = server;
    const takes = !pod.hasSidecar
      ? `its pods have no sidecar`
      : `PeerAuthentication ${policy?.namespace}/${policy?.name} has mode ${server.mode}`;
    const message = `DestinationRule ${namespace}/${name} has TLS mode ${mode} for ${host}, but ${takes}: no connection succeeds.`;
    yield { code: "IST0113", object, message, path: ["spec", "trafficPolicy", "tls"] };
    return;
  }
}
