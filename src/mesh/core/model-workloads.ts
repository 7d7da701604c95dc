import type { KubeObject, StringMap } from "../../api/index.ts";
import { type Locality, podLocality } from "./model-locality.ts";
import { labelsOf, listOf, objectOf, portOf, textOf } from "./model-object.ts";

/** A pod as the mesh sees it. */
export interface Workload {
  readonly podName: string;
  readonly namespace: string;
  readonly labels: StringMap;
  readonly serviceAccount: string;
  /** The Deployment (or other owner) the pod belongs to; the pod's own name without one. */
  readonly workloadName: string;
  readonly canonicalService: string;
  readonly canonicalRevision: string;
  /** Whether it takes mutual TLS: it has a sidecar. */
  readonly hasSidecar: boolean;
  /** TCP ports that the application's containers declare. */
  readonly containerPorts: readonly ContainerPort[];
  /** "" while it has none. */
  readonly address: string;
  readonly isReady: boolean;
  readonly locality: Locality;
  /** Of its endpoints, at least 1. */
  readonly weight: number;
}

export interface ContainerPort {
  readonly number: number;
  readonly name: string | undefined;
}

const SIDECAR_CONTAINER = "istio-proxy";

/** A pod's workload. Reads any Pod; fields of a wrong type read as absent. `nodes`: where they are. */
export function workloadFromPod(
  pod: KubeObject,
  nodes: ReadonlyMap<string, Locality> = new Map(),
): Workload {
  const spec = objectOf(pod["spec"]);
  const status = objectOf(pod["status"]);
  const labels = labelsOf(pod.metadata.labels);
  const workloadName = workloadNameOf(pod);
  return {
    podName: pod.metadata.name,
    namespace: pod.metadata.namespace ?? "default",
    labels,
    serviceAccount: textOf(spec["serviceAccountName"]) ?? "default",
    workloadName,
    // Istio's order: canonical label, then the recommended ones, then the workload.
    canonicalService:
      labels["service.istio.io/canonical-name"] ??
      labels["app.kubernetes.io/name"] ??
      labels["app"] ??
      workloadName,
    canonicalRevision:
      labels["service.istio.io/canonical-revision"] ??
      labels["app.kubernetes.io/version"] ??
      labels["version"] ??
      "latest",
    hasSidecar: hasSidecar(spec, labels),
    containerPorts: containerPortsOf(spec),
    address: textOf(status["podIP"]) ?? "",
    isReady:
      pod.metadata.deletionTimestamp === undefined &&
      listOf(status["conditions"])
        .map(objectOf)
        .some(({ type, status: value }) => type === "Ready" && value === "True"),
    locality: podLocality(labels, spec["nodeName"], nodes),
    weight: 1,
  };
}

/** Injection marks the pod; a pod whose sidecar was written by hand shows its container. */
function hasSidecar(spec: Readonly<Record<string, unknown>>, labels: StringMap): boolean {
  const tlsMode = labels["security.istio.io/tlsMode"];
  if (tlsMode !== undefined) return tlsMode === "istio";
  return [...listOf(spec["containers"]), ...listOf(spec["initContainers"])].some(
    (container) => objectOf(container)["name"] === SIDECAR_CONTAINER,
  );
}

/** The ReplicaSet `reviews-v1-7d5b8c` with the pod's hash belongs to the Deployment `reviews-v1`. */
function workloadNameOf(pod: KubeObject): string {
  const owners = pod.metadata.ownerReferences ?? [];
  const owner = owners.find((each) => each.controller === true);
  if (owner === undefined) return pod.metadata.name;
  const hash = pod.metadata.labels?.["pod-template-hash"];
  if (owner.kind === "ReplicaSet" && hash !== undefined && owner.name.endsWith(`-${hash}`)) {
    return owner.name.slice(0, -hash.length - 1);
  }
  return owner.name;
}

function containerPortsOf(spec: Readonly<Record<string, unknown>>): readonly ContainerPort[] {
  const ports = new Map<number, ContainerPort>();
  for (const container of listOf(spec["containers"]).map(objectOf)) {
    if (container["name"] === SIDECAR_CONTAINER) continue;
    for (const port of listOf(container["ports"]).map(objectOf)) {
      const number = portOf(port["containerPort"]);
      if (number === undefined || (port["protocol"] ?? "TCP") !== "TCP") continue;
      if (!ports.has(number)) ports.set(number, { number, name: textOf(port["name"]) });
    }
  }
  return [...ports.values()].sort((a, b) => a.number - b.number);
}
