import type { KubeObject } from "../../api/index.ts";

/** What the control plane watches, as last seen; parsed by the model. */
export interface MeshObjects {
  readonly namespaces: readonly KubeObject[];
  readonly services: readonly KubeObject[];
  readonly endpointSlices: readonly KubeObject[];
  readonly pods: readonly KubeObject[];
  readonly nodes: readonly KubeObject[];
  readonly virtualServices: readonly KubeObject[];
  readonly destinationRules: readonly KubeObject[];
  readonly gateways: readonly KubeObject[];
  readonly serviceEntries: readonly KubeObject[];
  readonly workloadEntries: readonly KubeObject[];
  readonly sidecars: readonly KubeObject[];
  /** Those that may hold a certificate. */
  readonly secrets: readonly KubeObject[];
  /** ConfigMaps named `istio`; their `data.mesh`, read as YAML, is in the field `mesh`. */
  readonly meshConfigs: readonly KubeObject[];
  readonly peerAuthentications: readonly KubeObject[];
  readonly requestAuthentications: readonly KubeObject[];
  readonly authorizationPolicies: readonly KubeObject[];
  readonly telemetries: readonly KubeObject[];
  readonly gatewayClasses: readonly KubeObject[];
  /** Of Gateway API. */
  readonly kubernetesGateways: readonly KubeObject[];
  readonly httpRoutes: readonly KubeObject[];
  readonly grpcRoutes: readonly KubeObject[];
  readonly tcpRoutes: readonly KubeObject[];
  readonly tlsRoutes: readonly KubeObject[];
  readonly referenceGrants: readonly KubeObject[];
}
