/** Resource contracts: zod schemas, types, defaults, CRDs; pure. */
export { allCustomResourceDefinitions } from "./definitions.ts";
export {
  parseTcpRoute,
  parseTlsRoute,
  type TcpRouteSpec,
  type TlsRouteSpec,
  tcpRouteSpec,
  tlsRouteSpec,
} from "./gateway-api/connection-routes.ts";
export type {
  Cors,
  HeaderModifier,
  HttpFilter,
  PathModifier,
  RequestRedirect,
} from "./gateway-api/filters.ts";
export {
  type GatewayListener,
  type KubernetesGatewaySpec,
  kubernetesGatewaySpec,
  parseKubernetesGateway,
} from "./gateway-api/gateway.ts";
export {
  type GatewayClassSpec,
  gatewayClassSpec,
  parseGatewayClass,
} from "./gateway-api/gateway-class.ts";
export {
  type GrpcRouteMatch,
  type GrpcRouteRule,
  type GrpcRouteSpec,
  grpcRouteSpec,
  parseGrpcRoute,
} from "./gateway-api/grpc-route.ts";
export {
  type HttpRouteMatch,
  type HttpRouteRule,
  type HttpRouteSpec,
  httpRouteSpec,
  parseHttpRoute,
} from "./gateway-api/http-route.ts";
export {
  parseReferenceGrant,
  type ReferenceGrantSpec,
  referenceGrantSpec,
} from "./gateway-api/reference-grant.ts";
export { type BackendRef, GATEWAY_API_GROUP, type ParentRef } from "./gateway-api/references.ts";
export {
  type AuthorizationCondition,
  type AuthorizationOperation,
  type AuthorizationPolicySpec,
  type AuthorizationRule,
  type AuthorizationSource,
  authorizationPolicySpec,
  parseAuthorizationPolicy,
} from "./istio/authorization-policy.ts";
export {
  type DestinationRuleSpec,
  destinationRuleSpec,
  parseDestinationRule,
} from "./istio/destination-rule.ts";
export { type GatewaySpec, gatewaySpec, parseGateway } from "./istio/gateway.ts";
export { localityLbSetting } from "./istio/locality.ts";
export {
  type PeerAuthenticationSpec,
  parsePeerAuthentication,
  peerAuthenticationSpec,
} from "./istio/peer-authentication.ts";
export {
  type JwtRule,
  parseRequestAuthentication,
  type RequestAuthenticationSpec,
  requestAuthenticationSpec,
} from "./istio/request-authentication.ts";
export {
  parseServiceEntry,
  type ServiceEntrySpec,
  serviceEntrySpec,
} from "./istio/service-entry.ts";
export { parseSidecar, type SidecarSpec, sidecarSpec } from "./istio/sidecar.ts";
export {
  parseTelemetry,
  type TelemetryCustomTag,
  type TelemetrySpec,
  telemetrySpec,
} from "./istio/telemetry.ts";
export {
  type HttpRoute,
  parseVirtualService,
  type VirtualServiceSpec,
  virtualServiceSpec,
} from "./istio/virtual-service.ts";
export {
  parseWorkloadEntry,
  type WorkloadEntrySpec,
  workloadEntrySpec,
} from "./istio/workload-entry.ts";
export {
  parseWorkloadGroup,
  type WorkloadGroupSpec,
  workloadGroupSpec,
} from "./istio/workload-group.ts";
export {
  apiVersionOf,
  type KubeObject,
  type LabelSelector,
  matchesSelector,
  type ObjectMeta,
  type OwnerReference,
  type ResourceType,
  type StringMap,
} from "./meta.ts";
export { nearestOf } from "./parse-resource.ts";
export { RESOURCES } from "./resources.ts";
export {
  type AlertProviderSpec,
  alertProviderSpec,
  parseAlertProvider,
} from "./serin/alert-provider.ts";
export { type CanaryObjectSpec, canarySpec, parseCanary } from "./serin/canary.ts";
export {
  type MetricTemplateSpec,
  metricTemplateSpec,
  parseMetricTemplate,
} from "./serin/metric-template.ts";
