/** Telemetry store, metric providers and the judge. */
export type { Verdict } from "./core/verdict.ts";
export type { Measurement, MetricQuery, MetricsProvider } from "./metrics-provider.ts";
export { createPrometheusProvider, type PrometheusProviderOptions } from "./prometheus-provider.ts";
export { createStoreMetricsProvider } from "./store-provider.ts";
export type { TelemetrySeries, TelemetrySink } from "./telemetry.ts";
export {
  createTelemetryStore,
  type TelemetryStore,
  type TelemetryStoreOptions,
  type TelemetryStoreStats,
  type WorkloadSnapshot,
} from "./telemetry-store.ts";
