import type { KubeObject, StringMap } from "../../../../api/index.ts";
import { type InjectionSettings, injectPod } from "../../injection-patch.ts";
import { labelsOf, listOf, objectOf } from "../../model-object.ts";
import { containersOf } from "../build-context.ts";
import type { AnalysisContext, Analyzer, Finding, PodSource } from "../context.ts";

const SYSTEM_NAMESPACES = ["kube-system", "kube-public", "kube-node-lease", "local-path-storage"];
const PROXY_USER = 1337;
/** Only whether there is an injection is asked, never what. */
const ANY_SETTINGS: InjectionSettings = {
  ...{ proxyImage: "any", xdsAddress: "any:1", clusterId: "any", audience: "any" },
  interceptionMode: "NONE",
};

/** Namespaces and pods that are, or are not, part of the mesh. */
export const injectionAnalyzer: Analyzer = {
  name: "injection",
  description: "namespaces without a decision, pods without a sidecar, and pods that break theirs",
  codes: ["IST0102", "IST0103", "IST0123", "IST0144", "IST0146"],
  *analyze(context) {
    for (const namespace of context.objects.namespaces)
      yield* namespaceFindings(namespace, context);
    for (const pod of context.pods) yield* podFindings(pod, context);
    for (const maker of context.makers) yield* makerFindings(maker, context);
  },
};

function* namespaceFindings(
  object: KubeObject,
  { rootNamespace }: AnalysisContext,
): Generator<Finding> {
  const { name } = object.metadata;
  if (SYSTEM_NAMESPACES.includes(name) || name === rootNamespace) return;
  const labels = labelsOf(object.metadata.labels);
  const found = ["istio-injection", "istio.io/rev"].filter((label) => labels[label] !== undefined);
  if (found.length === 2) {
    const message = `The namespace has the injection labels ${found.join(" and ")}; istio-injection is the one that counts. Remove one of them.`;
    yield { code: "IST0123", object, message, path: ["metadata", "labels"] };
  }
  if (found.length === 0) {
    const label = `kubectl label namespace ${name} istio-injection`;
    const message = `The namespace does not say whether its pods get sidecars. Run '${label}=enabled' if they shall, or '${label}=disabled' if not.`;
    yield { code: "IST0102", object, message };
  }
}

function* podFindings(pod: PodSource, context: AnalysisContext): Generator<Finding> {
  const { object, name, hasSidecar } = pod;
  if (object.kind === "Pod" && !hasSidecar && isInjected(pod, context) && !isOver(object)) {
    const message = `The pod ${name} has no sidecar, although its namespace or its labels ask for one: it was made before they did. Restart or redeploy its workload.`;
    yield { code: "IST0103", object, message };
  }
  const users = [pod.spec, ...containersOf(pod.spec)].map(
    (each) => objectOf(each["securityContext"])["runAsUser"],
  );
  if (users.includes(PROXY_USER)) {
    const message = `User ${PROXY_USER} is the sidecar's: the traffic of an application that runs as it goes around the sidecar.`;
    yield { code: "IST0144", object, message };
  }
}

function isOver(object: KubeObject): boolean {
  return ["Succeeded", "Failed"].includes(String(objectOf(object["status"])["phase"]));
}

function* makerFindings(maker: PodSource, context: AnalysisContext): Generator<Finding> {
  const { object, namespace, name } = maker;
  const isAuto = listOf(maker.spec["containers"])
    .map(objectOf)
    .some((container) => container["name"] === "istio-proxy" && container["image"] === "auto");
  if (!isAuto || isInjected(maker, context)) return;
  const message = `${object.kind} ${namespace}/${name} has the image "auto", which injection replaces, and its pods are not injected: neither they nor their namespace ask for it.`;
  yield { code: "IST0146", object, message };
}

/** Whether the webhook injects (would have injected) such pods. Namespaces that are not known refuse nothing. */
export function isInjected(pod: PodSource, context: AnalysisContext): boolean {
  const labels = namespaceLabels(pod.namespace, context);
  const bare = {
    ...{ apiVersion: "v1", kind: "Pod", spec: pod.spec },
    metadata: {
      ...{ name: pod.name, namespace: pod.namespace },
      ...{ labels: pod.labels, annotations: pod.annotations },
    },
  };
  const namespace = { name: pod.namespace, labels };
  return injectPod(bare, namespace, ANY_SETTINGS).kind === "inject";
}

function namespaceLabels(name: string, { objects }: AnalysisContext): StringMap {
  const found = objects.namespaces.find(({ metadata }) => metadata.name === name);
  return labelsOf(found?.metadata.labels);
}
