import { Worker } from "node:worker_threads";
import { messageOf, SerinError } from "../base/index.ts";
import type { Logger } from "../runtime/index.ts";
import type { envoy_config_metrics_v3_StatsMatcher } from "../xds/index.ts";
import type { PeerInfo } from "./config/runtime-config.ts";
import type { OverloadState } from "./core/overload.ts";
import type { LocalNode } from "./core/tracing/span.ts";
import type { OverloadShare } from "./overload-guard.ts";
import type { PlainSeries, PlainStat } from "./telemetry/merged-series.ts";
import type { ResourceUpdate } from "./xds/resource.ts";

/** What a worker needs to begin. */
export interface WorkerStart {
  readonly self: PeerInfo;
  readonly node: LocalNode;
  readonly peerMetadataHeaders: readonly (readonly [name: string, value: string])[];
  readonly logLevel: string;
  readonly overload: OverloadShare | undefined;
  /** Valid: the main thread has compiled it. */
  readonly statsMatcher: envoy_config_metrics_v3_StatsMatcher | undefined;
  /** From 1; the main thread is 0. */
  readonly workerId: number;
}

/** To a worker. */
export type WorkerOrder =
  | { readonly kind: "apply"; readonly update: ResourceUpdate; readonly isStatic: boolean }
  | { readonly kind: "drain" }
  | { readonly kind: "overload"; readonly state: OverloadState }
  | { readonly kind: "reopenLogs" }
  | { readonly kind: "stop"; readonly graceMs: number };

/** From a worker. */
export type WorkerReport =
  | {
      readonly kind: "stats";
      readonly stats: readonly PlainStat[];
      readonly requests: readonly PlainSeries[];
    }
  /** A configuration is in place, its listeners are open. */
  | { readonly kind: "applied" }
  | { readonly kind: "stopped" };

interface Running {
  readonly worker: Worker;
  readonly applied: Promise<void>;
  readonly stopped: Promise<void>;
  stats: readonly PlainStat[];
  requests: readonly PlainSeries[];
}

/**
 * Further threads that serve the same listeners (SO_REUSEPORT). They get every resource that the main
 * thread gets, and tell it once a second what they counted, so that one admin page shows them all.
 */
export class WorkerPool {
  readonly #running: Running[];
  readonly #logger: Logger;

  constructor(count: number, start: Omit<WorkerStart, "workerId">, logger: Logger) {
    this.#logger = logger;
    this.#running = Array.from({ length: count }, (_, i) =>
      this.#start({ ...start, workerId: i + 1 }),
    );
  }

  /** Envoy's stats of all workers. */
  stats(): readonly PlainStat[] {
    return this.#running.flatMap(({ stats }) => stats);
  }

  /** Istio's request metrics of all workers. */
  requests(): readonly PlainSeries[] {
    return this.#running.flatMap(({ requests }) => requests);
  }

  /** Resolves when every thread has its first configuration in place. */
  async configured(): Promise<void> {
    await Promise.all(this.#running.map(({ applied }) => applied));
  }

  order(order: WorkerOrder): void {
    for (const { worker } of this.#running) worker.postMessage(order);
  }

  /** Drains for at most `graceMs`, then ends the threads. */
  async stop(graceMs: number): Promise<void> {
    this.order({ kind: "stop", graceMs });
    await Promise.all(this.#running.map(({ stopped }) => stopped));
    await Promise.all(this.#running.map(({ worker }) => worker.terminate()));
  }

  #start(start: WorkerStart): Running {
    const extension = import.meta.url.endsWith(".ts") ? "ts" : "js";
    const worker = new Worker(new URL(`./worker-entry.${extension}`, import.meta.url), {
      workerData: start,
      resourceLimits: { maxYoungGenerationSizeMb: 16 },
    });
    const applied = Promise.withResolvers<void>();
    const stopped = Promise.withResolvers<void>();
    const running: Running = {
      worker,
      applied: applied.promise,
      stopped: stopped.promise,
      stats: [],
      requests: [],
    };
    worker.on("message", (report: WorkerReport) => {
      if (report.kind === "applied") applied.resolve();
      else if (report.kind === "stopped") stopped.resolve();
      else {
        running.stats = report.stats;
        running.requests = report.requests;
      }
    });
    worker.on("error", (error) => {
      this.#logger.error({ reason: messageOf(error) }, "a worker failed");
      stopped.resolve();
      // Like a crash of the process: half a proxy would hide it.
      throw new SerinError("SERIN_INTERNAL", `a worker failed: ${messageOf(error)}`, {
        cause: error,
      });
    });
    worker.on("exit", () => {
      applied.resolve();
      stopped.resolve();
    });
    return running;
  }
}
