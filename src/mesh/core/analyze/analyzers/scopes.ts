import type { KubeObject, StringMap } from "../../../../api/index.ts";
import {
  type AnalysisContext,
  type Analyzer,
  type Finding,
  formatLabels,
  type PodSource,
  selectsLabels,
} from "../context.ts";
import type { Code } from "../messages.ts";

/** A resource for the workloads that it selects; undefined labels: for all of its namespace. */
interface Scoped {
  readonly object: KubeObject;
  readonly namespace: string;
  readonly name: string;
  readonly labels: StringMap | undefined;
}

/** Which workloads resources are for: none, or the same as others of their kind. */
export const scopesAnalyzer: Analyzer = {
  name: "scopes",
  description: "selectors that select nothing, and Sidecars and Telemetries for the same workloads",
  codes: ["IST0110", "IST0111", "IST0127", "IST0159", "IST0160"],
  *analyze(context) {
    const sidecars = context.sidecars.map((each) =>
      scoped(each, each.spec.workloadSelector?.labels),
    );
    yield* conflicts("Sidecars", sidecars, context.pods, ["IST0110", "IST0111"]);
    const telemetries = context.telemetries.map((each) =>
      scoped(each, each.spec.selector?.matchLabels),
    );
    yield* conflicts("Telemetries", telemetries, context.pods, ["IST0159", "IST0160"]);
    const policies = [
      ...context.peerAuthentications,
      ...context.requestAuthentications,
      ...context.authorizationPolicies,
    ].map((each) => scoped(each, each.spec.selector?.matchLabels));
    yield* unmatched([...policies, ...telemetries], context);
  },
};

function scoped(
  { object, namespace, name }: Omit<Scoped, "labels">,
  labels: StringMap | undefined,
): Scoped {
  const isEmpty = Object.keys(labels ?? {}).length === 0;
  return { object, namespace, name, labels: isEmpty ? undefined : labels };
}

/** `codes`: of those that select one workload, and of those that select everything. */
function* conflicts(
  what: string,
  all: readonly Scoped[],
  pods: readonly PodSource[],
  [selecting, whole]: readonly [Code, Code],
): Generator<Finding> {
  for (const [namespace, own] of Map.groupBy(all, (each) => each.namespace)) {
    const everything = own.filter(({ labels }) => labels === undefined);
    if (everything.length > 1) {
      const names = everything.map(({ name }) => name).join(", ");
      const message = `The ${what} ${names} in namespace ${JSON.stringify(namespace)} have no workload selector; only the oldest, ${everything[0]?.name}, counts.`;
      for (const { object } of everything) yield { code: whole, object, message };
    }
    const said = new Set<string>();
    for (const pod of pods.filter((each) => each.namespace === namespace)) {
      const matching = own.filter(
        ({ labels }) => labels !== undefined && selectsLabels(labels, pod.labels),
      );
      const names = matching.map(({ name }) => name).join(", ");
      if (matching.length < 2 || said.has(names)) continue;
      said.add(names);
      const message = `The ${what} ${names} in namespace ${JSON.stringify(namespace)} select the same workload ${JSON.stringify(pod.name)}; only the oldest, ${matching[0]?.name}, counts.`;
      for (const { object } of matching) yield { code: selecting, object, message };
    }
  }
}

function* unmatched(
  policies: readonly Scoped[],
  { pods, rootNamespace }: AnalysisContext,
): Generator<Finding> {
  for (const { object, namespace, labels } of policies) {
    if (labels === undefined) continue;
    const isAnywhere = namespace === rootNamespace && object.kind !== "PeerAuthentication";
    const isMatched = pods.some(
      (pod) => (isAnywhere || pod.namespace === namespace) && selectsLabels(labels, pod.labels),
    );
    if (isMatched) continue;
    const message = `No workload has the labels that this resource asks for: ${formatLabels(labels)}`;
    yield { code: "IST0127", object, message, path: ["spec", "selector"] };
  }
}
