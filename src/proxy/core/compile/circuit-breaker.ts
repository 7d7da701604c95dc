import type {
  envoy_config_cluster_v3_CircuitBreakers as CircuitBreakers,
  envoy_config_cluster_v3_CircuitBreakers_Thresholds as Thresholds,
} from "../../../xds/index.ts";
import type { CircuitThresholds } from "../circuit.ts";
import type { ClusterConfig } from "../runtime-config.ts";
import type { Scope } from "./scope.ts";

/** RoutingPriority */
const PRIORITY = { default: 0, high: 1 } as const;
const UNLIMITED = 2 ** 32 - 1;

/** Compiles a cluster's circuit_breakers; the first entry of a priority counts, as in Envoy. */
export function compileCircuitBreaker(
  breakers: CircuitBreakers | null | undefined,
  scope: Scope,
): Pick<ClusterConfig, "circuitBreaker" | "highPriorityCircuitBreaker" | "maxConnectionsPerHost"> {
  const list = breakers?.thresholds ?? [];
  const of = (priority: number): Thresholds =>
    list.find((entry) => (entry.priority ?? 0) === priority) ?? {};
  const perHost = breakers?.per_host_thresholds ?? [];
  for (const [i, entry] of perHost.entries()) {
    for (const field of UNSUPPORTED_PER_HOST) {
      if (entry[field]) scope.at("per_host_thresholds", i, field).fail("is not supported");
    }
  }
  const ofHost = perHost.find((entry) => (entry.priority ?? 0) === PRIORITY.default);
  return {
    circuitBreaker: compileThresholds(of(PRIORITY.default)),
    highPriorityCircuitBreaker: compileThresholds(of(PRIORITY.high)),
    maxConnectionsPerHost: ofHost?.max_connections?.value ?? UNLIMITED,
  };
}

const UNSUPPORTED_PER_HOST = [
  "max_pending_requests",
  "max_requests",
  "max_retries",
  "retry_budget",
] as const;

/** Envoy's defaults: 1024 connections, pending and active requests, 3 retries. */
function compileThresholds(thresholds: Thresholds): CircuitThresholds {
  const value = (field: { value?: number | null | undefined } | null | undefined, or: number) =>
    field ? (field.value ?? 0) : or;
  const budget = thresholds.retry_budget;
  return {
    maxConnections: value(thresholds.max_connections, 1024),
    maxPendingRequests: value(thresholds.max_pending_requests, 1024),
    maxRequests: value(thresholds.max_requests, 1024),
    maxRetries: value(thresholds.max_retries, 3),
    retryBudget: budget
      ? {
          percent: budget.budget_percent ? (budget.budget_percent.value ?? 0) : 20,
          minConcurrency: value(budget.min_retry_concurrency, 3),
        }
      : undefined,
    tracksRemaining: thresholds.track_remaining ?? false,
  };
}
