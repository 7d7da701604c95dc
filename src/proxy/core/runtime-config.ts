/**
 * The compiled configuration: what xDS resources become before the data path sees them. The xDS side
 * (`config/`) builds these values; the data path (`net/`, `http1/`, `upstream/`, `pipeline.ts`)
 * only reads them. Everything is immutable: a change makes a new value and swaps it in, and a
 * request keeps the values it started with.
 */

import type { envoy_config_core_v3_Metadata } from "../../xds/index.ts";
import type { SlowStartConfig } from "./balance/slow-start.ts";
import type { CidrRange } from "./cidr.ts";
import type { CircuitThresholds } from "./circuit.ts";
import type { CorsPolicy } from "./cors.ts";
import type { HashPolicy } from "./hash-policy.ts";
import type { HeaderValues } from "./header-match.ts";
import type { HealthCheckConfig } from "./health-check.ts";
import type { HostNormalization } from "./host-normalization.ts";
import type { HostRewrite } from "./host-rewrite.ts";
import type { JwtRequirement } from "./jwt.ts";
import type { DynamicMetadata } from "./metadata.ts";
import type { OutlierDetectionConfig } from "./outlier.ts";
import type { PathNormalization } from "./path-normalization.ts";
import type { NameMatcher } from "./peer-names.ts";
import type { RateLimitRule } from "./rate-limit-rules.ts";
import type { RbacConfig } from "./rbac.ts";
import type { RateLimitedBackoff } from "./retry-policy.ts";
import type { RouteTimeouts } from "./route-timeouts.ts";
import type { StatefulSession } from "./session-state.ts";
import type { TlsParameters } from "./tls-parameters.ts";
import type { TokenBucketConfig } from "./token-bucket.ts";
import type { Decorator, RequestIdConfig, RouteTracing, TracingConfig } from "./tracing/config.ts";
import type { UpgradeRules } from "./upgrade.ts";

/** The metadata of an xDS resource, read when an access log asks for it. */
export type ResourceMetadata = envoy_config_core_v3_Metadata;

/** What access logs say about a certificate; names are RFC 2253, digests lower-case hexadecimal. */
export interface CertificateFacts {
  readonly subject: string;
  readonly issuer: string;
  readonly serial: string;
  readonly fingerprint1: string;
  readonly urlEncodedPem: string;
  /** Since the epoch. */
  readonly validFromMs: number;
  readonly validToMs: number;
  readonly uris: readonly string[];
  readonly dnsNames: readonly string[];
  readonly ips: readonly string[];
  readonly emails: readonly string[];
}

/** What access logs say about a TLS connection. */
export interface TlsFacts {
  readonly version: string;
  readonly cipher: string;
  readonly peer: CertificateFacts | undefined;
  readonly local: CertificateFacts | undefined;
}

/** One matcher of a header or query parameter, compiled; `headerMatches` asks it about headers. */
export interface HeaderMatcher {
  readonly name: string;
  /** `matches` is the opposite of what the matcher says; absent = false. */
  readonly isInverted?: boolean;
  matches(value: string | undefined): boolean;
}

export type PathMatcher =
  | { readonly kind: "exact"; readonly path: string; readonly ignoreCase: boolean }
  | { readonly kind: "prefix"; readonly prefix: string; readonly ignoreCase: boolean }
  | { readonly kind: "pathSeparatedPrefix"; readonly prefix: string; readonly ignoreCase: boolean }
  /** With `variables` it came of a path template: the names of its groups. */
  | { readonly kind: "regex"; readonly regex: RegExp; readonly variables?: readonly string[] }
  /** Requests with the method CONNECT, and no others. */
  | { readonly kind: "connect" };

export interface RetryPolicy {
  /** Envoy's retry_on tokens, split: `5xx`, `reset`, `connect-failure`, `gateway-error`, … */
  readonly retryOn: ReadonlySet<string>;
  readonly retriableStatusCodes: ReadonlySet<number>;
  /** Of the response; one is enough. */
  readonly retriableHeaders: readonly HeaderMatcher[];
  /** Of the request; where there are any, one must match or nothing is retried. */
  readonly retriableRequestHeaders: readonly HeaderMatcher[];
  /** Retries beyond the first try. */
  readonly numRetries: number;
  /** 0 = bounded by the route's timeout only. */
  readonly perTryTimeoutMs: number;
  /** A try without progress for so long is given up; 0 = never. */
  readonly perTryIdleTimeoutMs: number;
  readonly backoffBaseMs: number;
  readonly backoffMaxMs: number;
  /** `envoy.retry_host_predicates.previous_hosts`. */
  readonly avoidPreviousHosts: boolean;
  /** `envoy.retry_host_predicates.omit_canary_hosts`. */
  readonly omitsCanaryHosts: boolean;
  /** `envoy.retry_priorities.previous_priorities`. */
  readonly previousPriorities: { readonly updateFrequency: number } | undefined;
  readonly rateLimitedBackoff: RateLimitedBackoff | undefined;
  readonly hostSelectionRetryMaxAttempts: number;
}

/** One header to write. */
export interface HeaderEdit {
  /** Lower case. */
  readonly name: string;
  /** One byte per character. A function makes it of what is known at that moment; "" = nothing. */
  readonly value: string | ((record: AccessLogRecord) => string);
  /** Replaces what is there; else it is added to it. */
  readonly isOverwrite: boolean;
  readonly when: "always" | "present" | "absent";
  /** An empty value is written too. */
  readonly keepsEmpty: boolean;
}

/** What one level of the configuration does to headers: first it removes, then overwrites, then adds. */
export interface HeaderEdits {
  /** Lower case. */
  readonly remove: readonly string[];
  /** Those that overwrite stand first. */
  readonly edits: readonly HeaderEdit[];
  /** No edit looks at the headers or the request. */
  readonly isPlain: boolean;
}

/** What is done to headers, level by level: what comes later wins. */
export type HeaderMutation = readonly HeaderEdits[];

export interface WeightedClusterChoice {
  readonly cluster: string;
  /** The request header that names the cluster, in place of `cluster`. Lower case. */
  readonly clusterHeader?: string;
  readonly weight: number;
  /** Where the route has none. */
  readonly hostRewrite: string | undefined;
  readonly requestHeaders: HeaderMutation | undefined;
  readonly responseHeaders: HeaderMutation | undefined;
  /** Before the route's. */
  readonly filterOverrides: ReadonlyMap<string, FilterOverride> | undefined;
}

export interface MirrorPolicy {
  readonly cluster: string;
  /** 0..1 */
  readonly fraction: number;
  readonly appendShadowSuffix: boolean;
}

/** What decides among the clusters of a route, by their weights. */
export type ClusterChoice =
  | { readonly kind: "random" }
  | { readonly kind: "hash" }
  | { readonly kind: "header"; readonly name: string };

export type RouteActionConfig =
  | {
      readonly kind: "forward";
      /** One entry for a plain `cluster`. `totalWeight` is the sum. */
      readonly clusters: readonly WeightedClusterChoice[];
      readonly totalWeight: number;
      /** What picks among several clusters: chance, the hash policies, or a header with a number. */
      readonly clusterChoice: ClusterChoice;
      readonly timeouts: RouteTimeouts;
      /** In place of the connection manager's; undefined = that. 0 = none. */
      readonly idleTimeoutMs: number | undefined;
      /** Counts against the cluster's limits for priority HIGH. */
      readonly isHighPriority: boolean;
      readonly retry: RetryPolicy | undefined;
      readonly prefixRewrite: string | undefined;
      /** `substitution` in JavaScript's notation (`$1`). */
      readonly regexRewrite:
        | { readonly pattern: RegExp; readonly substitution: string }
        | undefined;
      readonly hostRewrite: HostRewrite | undefined;
      readonly mirrors: readonly MirrorPolicy[];
      /** What a consistent hashing balancer places the request by. */
      readonly hashPolicies: readonly HashPolicy[];
      /** What rate limits tell the requests apart by. */
      readonly rateLimits?: readonly RateLimitRule[] | undefined;
      /** The virtual host's rules count too, whatever the filter says. */
      readonly includesHostRateLimits?: boolean;
      /** Status when the cluster does not exist (503 by default). */
      readonly clusterNotFoundStatus: number;
      /** Undefined: the connection manager's count. */
      readonly upgrades?: UpgradeRules | undefined;
      /** A CONNECT ends here and becomes a raw connection to the cluster (connect_config). */
      readonly terminatesConnect?: boolean;
    }
  | { readonly kind: "direct"; readonly status: number; readonly body: Buffer }
  | {
      readonly kind: "redirect";
      readonly status: number;
      /** `scheme` of the request as the client sees it. */
      location(path: string, host: string, scheme: string): string;
    };

/** Faults to inject on purpose: first the delay, then the abort. */
export interface FaultConfig {
  /** `fraction` 0..1 of the requests wait. */
  readonly delay: { readonly durationMs: number; readonly fraction: number } | undefined;
  /** `fraction` 0..1 of the requests are answered with `status`; `grpcStatus` is for gRPC clients. */
  readonly abort:
    | {
        readonly status: number;
        readonly grpcStatus: number | undefined;
        readonly fraction: number;
      }
    | undefined;
  /** Only requests that all of these match. */
  readonly headers: readonly HeaderMatcher[];
  /** Only requests for this cluster. */
  readonly upstreamCluster: string | undefined;
}

/** The jwt_authn filter. */
export interface JwtConfig {
  /** The first that matches decides; none = nothing is asked for. */
  readonly rules: readonly (Pick<RouteConfig, "path" | "headers" | "queryParameters"> & {
    readonly requirement: JwtRequirement | undefined;
  })[];
  /** For routes that name theirs. */
  readonly named: ReadonlyMap<string, JwtRequirement>;
  readonly bypassCorsPreflight: boolean;
  /** Refusals say nothing about why. */
  readonly stripFailureResponse: boolean;
  /** Headers that carry claims: no client may set them. */
  readonly sanitizedHeaders: readonly string[];
}

/** The local_ratelimit filter. */
export interface LocalRateLimitConfig {
  readonly statPrefix: string;
  readonly status: number;
  /** Undefined = no limit. */
  readonly bucket: TokenBucketConfig | undefined;
  /** Buckets for requests with these descriptors, by `descriptorKey`. */
  readonly descriptors: ReadonlyMap<string, TokenBucketConfig>;
  readonly stage: number;
  /** When the virtual host's rules count beside the route's; `override`: where the route has none. */
  readonly virtualHostRules: "override" | "include" | "ignore";
  /** Requests with a descriptor take a token of `bucket` too. */
  readonly alwaysTakesDefault: boolean;
  /** 0..1 of the requests are looked at. */
  readonly enabledFraction: number;
  /** 0..1 of those over the limit are refused. */
  readonly enforcedFraction: number;
  readonly isPerConnection: boolean;
  readonly requestHeadersWhenNotEnforced: HeaderMutation | undefined;
  readonly responseHeaders: HeaderMutation | undefined;
  readonly hasRateLimitHeaders: boolean;
  /** gRPC clients hear RESOURCE_EXHAUSTED, not UNAVAILABLE. */
  readonly isResourceExhausted: boolean;
}

type FilterKind =
  | { readonly kind: "cors" }
  | { readonly kind: "fault"; readonly fault: FaultConfig }
  | { readonly kind: "rbac"; readonly rbac: RbacConfig }
  | { readonly kind: "jwt"; readonly jwt: JwtConfig }
  | { readonly kind: "localRateLimit"; readonly limit: LocalRateLimitConfig }
  | { readonly kind: "statefulSession"; readonly session: StatefulSession };

/** A filter between route match and router. */
export type HttpFilterConfig = FilterKind & {
  /** Routes name it by this. */
  readonly name: string;
  /** Only routes that configure it have it. */
  readonly isDisabled: boolean;
};

/** What a route, virtual host or weighted cluster wants of a filter. */
export type FilterOverride =
  | { readonly kind: "disabled" }
  | { readonly kind: "cors"; readonly cors: CorsPolicy | undefined }
  | { readonly kind: "fault"; readonly fault: FaultConfig }
  | { readonly kind: "rbac"; readonly rbac: RbacConfig }
  /** Without a name nothing is asked for. */
  | { readonly kind: "jwt"; readonly requirementName: string | undefined }
  | { readonly kind: "localRateLimit"; readonly limit: LocalRateLimitConfig }
  | { readonly kind: "statefulSession"; readonly session: StatefulSession };

export interface RouteConfig {
  readonly name: string;
  readonly path: PathMatcher;
  readonly headers: readonly HeaderMatcher[];
  /** Of the requests that match otherwise, 0..1 take the route; undefined = all. */
  readonly fraction?: number | undefined;
  /** On the first value of each parameter, as sent (not decoded). */
  readonly queryParameters: readonly HeaderMatcher[];
  readonly action: RouteActionConfig;
  /** What filters do for this route in place of their own configuration, by their names. */
  readonly filterOverrides: ReadonlyMap<string, FilterOverride>;
  readonly requestHeaders: HeaderMutation | undefined;
  readonly responseHeaders: HeaderMutation | undefined;
  readonly tracing?: RouteTracing | undefined;
  readonly decorator?: Decorator | undefined;
  /** What the control plane says of the route. */
  readonly metadata?: DynamicMetadata | undefined;
}

export interface VirtualHostConfig {
  readonly name: string;
  readonly routes: readonly RouteConfig[];
  readonly includeAttemptCount: boolean;
  /** Requests without TLS are redirected: all, or those that do not come from within. */
  readonly requiresTls?: "all" | "external" | undefined;
  readonly metadata?: DynamicMetadata | undefined;
  readonly rateLimits?: readonly RateLimitRule[] | undefined;
}

/** A compiled RouteConfiguration. */
export interface RouteTable {
  readonly name: string;
  /** Envoy's order: exact host, longest suffix wildcard, longest prefix wildcard, "*". Lower case. */
  virtualHost(authority: string): VirtualHostConfig | undefined;
}

/** envoy.config.core.v3.HealthStatus */
export type EdsHealth = "UNKNOWN" | "HEALTHY" | "UNHEALTHY" | "DRAINING" | "TIMEOUT" | "DEGRADED";

/** Where endpoints are; all of one locality and priority share the object. */
export interface LocalityConfig {
  /** `region/zone/sub zone` */
  readonly key: string;
  /** Counts in clusters that weigh localities; 0 = it takes nothing there. */
  readonly weight: number;
}

/** The endpoints of a cluster and what the control plane says about them all. */
export interface LoadAssignment {
  readonly endpoints: readonly EndpointConfig[];
  /** Percent; Envoy's default is 140. */
  readonly overprovisioningFactor: number;
}

/** How Envoy ranks an address: the key of an endpoint is `ip:port`. */
export interface EndpointConfig {
  readonly key: string;
  readonly address: string;
  readonly port: number;
  readonly weight: number;
  readonly priority: number;
  /** What the control plane says of its health, in xDS's words. */
  readonly edsHealth: EdsHealth;
  readonly locality: LocalityConfig;
  /** The name it is known by, where it has one; "" = none. */
  readonly hostname: string;
  readonly isCanary: boolean;
  /** Where its health checks go, in place of its address's port and name. */
  readonly healthCheck?: {
    readonly port: number | undefined;
    readonly hostname: string;
    readonly isDisabled: boolean;
  };
  /** The `envoy.transport_socket_match` metadata, e.g. {tlsMode: "istio"}. */
  readonly transportSocketMatch: Readonly<Record<string, string>>;
  /** Workload labels for telemetry, from the `istio` metadata. */
  readonly peer: PeerInfo | undefined;
  readonly metadata?: ResourceMetadata | undefined;
}

/** Who is at the other end, in the words of Istio's metric labels; missing values are "unknown". */
export interface PeerInfo {
  readonly workload: string;
  readonly namespace: string;
  readonly canonicalService: string;
  readonly canonicalRevision: string;
  readonly app: string;
  readonly version: string;
  readonly cluster: string;
  readonly principal: string;
}

/** The TLS side of a cluster or filter chain; PEM material already delivered by SDS or inline. */
/** Certificates by what cannot be forged; one of either list is enough. */
export interface CertificatePins {
  /** SHA-256 of the certificate (DER), lower-case hexadecimal. */
  readonly certificateHashes: readonly string[];
  /** SHA-256 of the key (SubjectPublicKeyInfo, DER), base64. */
  readonly keyHashes: readonly string[];
}

export interface TlsConfig {
  readonly certificateChainPem: string | undefined;
  readonly privateKeyPem: string | undefined;
  readonly trustedCaPem: string | undefined;
  /** The peer must present one of these names; empty = any certificate of the CA. */
  readonly subjectAltNames: readonly NameMatcher[];
  /** The peer's certificate or its key must be one of these, where there are any. */
  readonly pins?: CertificatePins | undefined;
  readonly parameters?: TlsParameters | undefined;
  readonly requireClientCertificate: boolean;
  readonly sni: string | undefined;
  readonly alpnProtocols: readonly string[];
  /** Changes whenever the material changes: cache key of the SecureContext. */
  readonly version: string;
}

export interface ClusterConfig {
  readonly name: string;
  readonly altStatName: string;
  readonly metadata?: ResourceMetadata | undefined;
  readonly connectTimeoutMs: number;
  readonly lbPolicy: "round_robin" | "least_request" | "random" | "ring_hash" | "maglev";
  readonly leastRequestChoices: number;
  /** How much requests in flight take from a host's weight; 0 = nothing. */
  readonly activeRequestBias: number;
  /** Undefined: new hosts get their whole share at once. */
  readonly slowStart: SlowStartConfig | undefined;
  /** Localities take their weight's share before hosts do. */
  readonly isLocalityWeighted: boolean;
  readonly ringSize: { readonly minimum: number; readonly maximum: number };
  /** A prime number. */
  readonly maglevTableSize: number;
  readonly endpoints: readonly EndpointConfig[];
  /** Percent by which a priority's and locality's healthy hosts may make up for the others. */
  readonly overprovisioningFactor: number;
  /** The address of ours from which connections to the hosts come. */
  readonly bindAddress?: string | undefined;
  /** After how long of silence connections are probed; undefined = never. */
  readonly keepAliveMs?: number | undefined;
  /**
   * Hosts are where connections were going, or what this header of a request says (ORIGINAL_DST), or
   * the host that the request asks for, an address or a name (dynamic forward proxy).
   */
  readonly originalDst?:
    | {
        readonly header: string | undefined;
        readonly port: number | undefined;
        /** Set for a dynamic forward proxy: the port where the request names none. */
        readonly requestedPort?: number;
      }
    | undefined;
  /** First match wins, then `defaultTls`. `undefined` = plain text. */
  tlsFor(endpoint: EndpointConfig): TlsConfig | undefined;
  readonly circuitBreaker: CircuitThresholds;
  /** For routes of priority HIGH. */
  readonly highPriorityCircuitBreaker: CircuitThresholds;
  readonly maxConnectionsPerHost: number;
  /** `downstream`: the request's own; `auto`: what TLS negotiates. */
  readonly protocol: "http1" | "http2" | "downstream" | "auto";
  /** Whether HTTP/1.1's trailers pass, both ways; else they end here. */
  readonly http1Trailers?: boolean;
  readonly http2: Http2Options;
  /** 0 = unlimited. */
  readonly maxRequestsPerConnection: number;
  /** A connection takes no request beyond this age; 0 = unlimited. */
  readonly maxConnectionDurationMs: number;
  readonly idleTimeoutMs: number;
  /** 0..100; below it all endpoints are used, unhealthy ones too. */
  readonly healthyPanicThresholdPercent: number;
  /** Undefined: hosts are not asked how they are. */
  readonly healthCheck: HealthCheckConfig | undefined;
  /** A host that the control plane takes out is out, though it passes its checks. */
  readonly ignoreHealthOnHostRemoval: boolean;
  /** Undefined: hosts are never put out for what they answer. */
  readonly outlierDetection: OutlierDetectionConfig | undefined;
  /** `istio` metadata of the cluster: the service it stands for. */
  readonly service:
    | { readonly host: string; readonly name: string; readonly namespace: string }
    | undefined;
}

/** What an HTTP/2 endpoint announces and enforces; sizes in bytes. */
export interface Http2Options {
  readonly maxConcurrentStreams: number;
  readonly initialStreamWindowBytes: number;
  readonly initialConnectionWindowBytes: number;
  /** RFC 8441 and CONNECT: streams may become tunnels. */
  readonly allowsConnect?: boolean;
}

export interface HttpConnectionManagerConfig {
  readonly kind: "http";
  /** `auto`: by ALPN, else by the first bytes. */
  readonly codec: "auto" | "http1" | "http2";
  readonly http2: Http2Options;
  readonly statPrefix: string;
  /** The route table now; it may be replaced while connections live, so read it per request. */
  routeTable(): RouteTable | undefined;
  readonly useRemoteAddress: boolean;
  readonly xffTrustedHops: number;
  /** Whose requests may say how they are to be treated; undefined = nobody's. */
  readonly isInternalAddress?: ((ip: string) => boolean) | undefined;
  readonly skipXffAppend: boolean;
  readonly generateRequestId: boolean;
  readonly preserveExternalRequestId: boolean;
  readonly alwaysSetRequestIdInResponse?: boolean;
  readonly requestId?: RequestIdConfig;
  /** Undefined: requests have no spans, and headers of traces pass. */
  readonly tracing?: TracingConfig | undefined;
  /** What x-forwarded-client-cert tells of a client beside the hash of its certificate. */
  readonly clientCertDetails: {
    readonly cert: boolean;
    readonly subject: boolean;
    readonly uri: boolean;
    readonly dns: boolean;
  };
  readonly forwardClientCert:
    | "sanitize"
    | "forward_only"
    | "append_forward"
    | "sanitize_set"
    | "always_forward_only";
  readonly serverName: string;
  readonly maxRequestHeadersBytes: number;
  readonly maxHeadersCount: number;
  readonly idleTimeoutMs: number;
  readonly streamIdleTimeoutMs: number;
  /** Of a whole stream, where the route does not say; 0 = none. */
  readonly maxStreamDurationMs: number;
  /** For the whole request to come; 0 = none. */
  readonly requestTimeoutMs: number;
  readonly requestHeadersTimeoutMs: number;
  /** Requests of HTTP/1.0 are served; those without Host as `defaultHost`. */
  readonly http10?: { readonly defaultHost: string | undefined } | undefined;
  /** Whether HTTP/1.1's trailers pass, both ways; else they end here. */
  readonly http1Trailers?: boolean;
  readonly upgrades?: UpgradeRules | undefined;
  /** Undefined: paths are taken as they were sent. */
  readonly paths?: PathNormalization | undefined;
  /** Undefined: authorities are taken as they were sent. */
  readonly hosts?: HostNormalization | undefined;
  readonly accessLogs: readonly AccessLogConfig[];
  /** Undefined: requests are logged at their end only. */
  readonly accessLogTimes?: AccessLogTimes | undefined;
  /** The filters before the router, in the order they were written. */
  readonly filters: readonly HttpFilterConfig[];
  readonly direction: "inbound" | "outbound" | "unspecified";
}

export interface TcpProxyConfig {
  readonly kind: "tcp";
  readonly statPrefix: string;
  readonly clusters: readonly { readonly cluster: string; readonly weight: number }[];
  readonly idleTimeoutMs: number;
  readonly maxConnectAttempts: number;
  readonly accessLogs: readonly AccessLogConfig[];
  /** Undefined: connections are logged at their end only. */
  readonly accessLogTimes?: Omit<AccessLogTimes, "atTunnel"> | undefined;
  readonly direction: "inbound" | "outbound" | "unspecified";
}

/** When access logs are written, beside the end. */
export interface AccessLogTimes {
  /** A request has come, or a connection has reached its upstream. */
  readonly atStart: boolean;
  /** A request has become a tunnel. */
  readonly atTunnel: boolean;
  /** Every so many milliseconds; 0 = never. */
  readonly intervalMs: number;
}

export interface AccessLogConfig {
  /** Path of a file, or "/dev/stdout" | "/dev/stderr". */
  readonly path: string;
  format(record: AccessLogRecord): string;
  /** Only what passes is written; undefined = everything. */
  readonly filter?: AccessLogPredicate | undefined;
}

/** Whether a record is logged; `random` gives numbers in [0, 1). */
export type AccessLogPredicate = (record: AccessLogRecord, random: () => number) => boolean;

/** At which moment a record is logged, in the words of envoy.data.accesslog.v3.AccessLogType. */
export type AccessLogType =
  | "NotSet"
  | "TcpUpstreamConnected"
  | "TcpPeriodic"
  | "TcpConnectionEnd"
  | "DownstreamStart"
  | "DownstreamPeriodic"
  | "DownstreamEnd"
  | "DownstreamTunnelSuccessfullyEstablished";

/** The local_ratelimit filter of connections. */
export interface ConnectionLimitConfig {
  readonly statPrefix: string;
  readonly bucket: TokenBucketConfig;
}

/** The connection_limit filter. */
export interface ConcurrentLimitConfig {
  readonly statPrefix: string;
  readonly maxConnections: number;
  /** A connection above the limit is closed after so long; 0 = at once. */
  readonly delayMs: number;
}

export interface FilterChainConfig {
  readonly name: string;
  /** Empty arrays match anything. */
  readonly match: {
    readonly transportProtocol: "" | "tls" | "raw_buffer";
    readonly applicationProtocols: readonly string[];
    readonly serverNames: readonly string[];
    readonly destinationPort: number | undefined;
    readonly destinationPrefixes?: readonly CidrRange[];
    /** `local`: from this machine, by loopback or from the address it goes to. */
    readonly sourceType?: "any" | "local" | "external";
    readonly sourcePrefixes?: readonly CidrRange[];
    readonly sourcePorts?: readonly number[];
  };
  readonly tls: TlsConfig | undefined;
  /** New connections take a token of each; undefined = any number of them. */
  readonly connectionLimits?: readonly ConnectionLimitConfig[] | undefined;
  /** Limits on open connections; undefined = any number of them. */
  readonly concurrentLimits?: readonly ConcurrentLimitConfig[] | undefined;
  /** Asked in order before the connection is served. */
  readonly authorization: readonly { readonly statPrefix: string; readonly rbac: RbacConfig }[];
  readonly network: HttpConnectionManagerConfig | TcpProxyConfig;
}

/** What becomes of clients whose first bytes do not come: of protocols where the server speaks first. */
export interface ListenerInspection {
  /** 0 = any time. */
  readonly timeoutMs: number;
  /** The connection takes the chain of those of which nothing is known. */
  readonly continuesOnTimeout: boolean;
}

export interface ListenerConfig {
  readonly name: string;
  readonly address: string;
  readonly port: number;
  /** Peek at the first bytes to tell TLS from plain text before choosing a chain. */
  readonly inspectTls: boolean;
  /** Ports whose connections nothing looks into; undefined = there are none. */
  readonly isUninspected?: ((port: number) => boolean) | undefined;
  /** How long the first bytes are waited for; undefined = 15 s, and then the connection is closed. */
  readonly inspection?: ListenerInspection | undefined;
  readonly chains: readonly FilterChainConfig[];
  readonly defaultChain: FilterChainConfig | undefined;
  /** Written when a connection ends; absent = none. */
  readonly accessLogs?: readonly AccessLogConfig[];
  readonly bindToPort: boolean;
  /**
   * Connections are taken for what they were before REDIRECT: `restore` only knows where they were
   * going, `handOff` also gives them to the listener of that address.
   */
  readonly originalDst?: "restore" | "handOff" | undefined;
}

/** The whole configuration at one moment. */
export interface RuntimeConfig {
  /** Own workload, for telemetry. */
  readonly self: PeerInfo;
  /**
   * How this proxy presents its workload (Istio's metadata exchange): `x-envoy-peer-metadata` and
   * `x-envoy-peer-metadata-id`. The data path sets them on requests of an outbound listener whose
   * upstream connection is TLS, and removes any that the application sent otherwise; an inbound
   * listener removes them before the application sees the request, after which telemetry still
   * reads the received value through `AccessLogRecord.requestHeader`.
   */
  readonly peerMetadataHeaders?: readonly (readonly [name: string, value: string])[];
  /** Only listeners that are warm (their routes and secrets have arrived). */
  readonly listeners: ReadonlyMap<string, ListenerConfig>;
  cluster(name: string): ClusterConfig | undefined;
  /** All of them. */
  clusters(): Iterable<ClusterConfig>;
}

/** How many messages a gRPC call has carried so far. */
export interface GrpcMessages {
  readonly request: { readonly count: number };
  readonly response: { readonly count: number };
}

/**
 * Everything known about a finished request; the data path fills one per request and hands it to
 * telemetry exactly once. Times are `performance.now()` milliseconds.
 */
export interface AccessLogRecord {
  readonly startTimeMs: number;
  readonly method: string;
  readonly path: string;
  readonly originalPath: string | undefined;
  readonly protocol: string;
  readonly responseCode: number;
  /** Envoy's flags, comma separated; "" = none. */
  readonly responseFlags: string;
  readonly responseCodeDetails: string;
  readonly bytesReceived: number;
  readonly bytesSent: number;
  readonly durationMs: number;
  /** Time to the first byte of the upstream's response; undefined when there was none. */
  readonly upstreamServiceTimeMs: number | undefined;
  readonly authority: string;
  readonly routeName: string;
  readonly upstreamCluster: ClusterConfig | undefined;
  readonly upstreamHost: EndpointConfig | undefined;
  readonly upstreamLocalAddress: string;
  readonly downstreamLocalAddress: string;
  /** The client as far as x-forwarded-for is trusted; port 0 where only that names it. */
  readonly downstreamRemoteAddress: string;
  /** The peer of the connection; the same as above when absent. */
  readonly downstreamDirectRemoteAddress?: string;
  readonly downstreamPeerPrincipal: string | undefined;
  /** The client's certificate, where it has shown one. */
  readonly downstreamCertificate?:
    | {
        readonly subject: string;
        readonly hash: string;
        readonly uris: readonly string[];
        readonly dnsNames: readonly string[];
      }
    | undefined;
  readonly downstreamPeer: PeerInfo | undefined;
  readonly isMutualTls: boolean;
  readonly requestedServerName: string;
  /** What the upstream connection speaks; undefined when there was none. */
  readonly upstreamProtocol?: string | undefined;
  readonly upstreamTransportFailureReason: string;
  readonly attemptCount: number;
  readonly direction: "inbound" | "outbound" | "unspecified";
  /** What filters have said about the request. */
  readonly metadata?: DynamicMetadata | undefined;
  /** Whether the request's content type is gRPC's. */
  readonly isGrpc: boolean;
  /** Of a gRPC request that was forwarded. */
  readonly grpcMessages?: GrpcMessages | undefined;
  readonly logType: AccessLogType;
  /** What access logs say about the client's TLS. */
  readonly downstreamTls?: TlsFacts | undefined;
  readonly routeMetadata?: DynamicMetadata | undefined;
  readonly virtualHostMetadata?: DynamicMetadata | undefined;
  /** Of the client's connection, unique among those of this thread. */
  readonly connectionId?: number;
  /** When the whole request was here; undefined before. */
  readonly requestEndMs?: number | undefined;
  /** When the latest try began; undefined without one. */
  readonly attemptStartMs?: number | undefined;
  /** A new one at each call. */
  uniqueId?(): string;
  /** The request is traced because its sender insisted. */
  readonly isTraceForced?: boolean;
  /** Where filters find the request's headers; absent without a request. */
  readonly headers?: HeaderValues;
  /** Of the request's span; undefined when it has none. */
  readonly traceId?: string | undefined;
  readonly spanId?: string | undefined;
  /** The first value of a header (lower case) or pseudo header. */
  requestHeader(name: string): string | undefined;
  responseHeader(name: string): string | undefined;
  responseTrailer(name: string): string | undefined;
}

/** One TCP connection for Istio's metrics. */
export interface TcpConnectionTelemetry {
  /** Bytes since the last call: from the client, and to it. */
  transferred(receivedBytes: number, sentBytes: number): void;
  closed(record: AccessLogRecord): void;
}

/** What the data path calls; the telemetry side implements it. Must be cheap. */
export interface RequestTelemetry {
  requestFinished(record: AccessLogRecord, accessLogs: readonly AccessLogConfig[]): void;
  /** A TCP connection has reached its upstream. */
  tcpConnectionOpened(record: AccessLogRecord): TcpConnectionTelemetry;
  /** Only writes the access logs. */
  log(record: AccessLogRecord, accessLogs: readonly AccessLogConfig[]): void;
  /** Envoy's counters and gauges by full name, e.g. `cluster.<name>.upstream_cx_total`. */
  counter(name: string): { add(count: number): void };
  gauge(name: string): { add(delta: number): void };
}

/** A listener that could not be opened; the former one of that name, if any, still serves. */
export interface ListenerFailure {
  readonly listener: string;
  readonly error: Error;
}

/** The data path, as `server.ts` builds it and `index.ts` drives it. */
export interface ProxyServer {
  /**
   * Swaps in a configuration: opens new listeners, closes removed ones gently, keeps the rest.
   * Resolves with the listeners that could not be opened.
   */
  apply(config: RuntimeConfig): Promise<readonly ListenerFailure[]>;
  /** No new connections, `Connection: close` on answers; requests in flight finish. */
  drain(): void;
  /** Drains, waits for at most `graceMs` milliseconds, then closes everything. */
  stop(graceMs: number): Promise<void>;
}
