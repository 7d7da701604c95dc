import { resolveHost } from "../../model-hosts.ts";
import type { OutlierDetection } from "../../model-istio.ts";
import { effectiveMutualTls } from "../../model-peer-authentication.ts";
import { type NoOp, outlierNoOps, reservedHeaders, routeNoOps } from "../../silent-no-ops.ts";
import {
  type AnalysisContext,
  type Analyzer,
  type Finding,
  type PodSource,
  selectsLabels,
} from "../context.ts";
import type { Code } from "../messages.ts";

const CODES: Readonly<Record<NoOp["kind"], Code>> = {
  fault: "SRN0003",
  mirror: "SRN0007",
  weight: "SRN0006",
  reservedHeader: "SRN0008",
  consecutiveErrors: "SRN0001",
  ejectsNobody: "SRN0002",
  neverReached: "SRN0009",
};
/** Envoy's, when a rule does not say. */
const DEFAULT_ERRORS = 5;
const DEFAULT_EJECTION_PERCENT = 10;

/** What reads well and does nothing. */
export const silentNoOpsAnalyzer: Analyzer = {
  name: "silent no-ops",
  description: "settings that are valid, read well and do nothing, or the opposite",
  codes: [
    ...["SRN0001", "SRN0002", "SRN0003", "SRN0004", "SRN0005", "SRN0006"],
    ...["SRN0007", "SRN0008", "SRN0009", "SRN0010"],
  ] as readonly Code[],
  *analyze(context) {
    yield* routes(context);
    yield* outlierDetections(context);
    yield* rootSelectors(context);
    yield* emptyPolicies(context);
    yield* unprovenIdentities(context);
  },
};

function* routes({ virtualServices }: AnalysisContext): Generator<Finding> {
  for (const { object, spec } of virtualServices) {
    for (const [i, rule] of (spec.http ?? []).entries()) {
      for (const { kind, message } of [...routeNoOps(rule), ...reservedHeaders(rule)]) {
        const path = ["spec", "http", i];
        yield { code: CODES[kind], object, message: `http[${i}].${message}`, path };
      }
    }
  }
}

function* outlierDetections(context: AnalysisContext): Generator<Finding> {
  const { serviceByHost } = context.model;
  for (const { object, namespace, spec } of context.destinationRules) {
    const host = resolveHost(spec.host, namespace, (name) => serviceByHost.has(name));
    const addresses = new Set(
      (serviceByHost.get(host)?.ports ?? []).flatMap(({ endpoints }) =>
        endpoints.map(({ address }) => address),
      ),
    );
    const policies = [
      { path: ["spec", "trafficPolicy"], policy: spec.trafficPolicy, labels: undefined },
      ...(spec.subsets ?? []).map(({ trafficPolicy, labels }, i) => ({
        path: ["spec", "subsets", i, "trafficPolicy"],
        policy: trafficPolicy,
        labels,
      })),
    ];
    for (const { path, policy, labels } of policies) {
      for (const outlier of [policy, ...(policy?.portLevelSettings ?? [])]) {
        const detection = outlier?.outlierDetection;
        if (detection === undefined) continue;
        const hosts =
          labels === undefined
            ? addresses.size
            : podsAt(addresses, context).filter((pod) => selectsLabels(labels, pod.labels)).length;
        for (const { kind, message } of outlierNoOps(detection, effective(detection, hosts))) {
          yield { code: CODES[kind], object, message, path: [...path, "outlierDetection"] };
        }
      }
    }
  }
}

function podsAt(addresses: ReadonlySet<string>, { model }: AnalysisContext) {
  return [...model.workloads.values()].filter(({ address }) => addresses.has(address));
}

function effective(outlier: OutlierDetection, hosts: number) {
  const percent = outlier.maxEjectionPercent ?? 0;
  return {
    consecutive5xx: outlier.consecutive5xxErrors ?? outlier.consecutiveErrors ?? DEFAULT_ERRORS,
    consecutiveGatewayErrors: outlier.consecutiveGatewayErrors ?? 0,
    maxEjectionPercent: percent > 0 ? percent : DEFAULT_EJECTION_PERCENT,
    hosts,
  };
}

function* rootSelectors(context: AnalysisContext): Generator<Finding> {
  for (const { object, namespace, spec } of context.peerAuthentications) {
    const labels = spec.selector?.matchLabels ?? {};
    if (namespace !== context.rootNamespace || Object.keys(labels).length === 0) continue;
    const message = `The policy is in the root namespace and has a selector: it is for pods of ${namespace} only, and not for the whole mesh.`;
    yield { code: "SRN0004", object, message, path: ["spec", "selector"] };
  }
}

function* emptyPolicies(context: AnalysisContext): Generator<Finding> {
  for (const { object, spec } of context.authorizationPolicies) {
    if ((spec.action ?? "ALLOW") !== "ALLOW" || (spec.rules ?? []).length > 0) continue;
    const message =
      "The policy allows and has no rules: whatever no other policy allows is denied. If everything shall be allowed, write rules: [{}].";
    yield { code: "SRN0005", object, message, path: ["spec"] };
  }
}

/** ALLOW rules by identity, before pods that take plain text too: those callers have none. */
function* unprovenIdentities(context: AnalysisContext): Generator<Finding> {
  const { model, rootNamespace } = context;
  for (const { object, namespace, spec } of context.authorizationPolicies) {
    const asks = (spec.rules ?? []).flatMap(({ from = [] }) =>
      from.flatMap(({ source }) => [
        ...(source?.principals ?? []),
        ...(source?.namespaces ?? []),
        ...(source?.serviceAccounts ?? []),
      ]),
    );
    if (asks.length === 0 || (spec.action ?? "ALLOW") !== "ALLOW") continue;
    const isNear = (pod: PodSource): boolean =>
      (namespace === rootNamespace || pod.namespace === namespace) &&
      selectsLabels(spec.selector?.matchLabels, pod.labels);
    const open = context.pods.find(
      (pod) =>
        pod.hasSidecar &&
        isNear(pod) &&
        effectiveMutualTls(model.peerAuthentications, pod, undefined, rootNamespace).mode !==
          "STRICT",
    );
    if (open === undefined) continue;
    const message = `The policy asks who the caller is, and ${open.namespace}/${open.name} takes plain text too: such callers have no identity, and are denied.`;
    yield { code: "SRN0010", object, message, path: ["spec", "rules"] };
  }
}
