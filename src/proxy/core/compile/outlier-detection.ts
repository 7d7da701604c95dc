import {
  durationToMs,
  type envoy_config_cluster_v3_OutlierDetection as OutlierDetection,
} from "../../../xds/index.ts";
import type { OutlierDetectionConfig } from "../outlier.ts";
import type { Scope } from "./scope.ts";

const DEFAULT_INTERVAL_MS = 10_000;
const DEFAULT_BASE_EJECTION_TIME_MS = 30_000;
const DEFAULT_MAX_EJECTION_TIME_MS = 300_000;

/** Compiles a cluster's outlier_detection, with Envoy's defaults. Undefined when there is none. */
export function compileOutlierDetection(
  detection: OutlierDetection | null | undefined,
  scope: Scope,
): OutlierDetectionConfig | undefined {
  if (!detection) return undefined;
  if ((detection.monitors ?? []).length > 0) scope.at("monitors").fail("is not supported");
  const count = (field: CountField, otherwise: number): number => {
    const value = detection[field];
    return value ? (value.value ?? 0) : otherwise;
  };
  const percent = (field: CountField, otherwise: number): number => {
    const value = count(field, otherwise);
    if (value > 100) scope.at(field).fail(`must be at most 100 (found ${value})`);
    return value;
  };
  const positiveMs = (field: DurationField, otherwise: number): number => {
    const value = durationToMs(detection[field]) ?? otherwise;
    if (value <= 0) scope.at(field).fail("must be more than 0");
    return value;
  };
  const baseEjectionTimeMs = positiveMs("base_ejection_time", DEFAULT_BASE_EJECTION_TIME_MS);
  return {
    consecutive5xx: count("consecutive_5xx", 5),
    consecutiveGatewayFailure: count("consecutive_gateway_failure", 5),
    consecutiveLocalOriginFailure: count("consecutive_local_origin_failure", 5),
    splitLocalOrigin: detection.split_external_local_origin_errors ?? false,
    intervalMs: positiveMs("interval", DEFAULT_INTERVAL_MS),
    baseEjectionTimeMs,
    maxEjectionTimeMs: positiveMs(
      "max_ejection_time",
      Math.max(DEFAULT_MAX_EJECTION_TIME_MS, baseEjectionTimeMs),
    ),
    maxEjectionTimeJitterMs: durationToMs(detection.max_ejection_time_jitter) ?? 0,
    maxEjectionPercent: percent("max_ejection_percent", 10),
    alwaysEjectOneHost: detection.always_eject_one_host?.value ?? false,
    readmitsOnHealthCheck: detection.successful_active_health_check_uneject_host
      ? (detection.successful_active_health_check_uneject_host.value ?? false)
      : true,
    successRateMinimumHosts: count("success_rate_minimum_hosts", 5),
    successRateRequestVolume: count("success_rate_request_volume", 100),
    successRateStdevFactor: count("success_rate_stdev_factor", 1900),
    failurePercentageThreshold: percent("failure_percentage_threshold", 85),
    failurePercentageMinimumHosts: count("failure_percentage_minimum_hosts", 5),
    failurePercentageRequestVolume: count("failure_percentage_request_volume", 50),
    enforcing: {
      consecutive_5xx: percent("enforcing_consecutive_5xx", 100),
      consecutive_gateway_failure: percent("enforcing_consecutive_gateway_failure", 0),
      consecutive_local_origin_failure: percent("enforcing_consecutive_local_origin_failure", 100),
      success_rate: percent("enforcing_success_rate", 100),
      local_origin_success_rate: percent("enforcing_local_origin_success_rate", 100),
      failure_percentage: percent("enforcing_failure_percentage", 0),
      local_origin_failure_percentage: percent("enforcing_failure_percentage_local_origin", 0),
    },
  };
}

type FieldOf<Value> = {
  [Key in keyof OutlierDetection]-?: NonNullable<OutlierDetection[Key]> extends Value ? Key : never;
}[keyof OutlierDetection];
type CountField = Extract<
  FieldOf<{ value?: number | null | undefined }>,
  `${"consecutive" | "enforcing" | "success_rate" | "failure" | "max_ejection_percent"}${string}`
>;
type DurationField = "interval" | "base_ejection_time" | "max_ejection_time";
