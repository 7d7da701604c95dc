import type {
  HttpRoute as ApiHttpRoute,
  DestinationRuleSpec,
  PeerAuthenticationSpec,
} from "../../api/index.ts";

export type {
  DestinationRuleSpec,
  GatewaySpec,
  PeerAuthenticationSpec,
  VirtualServiceSpec,
} from "../../api/index.ts";

type Element<List> = NonNullable<List> extends readonly (infer Item)[] ? Item : never;
type ApiMatch = Element<ApiHttpRoute["match"]>;

/** How a path is matched: as Istio's StringMatch, a prefix also by whole segments (Gateway API). */
export type PathMatch = NonNullable<ApiMatch["uri"]> & {
  readonly isSegmentPrefix?: boolean | undefined;
};
export type HttpMatchRequest = Omit<ApiMatch, "uri"> & { readonly uri?: PathMatch | undefined };

/** Istio's HTTPRoute, with what only routes of Gateway API ask for. */
export type HttpRoute = Omit<ApiHttpRoute, "match" | "redirect"> & {
  readonly match?: readonly HttpMatchRequest[] | undefined;
  readonly redirect?: HttpRedirect | undefined;
  /** Whether requests to a cluster that is not there get 500, not 503. */
  readonly failsWith500?: boolean | undefined;
  /** The object that the route is of, when that is no VirtualService. */
  readonly origin?: RouteOrigin | undefined;
};

/** A route of Gateway API. */
export interface RouteOrigin {
  readonly kind: string;
  readonly namespace: string;
  readonly name: string;
}

/* Istio's names of the parts that are translated; `api` holds what they are. */
export type HttpRouteDestination = Element<HttpRoute["route"]>;
export type Destination = HttpRouteDestination["destination"];
export type Headers = NonNullable<HttpRoute["headers"]>;
export type HeaderOperations = NonNullable<Headers["request"]>;
/** One of the kinds; none = presence. */
export type StringMatch = NonNullable<ApiMatch["uri"]>;
export type HttpRedirect = NonNullable<ApiHttpRoute["redirect"]> & {
  readonly uriRegexRewrite?: { readonly match: string; readonly rewrite: string } | undefined;
};
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
