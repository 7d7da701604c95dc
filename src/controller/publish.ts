import { randomUUID } from "node:crypto";
import { Counter, Gauge, Registry } from "prom-client";
import { type KubeObject, RESOURCES } from "../api/index.ts";
import { messageOf } from "../base/index.ts";
import type { KubeStore } from "../kube/store.ts";
import type { Logger } from "../runtime/index.ts";
import type { Announcement, Decision } from "./core/decision.ts";
import type { Observation } from "./core/observation.ts";

/** Tells the world what a pass did. Failing to tell is logged and never stops a rollout. */
export interface Publisher {
  announce(canary: KubeObject, events: readonly Announcement[], nowMs: number): Promise<void>;
  count(observation: Observation, decision: Decision): void;
  /** Prometheus text of the `flagger_*` metrics. */
  metricsText(): Promise<string>;
}

export function createPublisher(store: KubeStore, logger: Logger): Publisher {
  const registers = [new Registry()];
  const labelNames = ["name", "namespace"] as const;
  const status = new Gauge({
    ...{ name: "flagger_canary_status", labelNames, registers },
    help: "Last canary analysis result: 0 running, 1 successful, 2 failed",
  });
  const weight = new Gauge({
    ...{ name: "flagger_canary_weight", labelNames: ["workload", "namespace"], registers },
    help: "The current weight of a workload, in percent",
  });
  const resultLabels = ["name", "namespace", "deployment_strategy", "analysis_status"];
  const successes = new Counter({
    ...{ name: "flagger_canary_successes_total", labelNames: resultLabels, registers },
    help: "Canaries promoted",
  });
  const failures = new Counter({
    ...{ name: "flagger_canary_failures_total", labelNames: resultLabels, registers },
    help: "Canaries rolled back",
  });
  return {
    async announce(canary, events, nowMs) {
      for (const event of events) {
        logger.info(
          {
            canary: canary.metadata.name,
            namespace: canary.metadata.namespace,
            type: event.type,
            text: event.message,
          },
          "canary event",
        );
        try {
          await store.create(RESOURCES.event, eventObject(canary, event, nowMs));
        } catch (error) {
          logger.warn({ error: messageOf(error), text: event.message }, "cannot record an event");
        }
      }
    },
    count({ canary, spec, state }, { nextState }) {
      const { namespace = "default" } = canary.metadata;
      const { name } = spec.targetRef;
      const value = { Progressing: 0, Failed: 2 }[nextState.kind as string] ?? 1;
      status.set({ name, namespace }, value);
      const share = "weight" in nextState ? nextState.weight : 0;
      weight.set({ workload: name, namespace }, share);
      weight.set({ workload: `${name}-primary`, namespace }, 100 - share);
      const analysis_status = spec.skipAnalysis ? "skipped" : "completed";
      const labels = { name, namespace, deployment_strategy: "canary", analysis_status };
      // From zero on, so that Prometheus sees the first one as an increase.
      for (const counter of [successes, failures]) counter.inc(labels, 0);
      if (nextState.kind === state.kind) return;
      if (nextState.kind === "Succeeded") successes.inc(labels);
      if (nextState.kind === "Failed") failures.inc(labels);
    },
    metricsText: async () => (await Promise.all(registers.map((r) => r.metrics()))).join("\n"),
  };
}

function eventObject(
  canary: KubeObject,
  { type, message }: Announcement,
  nowMs: number,
): KubeObject {
  const { apiVersion, kind, metadata } = canary;
  const { name, namespace = "default", uid, resourceVersion } = metadata;
  const now = Temporal.Instant.fromEpochMilliseconds(nowMs).round("second").toString();
  return {
    apiVersion: "v1",
    kind: "Event",
    metadata: { name: `${name}.${randomUUID().slice(0, 13)}`, namespace },
    involvedObject: { apiVersion, kind, name, namespace, uid, resourceVersion },
    ...{ reason: "Synced", message, type, count: 1 },
    ...{ firstTimestamp: now, lastTimestamp: now, source: { component: "serin" } },
  };
}
