import type { RequestTelemetry } from "../config/runtime-config.ts";
import type { CircuitGauges, LimitGauges } from "../core/circuit.ts";

/** The gauges of a cluster's circuit breaker under Envoy's names. */
export function circuitGauges(
  telemetry: RequestTelemetry,
  statName: string,
  priority: "default" | "high",
): CircuitGauges {
  const of = (open: string, remaining: string): LimitGauges => ({
    open: telemetry.gauge(`cluster.${statName}.circuit_breakers.${priority}.${open}`),
    remaining: telemetry.gauge(`cluster.${statName}.circuit_breakers.${priority}.${remaining}`),
  });
  return {
    connections: of("cx_open", "remaining_cx"),
    pending: of("rq_pending_open", "remaining_pending"),
    requests: of("rq_open", "remaining_rq"),
    retries: of("rq_retry_open", "remaining_retries"),
  };
}
