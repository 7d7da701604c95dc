/** A counter or histogram series as it arrives from a proxy, cumulative since the proxy's start. */
export interface TelemetrySeries {
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly value:
    | { readonly kind: "counter" | "gauge"; readonly value: number }
    | {
        readonly kind: "histogram";
        readonly count: number;
        readonly sum: number;
        /** Cumulative counts by inclusive upper bound, ascending, without +Inf. */
        readonly buckets: readonly { readonly upperBound: number; readonly count: number }[];
      };
}

/** Where the control plane delivers what proxies stream. `nodeId` names the proxy. */
export interface TelemetrySink {
  ingest(nodeId: string, series: readonly TelemetrySeries[], nowMs: number): void;
  /** The proxy's stream ended: its series get no more samples. */
  forget(nodeId: string, nowMs: number): void;
}
