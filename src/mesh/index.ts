/** The control plane: watches the Kubernetes API, serves xDS, takes telemetry, writes route status. */
export { type ControlPlane, type ControlPlaneOptions, startControlPlane } from "./control-plane.ts";
export type { Authenticator, SecretSource, WorkloadIdentity } from "./identity.ts";
export type { ProxySeries, ProxyTelemetry } from "./metrics-service.ts";
export {
  type RootCertificatePublisherOptions,
  startRootCertificatePublisher,
} from "./root-certificate-publisher.ts";
