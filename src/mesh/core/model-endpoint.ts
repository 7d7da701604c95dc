import type { StringMap } from "../../api/index.ts";
import type { Locality } from "./model-locality.ts";
import type { Workload } from "./model-workloads.ts";

/** One address behind a service port. */
export interface MeshEndpoint {
  /** An IP address, or a name where the service is resolved by DNS. */
  readonly address: string;
  readonly port: number;
  readonly isReady: boolean;
  /** The pod or WorkloadEntry behind it, when it is known. */
  readonly workload: Workload | undefined;
  /** What subsets select by. */
  readonly labels: StringMap;
  readonly locality: Locality;
  /** At least 1. */
  readonly weight: number;
  /** Whether it takes mutual TLS of the mesh. */
  readonly takesMutualTls: boolean;
}

/** The endpoint that a workload is at one of its ports. */
export function endpointOf(
  workload: Workload,
  at: { readonly address: string; readonly port: number; readonly isReady: boolean },
): MeshEndpoint {
  return {
    ...at,
    workload,
    labels: workload.labels,
    locality: workload.locality,
    weight: workload.weight,
    takesMutualTls: workload.hasSidecar,
  };
}
