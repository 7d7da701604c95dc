import type { StringMap } from "../../api/index.ts";

/** Istio's StringMatch: one of the three; none = presence. */
export interface StringMatch {
  readonly exact?: string | undefined;
  readonly prefix?: string | undefined;
  readonly regex?: string | undefined;
}

export interface Destination {
  readonly host: string;
  readonly subset?: string | undefined;
  readonly port?: { readonly number?: number | undefined } | undefined;
}

export interface HeaderOperations {
  readonly set?: StringMap | undefined;
  readonly add?: StringMap | undefined;
  readonly remove?: readonly string[] | undefined;
}

export interface Headers {
  readonly request?: HeaderOperations | undefined;
  readonly response?: HeaderOperations | undefined;
}

export interface HttpRouteDestination {
  readonly destination: Destination;
  readonly weight?: number | undefined;
  readonly headers?: Headers | undefined;
}

export interface HttpMatchRequest {
  readonly name?: string | undefined;
  readonly uri?: StringMatch | undefined;
  readonly scheme?: StringMatch | undefined;
  readonly method?: StringMatch | undefined;
  readonly authority?: StringMatch | undefined;
  readonly headers?: Readonly<Record<string, StringMatch>> | undefined;
  readonly withoutHeaders?: Readonly<Record<string, StringMatch>> | undefined;
  readonly queryParams?: Readonly<Record<string, StringMatch>> | undefined;
  readonly ignoreUriCase?: boolean | undefined;
  readonly port?: number | undefined;
  readonly sourceLabels?: StringMap | undefined;
  readonly sourceNamespace?: string | undefined;
  readonly gateways?: readonly string[] | undefined;
}

export interface Percent {
  /** 0..100. */
  readonly value?: number | undefined;
}

export interface HttpRedirect {
  readonly uri?: string | undefined;
  readonly authority?: string | undefined;
  readonly port?: number | undefined;
  readonly derivePort?: string | undefined;
  readonly scheme?: string | undefined;
  readonly redirectCode?: number | undefined;
}

export interface HttpRewrite {
  readonly uri?: string | undefined;
  readonly authority?: string | undefined;
  readonly uriRegexRewrite?:
    | { readonly match?: string | undefined; readonly rewrite?: string | undefined }
    | undefined;
}

export interface HttpRetry {
  readonly attempts?: number | undefined;
  readonly perTryTimeout?: string | undefined;
  readonly retryOn?: string | undefined;
  readonly retryIgnorePreviousHosts?: boolean | undefined;
  readonly backoff?: string | undefined;
}

export interface HttpFaultInjection {
  readonly delay?:
    | {
        readonly fixedDelay?: string | undefined;
        readonly percentage?: Percent | undefined;
        readonly percent?: number | undefined;
      }
    | undefined;
  readonly abort?:
    | {
        readonly httpStatus?: number | undefined;
        readonly grpcStatus?: string | undefined;
        readonly percentage?: Percent | undefined;
      }
    | undefined;
}

export interface HttpRoute {
  readonly name?: string | undefined;
  readonly match?: readonly HttpMatchRequest[] | undefined;
  readonly route?: readonly HttpRouteDestination[] | undefined;
  readonly redirect?: HttpRedirect | undefined;
  readonly directResponse?:
    | {
        readonly status: number;
        readonly body?:
          | { readonly string?: string | undefined; readonly bytes?: string | undefined }
          | undefined;
      }
    | undefined;
  readonly rewrite?: HttpRewrite | undefined;
  readonly timeout?: string | undefined;
  readonly retries?: HttpRetry | undefined;
  readonly fault?: HttpFaultInjection | undefined;
  readonly mirror?: Destination | undefined;
  readonly mirrorPercentage?: Percent | undefined;
  readonly mirrorPercent?: number | undefined;
  readonly mirrors?:
    | readonly {
        readonly destination: Destination;
        readonly percentage?: Percent | undefined;
      }[]
    | undefined;
  readonly corsPolicy?: unknown;
  readonly headers?: Headers | undefined;
}

/** networking.istio.io VirtualService, as far as it is translated. */
export interface VirtualServiceSpec {
  readonly hosts: readonly string[];
  readonly gateways?: readonly string[] | undefined;
  readonly exportTo?: readonly string[] | undefined;
  readonly http?: readonly HttpRoute[] | undefined;
  /** Only looked at to say that they do nothing yet. */
  readonly tcp?: unknown;
  readonly tls?: unknown;
}

export interface ConnectionPool {
  readonly tcp?:
    | {
        readonly maxConnections?: number | undefined;
        readonly connectTimeout?: string | undefined;
      }
    | undefined;
  readonly http?:
    | {
        readonly http1MaxPendingRequests?: number | undefined;
        readonly http2MaxRequests?: number | undefined;
        readonly maxRequestsPerConnection?: number | undefined;
        readonly maxRetries?: number | undefined;
        readonly idleTimeout?: string | undefined;
        readonly h2UpgradePolicy?: string | undefined;
        readonly maxConcurrentStreams?: number | undefined;
      }
    | undefined;
}

export interface OutlierDetection {
  readonly consecutiveErrors?: number | undefined;
  readonly consecutive5xxErrors?: number | undefined;
  readonly consecutiveGatewayErrors?: number | undefined;
  readonly splitExternalLocalOriginErrors?: boolean | undefined;
  readonly consecutiveLocalOriginFailures?: number | undefined;
  readonly interval?: string | undefined;
  readonly baseEjectionTime?: string | undefined;
  readonly maxEjectionPercent?: number | undefined;
  readonly minHealthPercent?: number | undefined;
}

export interface ClientTlsSettings {
  readonly mode?: string | undefined;
  readonly clientCertificate?: string | undefined;
  readonly privateKey?: string | undefined;
  readonly caCertificates?: string | undefined;
  readonly subjectAltNames?: readonly string[] | undefined;
  readonly sni?: string | undefined;
}

export interface PolicyBlocks {
  readonly loadBalancer?:
    | {
        readonly simple?: string | undefined;
        /** Only looked at to say that it does nothing yet. */
        readonly consistentHash?: unknown;
      }
    | undefined;
  readonly connectionPool?: ConnectionPool | undefined;
  readonly outlierDetection?: OutlierDetection | undefined;
  readonly tls?: ClientTlsSettings | undefined;
}

export interface TrafficPolicy extends PolicyBlocks {
  readonly portLevelSettings?:
    | readonly (PolicyBlocks & {
        readonly port?: { readonly number?: number | undefined } | undefined;
      })[]
    | undefined;
}

export interface Subset {
  readonly name: string;
  readonly labels?: StringMap | undefined;
  readonly trafficPolicy?: TrafficPolicy | undefined;
}

/** networking.istio.io DestinationRule, as far as it is translated. */
export interface DestinationRuleSpec {
  readonly host: string;
  readonly exportTo?: readonly string[] | undefined;
  readonly trafficPolicy?: TrafficPolicy | undefined;
  readonly subsets?: readonly Subset[] | undefined;
}

export type MutualTlsMode = "UNSET" | "DISABLE" | "PERMISSIVE" | "STRICT";

/** security.istio.io PeerAuthentication. */
export interface PeerAuthenticationSpec {
  readonly selector?: { readonly matchLabels?: StringMap | undefined } | undefined;
  readonly mtls?: { readonly mode?: MutualTlsMode | undefined } | undefined;
  readonly portLevelMtls?:
    | Readonly<Record<string, { readonly mode?: MutualTlsMode | undefined }>>
    | undefined;
}

/** networking.istio.io Gateway, as far as it is translated. */
export interface GatewaySpec {
  readonly selector?: StringMap | undefined;
  readonly servers?:
    | readonly {
        readonly port: { readonly number: number; readonly protocol?: string | undefined };
        readonly hosts: readonly string[];
        readonly tls?:
          | { readonly mode?: string | undefined; readonly httpsRedirect?: boolean | undefined }
          | undefined;
      }[]
    | undefined;
}
