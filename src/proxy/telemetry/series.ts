import type { Histogram } from "../core/histogram.ts";

/** One time series as exporters see it. */
export type Series = {
  /** Prometheus name, e.g. `envoy_cluster_upstream_cx_total`. */
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
} & (
  | { readonly kind: "counter" | "gauge"; readonly value: number }
  | { readonly kind: "histogram"; readonly histogram: Histogram }
);
