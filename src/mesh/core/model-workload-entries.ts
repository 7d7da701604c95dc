import type { KubeObject, StringMap, WorkloadEntrySpec } from "../../api/index.ts";
import { parseLocality } from "./model-locality.ts";
import type { Workload } from "./model-workloads.ts";

/** A WorkloadEntry: a workload that is no pod. */
export interface MeshWorkloadEntry {
  /** "" when it is reached through another network's gateway only. */
  readonly address: string;
  /** By name of a service's port. */
  readonly ports: Readonly<Record<string, number>>;
  readonly workload: Workload;
}

/** Reads a WorkloadEntry; its labels are those of the spec and of the object, the spec's first. */
export function workloadEntryFrom(
  { metadata }: KubeObject,
  spec: WorkloadEntrySpec,
): MeshWorkloadEntry {
  const { name, namespace = "default" } = metadata;
  const labels: StringMap = { ...metadata.labels, ...spec.labels };
  return {
    address: spec.address ?? "",
    ports: spec.ports ?? {},
    workload: {
      podName: name,
      namespace,
      labels,
      serviceAccount: spec.serviceAccount ?? "",
      workloadName: name,
      canonicalService:
        labels["service.istio.io/canonical-name"] ??
        labels["app.kubernetes.io/name"] ??
        labels["app"] ??
        name,
      canonicalRevision:
        labels["service.istio.io/canonical-revision"] ??
        labels["app.kubernetes.io/version"] ??
        labels["version"] ??
        "latest",
      hasSidecar: takesMutualTls(labels, spec.serviceAccount),
      containerPorts: [],
      address: spec.address ?? "",
      isReady: true,
      locality: parseLocality(spec.locality ?? ""),
      weight: Math.max(1, spec.weight ?? 1),
    },
  };
}

/** Istio: who names a service account has a certificate of the mesh, unless a label denies it. */
export function takesMutualTls(labels: StringMap, serviceAccount: string | undefined): boolean {
  const mode = labels["security.istio.io/tlsMode"];
  return mode === undefined ? (serviceAccount ?? "") !== "" : mode === "istio";
}
