import type { DestinationRuleSpec, HttpRoute, PeerAuthenticationSpec } from "../../api/index.ts";

export type {
  DestinationRuleSpec,
  GatewaySpec,
  HttpRoute,
  PeerAuthenticationSpec,
  VirtualServiceSpec,
} from "../../api/index.ts";

type Element<List> = NonNullable<List> extends readonly (infer Item)[] ? Item : never;

/* Istio's names of the parts that are translated; `api` holds what they are. */
export type HttpMatchRequest = Element<HttpRoute["match"]>;
export type HttpRouteDestination = Element<HttpRoute["route"]>;
export type Destination = HttpRouteDestination["destination"];
export type Headers = NonNullable<HttpRoute["headers"]>;
export type HeaderOperations = NonNullable<Headers["request"]>;
/** One of the kinds; none = presence. */
export type StringMatch = NonNullable<HttpMatchRequest["uri"]>;
export type HttpRedirect = NonNullable<HttpRoute["redirect"]>;
export type HttpRetry = NonNullable<HttpRoute["retries"]>;
export type HttpFaultInjection = NonNullable<HttpRoute["fault"]>;
/** 0..100. */
export type Percent = NonNullable<HttpRoute["mirrorPercentage"]>;
export type CorsPolicy = NonNullable<HttpRoute["corsPolicy"]>;

export type TrafficPolicy = NonNullable<DestinationRuleSpec["trafficPolicy"]>;
export type Subset = Element<DestinationRuleSpec["subsets"]>;
/** What a policy and its settings of a port have in common. */
export type PolicyBlocks = Pick<
  TrafficPolicy,
  "loadBalancer" | "connectionPool" | "outlierDetection" | "tls" | "retryBudget"
>;
export type LocalityLbSetting = NonNullable<
  NonNullable<PolicyBlocks["loadBalancer"]>["localityLbSetting"]
>;
export type OutlierDetection = NonNullable<PolicyBlocks["outlierDetection"]>;
export type ClientTlsSettings = NonNullable<PolicyBlocks["tls"]>;

export type MutualTlsMode = NonNullable<NonNullable<PeerAuthenticationSpec["mtls"]>["mode"]>;
