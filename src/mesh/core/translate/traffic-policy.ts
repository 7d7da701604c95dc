import { tryParseDurationMs } from "../../../base/index.ts";
import { durationFromMs, type MessageTypes, packAny } from "../../../xds/index.ts";
import type { MeshDestinationRule } from "../model-destination-rules.ts";
import type { OutlierDetection, PolicyBlocks, Subset, TrafficPolicy } from "../model-istio.ts";

type Cluster = MessageTypes["envoy.config.cluster.v3.Cluster"];

/** Cluster.LbPolicy by Istio's `simple` names; LEAST_CONN is the old name of LEAST_REQUEST. */
const LB_POLICIES: Readonly<Record<string, 0 | 1 | 3>> = {
  ROUND_ROBIN: 0,
  LEAST_REQUEST: 1,
  LEAST_CONN: 1,
  RANDOM: 3,
};
const DEFAULT_LB_POLICY = 1;
/** Istio's mesh-wide default. */
const DEFAULT_CONNECT_TIMEOUT_MS = 10_000;
/** Istio's "no limit". */
const UNLIMITED = 0xff_ff_ff_ff;
const HTTP_OPTIONS = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions";

/**
 * The blocks that count for one port of a service or subset. A subset's blocks replace the rule's
 * one by one; a port's settings replace them all, and what they omit is the default.
 */
export function policyFor(
  rule: MeshDestinationRule | undefined,
  subset: Subset | undefined,
  port: number,
): PolicyBlocks {
  return overlaid(overlaid({}, rule?.trafficPolicy, port), subset?.trafficPolicy, port);
}

/** The credential names that a rule asks for, anywhere. */
export function ruleCredentials(rule: MeshDestinationRule): readonly string[] {
  const policies = [rule.trafficPolicy, ...rule.subsets.map((subset) => subset.trafficPolicy)];
  return policies
    .flatMap((policy) => [policy, ...(policy?.portLevelSettings ?? [])])
    .flatMap((policy) => policy?.tls?.credentialName || []);
}

function overlaid(
  base: PolicyBlocks,
  policy: TrafficPolicy | undefined,
  port: number,
): PolicyBlocks {
  if (policy === undefined) return base;
  const ofPort = policy.portLevelSettings?.find((settings) => settings.port?.number === port);
  if (ofPort !== undefined) return ofPort;
  return {
    loadBalancer: policy.loadBalancer ?? base.loadBalancer,
    connectionPool: policy.connectionPool ?? base.connectionPool,
    outlierDetection: policy.outlierDetection ?? base.outlierDetection,
    tls: policy.tls ?? base.tls,
    retryBudget: policy.retryBudget ?? base.retryBudget,
  };
}

/** The fields of an outbound cluster that a traffic policy decides, TLS apart. */
export function policyFields(policy: PolicyBlocks, isHttp2: boolean): Partial<Cluster> {
  const { connectionPool: pool, outlierDetection: outlier } = policy;
  return {
    connect_timeout: durationFromMs(
      durationMs(pool?.tcp?.connectTimeout) ?? DEFAULT_CONNECT_TIMEOUT_MS,
    ),
    lb_policy: LB_POLICIES[policy.loadBalancer?.simple ?? ""] ?? DEFAULT_LB_POLICY,
    ...warmupFields(policy),
    ...keepaliveFields(pool?.tcp?.tcpKeepalive),
    circuit_breakers: {
      thresholds: [
        {
          max_connections: { value: positive(pool?.tcp?.maxConnections) },
          max_pending_requests: { value: positive(pool?.http?.http1MaxPendingRequests) },
          max_requests: { value: positive(pool?.http?.http2MaxRequests) },
          max_retries: { value: positive(pool?.http?.maxRetries) },
          ...(policy.retryBudget === undefined
            ? {}
            : {
                retry_budget: {
                  budget_percent: { value: policy.retryBudget.percent ?? 20 },
                  min_retry_concurrency: { value: policy.retryBudget.minRetryConcurrency ?? 3 },
                },
              }),
          track_remaining: true,
        },
      ],
    },
    ...httpOptions(policy, isHttp2),
    ...(outlier === undefined ? {} : outlierFields(outlier)),
  };
}

/** Istio reads 0 as "not set". */
function positive(limit: number | undefined): number {
  return limit !== undefined && limit > 0 ? limit : UNLIMITED;
}

/** Hosts that are new get their share little by little, with the balancers that can (Istio). */
function warmupFields({ loadBalancer }: PolicyBlocks): Partial<Cluster> {
  const { warmup, warmupDurationSecs, simple, consistentHash } = loadBalancer ?? {};
  const windowMs = durationMs(warmup?.duration ?? warmupDurationSecs);
  if (windowMs === undefined || windowMs <= 0 || consistentHash !== undefined) return {};
  const lbPolicy = LB_POLICIES[simple ?? ""] ?? DEFAULT_LB_POLICY;
  const config = {
    slow_start_config: {
      slow_start_window: durationFromMs(windowMs),
      aggression: { default_value: warmup?.aggression ?? 1, runtime_key: "" },
      min_weight_percent: { value: warmup?.minimumPercent ?? 10 },
    },
  };
  if (lbPolicy === LB_POLICIES["ROUND_ROBIN"]) return { round_robin_lb_config: config };
  return lbPolicy === DEFAULT_LB_POLICY ? { least_request_lb_config: config } : {};
}

type Keepalive = NonNullable<
  NonNullable<NonNullable<PolicyBlocks["connectionPool"]>["tcp"]>["tcpKeepalive"]
>;

function keepaliveFields(keepalive: Keepalive | undefined): Partial<Cluster> {
  if (keepalive === undefined) return {};
  const seconds = (text: string | undefined): number => Math.round((durationMs(text) ?? 0) / 1000);
  const [time, interval] = [seconds(keepalive.time), seconds(keepalive.interval)];
  const probes = keepalive.probes ?? 0;
  return {
    upstream_connection_options: {
      tcp_keepalive: {
        ...(probes > 0 ? { keepalive_probes: { value: probes } } : {}),
        ...(time > 0 ? { keepalive_time: { value: time } } : {}),
        ...(interval > 0 ? { keepalive_interval: { value: interval } } : {}),
      },
    },
  };
}

/** How long a connection of a rule's port may be idle; undefined = as long as Envoy's default. */
export function tcpIdleTimeoutMs(policy: PolicyBlocks): number | undefined {
  return durationMs(policy.connectionPool?.tcp?.idleTimeout);
}

function httpOptions(policy: PolicyBlocks, isHttp2: boolean): Partial<Cluster> {
  const http = policy.connectionPool?.http ?? {};
  const useHttp2 = isHttp2 || http.h2UpgradePolicy === "UPGRADE";
  const idleTimeoutMs = durationMs(http.idleTimeout);
  const maxDurationMs = durationMs(policy.connectionPool?.tcp?.maxConnectionDuration);
  const maxRequests = http.maxRequestsPerConnection ?? 0;
  const followsClient = http.useClientProtocol === true;
  const isPlain = idleTimeoutMs === undefined && maxDurationMs === undefined && maxRequests === 0;
  if (!useHttp2 && !followsClient && isPlain) return {};
  const maxStreams = http.maxConcurrentStreams ?? 0;
  const http2 = maxStreams > 0 ? { max_concurrent_streams: { value: maxStreams } } : {};
  return {
    typed_extension_protocol_options: {
      [HTTP_OPTIONS]: packAny(HTTP_OPTIONS, {
        common_http_protocol_options: {
          ...(idleTimeoutMs === undefined ? {} : { idle_timeout: durationFromMs(idleTimeoutMs) }),
          ...(maxDurationMs === undefined
            ? {}
            : { max_connection_duration: durationFromMs(maxDurationMs) }),
          ...(maxRequests > 0 ? { max_requests_per_connection: { value: maxRequests } } : {}),
        },
        ...(followsClient
          ? {
              use_downstream_protocol_config: {
                http_protocol_options: {},
                http2_protocol_options: http2,
              },
            }
          : {
              explicit_http_config: useHttp2
                ? { http2_protocol_options: http2 }
                : { http_protocol_options: {} },
            }),
      }),
    },
  };
}

function outlierFields(outlier: OutlierDetection): Partial<Cluster> {
  const interval = durationMs(outlier.interval);
  const ejection = durationMs(outlier.baseEjectionTime);
  // Today's Istio ignores `consecutiveErrors`; who still writes it means "so many failures in a row".
  // Envoy counts gateway errors among the 5xx, so this covers the field's old meaning too.
  const consecutive5xx = outlier.consecutive5xxErrors ?? outlier.consecutiveErrors;
  const gateway = outlier.consecutiveGatewayErrors;
  const localOrigin = outlier.consecutiveLocalOriginFailures;
  const maxPercent = outlier.maxEjectionPercent ?? 0;
  return {
    outlier_detection: {
      ...(interval === undefined ? {} : { interval: durationFromMs(interval) }),
      ...(ejection === undefined ? {} : { base_ejection_time: durationFromMs(ejection) }),
      ...(maxPercent > 0 ? { max_ejection_percent: { value: maxPercent } } : {}),
      ...(consecutive5xx === undefined
        ? {}
        : {
            ...(consecutive5xx > 0 ? { consecutive_5xx: { value: consecutive5xx } } : {}),
            enforcing_consecutive_5xx: { value: consecutive5xx > 0 ? 100 : 0 },
          }),
      ...(gateway === undefined
        ? {}
        : {
            ...(gateway > 0 ? { consecutive_gateway_failure: { value: gateway } } : {}),
            enforcing_consecutive_gateway_failure: { value: gateway > 0 ? 100 : 0 },
          }),
      ...(outlier.splitExternalLocalOriginErrors === true
        ? {
            split_external_local_origin_errors: true,
            ...(localOrigin !== undefined && localOrigin > 0
              ? {
                  consecutive_local_origin_failure: { value: localOrigin },
                  enforcing_consecutive_local_origin_failure: { value: 100 },
                }
              : {}),
          }
        : {}),
      // Istio never ejects by success rate.
      enforcing_success_rate: { value: 0 },
    },
    common_lb_config: { healthy_panic_threshold: { value: outlier.minHealthPercent ?? 0 } },
  };
}

function durationMs(text: string | undefined): number | undefined {
  return text === undefined ? undefined : tryParseDurationMs(text);
}
