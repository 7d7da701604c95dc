/** The control plane: watches the Kubernetes API, serves xDS, takes telemetry, writes route status. */
export { checkResource, isChecked } from "./admission.ts";
export {
  type AnalyzedObjects,
  analyzeWith,
  noObjects,
  readAnalyzedObjects,
} from "./analysis.ts";
export { type ControlPlane, type ControlPlaneOptions, startControlPlane } from "./control-plane.ts";
export { ANALYZERS, resourceName } from "./core/analyze/analyze.ts";
export { schemaFindings } from "./core/analyze/analyzers/schema.ts";
export type { Finding } from "./core/analyze/context.ts";
export { isAtLeast, LEVELS, type Level, MESSAGES } from "./core/analyze/messages.ts";
export type { AccessDecision, RuleVerdict } from "./core/explain/authorization.ts";
export {
  describeIngress,
  type ExposureDescription,
  type OutsideAddress,
} from "./core/explain/describe-ingress.ts";
export { describePod, type PodDescription } from "./core/explain/describe-pod.ts";
export {
  describeService,
  leadsTo,
  type RoutesDescription,
  type RuleDescription,
  type ServiceDescription,
} from "./core/explain/describe-service.ts";
export {
  type ExplainedDestination,
  type ExplainedEndpoint,
  type ExplainedRoute,
  type Explanation,
  explain,
} from "./core/explain/explain.ts";
export type { Outcome } from "./core/explain/outcome.ts";
export {
  authorizationOverview,
  type PolicyOverview,
} from "./core/explain/policy-overview.ts";
export type { DataPlane, EndpointHealth, RequestHead } from "./core/explain/question.ts";
export {
  checkTls,
  serviceNamed,
  type TlsCheck,
  viewFor,
} from "./core/explain/tls-check.ts";
export type { InjectionSettings } from "./core/injection-patch.ts";
export { injectTemplate, templateOf } from "./core/injection-template.ts";
export type { MeshObjects } from "./core/mesh-objects.ts";
export { buildModel, type MeshModel } from "./core/model.ts";
export type { MeshService } from "./core/model-services.ts";
export type { Workload } from "./core/model-workloads.ts";
export type { Authenticator, SecretSource, WorkloadIdentity } from "./identity.ts";
export { parseInjectionSettings, readInjectionSettings } from "./injection-settings.ts";
export type { ProxySeries, ProxyTelemetry } from "./metrics-service.ts";
export { readMesh, withApplied } from "./read-mesh.ts";
export {
  type RootCertificatePublisherOptions,
  startRootCertificatePublisher,
} from "./root-certificate-publisher.ts";
