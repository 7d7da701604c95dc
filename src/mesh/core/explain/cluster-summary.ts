import { durationToMs, type MessageTypes } from "../../../xds/index.ts";

type Cluster = MessageTypes["envoy.config.cluster.v3.Cluster"];

/** How a client treats the endpoints of a cluster: what the DestinationRule, or else the default, says. */
export interface ClusterSummary {
  readonly loadBalancer: string;
  readonly connectTimeoutMs: number;
  /** Limits of each client proxy; only those that there are. */
  readonly limits: Readonly<Record<string, number>>;
  readonly outlierDetection: OutlierSummary | undefined;
}

export interface OutlierSummary {
  /** Failures in a row that eject; 0 = never. */
  readonly consecutive5xx: number;
  readonly consecutiveGatewayErrors: number;
  readonly intervalMs: number;
  readonly baseEjectionTimeMs: number;
  readonly maxEjectionPercent: number;
}

/** Cluster.LbPolicy */
const BALANCERS: Readonly<Record<number, string>> = {
  0: "ROUND_ROBIN",
  1: "LEAST_REQUEST",
  2: "RING_HASH",
  3: "RANDOM",
  5: "MAGLEV",
  6: "ORIGINAL_DESTINATION",
};
const UNLIMITED = 0xff_ff_ff_ff;
const LIMITS = [
  ["maxConnections", "max_connections"],
  ["maxPendingRequests", "max_pending_requests"],
  ["maxRequests", "max_requests"],
  ["maxRetries", "max_retries"],
] as const;

export function summarizeCluster(cluster: Cluster): ClusterSummary {
  const thresholds = cluster.circuit_breakers?.thresholds?.[0];
  const limits = LIMITS.flatMap(([name, field]) => {
    const value = thresholds?.[field]?.value ?? UNLIMITED;
    return value === UNLIMITED ? [] : [[name, value] as const];
  });
  const outlier = cluster.outlier_detection;
  return {
    loadBalancer: BALANCERS[cluster.lb_policy ?? 0] ?? "ROUND_ROBIN",
    connectTimeoutMs: durationToMs(cluster.connect_timeout) ?? 5000,
    limits: Object.fromEntries(limits),
    outlierDetection: outlier
      ? {
          // What is left out is Envoy's default.
          consecutive5xx:
            outlier.enforcing_consecutive_5xx?.value === 0
              ? 0
              : (outlier.consecutive_5xx?.value ?? 5),
          consecutiveGatewayErrors: outlier.enforcing_consecutive_gateway_failure?.value
            ? (outlier.consecutive_gateway_failure?.value ?? 5)
            : 0,
          intervalMs: durationToMs(outlier.interval) ?? 10_000,
          baseEjectionTimeMs: durationToMs(outlier.base_ejection_time) ?? 30_000,
          maxEjectionPercent: outlier.max_ejection_percent?.value ?? 10,
        }
      : undefined,
  };
}
