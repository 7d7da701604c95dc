import type { RequestTelemetry } from "../config/runtime-config.ts";
import type { ProxyContext } from "../context.ts";
import {
  type AttemptOutcome,
  type Detection,
  type OutlierDetectionConfig,
  OutlierDetector,
} from "../core/outlier.ts";

type Counter = ReturnType<RequestTelemetry["counter"]>;

/** Runs a cluster's outlier detection: time, chance and stats around `core/outlier.ts`. */
export class OutlierMonitor {
  readonly #context: ProxyContext;
  readonly #statPrefix: string;
  readonly #onChange: () => void;
  readonly #counters = new Map<string, Counter>();
  #detector: OutlierDetector | undefined;
  #intervalMs = 0;
  #active = 0;
  #cancelSweep: (() => void) | undefined;

  /** `onChange` is called when a host was put out or came back. */
  constructor(context: ProxyContext, clusterName: string, onChange: () => void) {
    this.#context = context;
    this.#statPrefix = `cluster.${clusterName}.outlier_detection`;
    this.#onChange = onChange;
  }

  isEjected(host: string): boolean {
    return this.#detector?.isEjected(host) ?? false;
  }

  /** The configuration and hosts from now on; without a configuration nobody is out. */
  update(config: OutlierDetectionConfig | undefined, hosts: Iterable<string>): void {
    if (config === undefined) {
      this.stop();
      this.#detector = undefined;
    } else {
      this.#detector ??= new OutlierDetector(config);
      this.#detector.update(config, hosts);
      if (this.#cancelSweep === undefined || this.#intervalMs !== config.intervalMs) {
        this.#intervalMs = config.intervalMs;
        this.#scheduleSweep();
      }
    }
    this.#countActive();
  }

  record(host: string, outcome: AttemptOutcome): void {
    if (this.#detector === undefined) return;
    const { clock, random } = this.#context;
    const detections = this.#detector.record(host, outcome, clock.nowMs(), random);
    if (this.#report(detections)) this.#changed();
  }

  /** Lets a host back in. Returns whether it was out. */
  readmit(host: string): boolean {
    if (this.#detector?.readmit(host) !== true) return false;
    this.#countActive();
    return true;
  }

  stop(): void {
    this.#cancelSweep?.();
    this.#cancelSweep = undefined;
  }

  #scheduleSweep(): void {
    this.#cancelSweep?.();
    this.#cancelSweep = this.#context.clock.schedule(this.#intervalMs, () => {
      this.#scheduleSweep();
      this.#sweep();
    });
  }

  #sweep(): void {
    if (this.#detector === undefined) return;
    const { clock, random } = this.#context;
    const { detections, hasReturned } = this.#detector.sweep(clock.nowMs(), random);
    if (this.#report(detections) || hasReturned) this.#changed();
  }

  #changed(): void {
    this.#countActive();
    this.#onChange();
  }

  /** Counts detections; answers whether a host was put out. */
  #report(detections: readonly Detection[]): boolean {
    let hasEjected = false;
    for (const { cause, outcome } of detections) {
      this.#counter(`ejections_detected_${cause}`).add(1);
      if (cause === "consecutive_5xx") this.#counter("ejections_consecutive_5xx").add(1);
      if (outcome === "overflow") {
        this.#counter("ejections_overflow").add(1);
        continue;
      }
      // Envoy's older names, which know two causes only.
      if (cause === "consecutive_5xx" || cause === "success_rate") {
        this.#counter("ejections_total").add(1);
      }
      if (outcome === "notEnforced") continue;
      this.#counter("ejections_enforced_total").add(1);
      this.#counter(`ejections_enforced_${cause}`).add(1);
      hasEjected = true;
    }
    return hasEjected;
  }

  #countActive(): void {
    const active = this.#detector?.ejectedCount ?? 0;
    if (active === this.#active) return;
    const gauge = this.#context.telemetry.gauge(`${this.#statPrefix}.ejections_active`);
    gauge.add(active - this.#active);
    this.#active = active;
  }

  #counter(stat: string): Counter {
    let counter = this.#counters.get(stat);
    if (counter === undefined) {
      counter = this.#context.telemetry.counter(`${this.#statPrefix}.${stat}`);
      this.#counters.set(stat, counter);
    }
    return counter;
  }
}
