import type { ResourceType } from "./meta.ts";

const core = (kind: string, plural: string, namespaced = true): ResourceType => ({
  group: "",
  version: "v1",
  kind,
  plural,
  namespaced,
});
const of = (
  group: string,
  version: string,
  kind: string,
  plural: string,
  namespaced = true,
): ResourceType => ({ group, version, kind, plural, namespaced });

/** The kinds Serin itself reads or writes, in the version it asks for. */
export const RESOURCES = {
  namespace: core("Namespace", "namespaces", false),
  node: core("Node", "nodes", false),
  pod: core("Pod", "pods"),
  service: core("Service", "services"),
  endpoints: core("Endpoints", "endpoints"),
  configMap: core("ConfigMap", "configmaps"),
  secret: core("Secret", "secrets"),
  serviceAccount: core("ServiceAccount", "serviceaccounts"),
  event: core("Event", "events"),
  deployment: of("apps", "v1", "Deployment", "deployments"),
  replicaSet: of("apps", "v1", "ReplicaSet", "replicasets"),
  endpointSlice: of("discovery.k8s.io", "v1", "EndpointSlice", "endpointslices"),
  lease: of("coordination.k8s.io", "v1", "Lease", "leases"),
  tokenReview: of("authentication.k8s.io", "v1", "TokenReview", "tokenreviews", false),
  customResourceDefinition: of(
    "apiextensions.k8s.io",
    "v1",
    "CustomResourceDefinition",
    "customresourcedefinitions",
    false,
  ),
  mutatingWebhookConfiguration: of(
    "admissionregistration.k8s.io",
    "v1",
    "MutatingWebhookConfiguration",
    "mutatingwebhookconfigurations",
    false,
  ),
  validatingWebhookConfiguration: of(
    "admissionregistration.k8s.io",
    "v1",
    "ValidatingWebhookConfiguration",
    "validatingwebhookconfigurations",
    false,
  ),
  canary: of("serin.dev", "v1", "Canary", "canaries"),
  metricTemplate: of("serin.dev", "v1", "MetricTemplate", "metrictemplates"),
  alertProvider: of("serin.dev", "v1", "AlertProvider", "alertproviders"),
  flaggerCanary: of("flagger.app", "v1beta1", "Canary", "canaries"),
  flaggerMetricTemplate: of("flagger.app", "v1beta1", "MetricTemplate", "metrictemplates"),
  flaggerAlertProvider: of("flagger.app", "v1beta1", "AlertProvider", "alertproviders"),
  virtualService: of("networking.istio.io", "v1beta1", "VirtualService", "virtualservices"),
  destinationRule: of("networking.istio.io", "v1beta1", "DestinationRule", "destinationrules"),
  gateway: of("networking.istio.io", "v1beta1", "Gateway", "gateways"),
  peerAuthentication: of(
    "security.istio.io",
    "v1beta1",
    "PeerAuthentication",
    "peerauthentications",
  ),
  requestAuthentication: of(
    "security.istio.io",
    "v1beta1",
    "RequestAuthentication",
    "requestauthentications",
  ),
  authorizationPolicy: of(
    "security.istio.io",
    "v1beta1",
    "AuthorizationPolicy",
    "authorizationpolicies",
  ),
} as const satisfies Record<string, ResourceType>;
