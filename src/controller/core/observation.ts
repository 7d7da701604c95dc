import type { KubeObject } from "../../api/index.ts";
import { arrayAt, objectAt } from "./json.ts";
import type { CanarySpec } from "./spec.ts";
import type { RolloutState } from "./state.ts";

/** A ConfigMap or Secret that the target's pods read. */
export interface TrackedConfig {
  readonly kind: "ConfigMap" | "Secret";
  readonly object: KubeObject;
  readonly checksum: string;
  readonly primaryCopy: KubeObject | undefined;
}

/** Everything one pass decides on, read in one go. */
export interface Observation {
  readonly canary: KubeObject;
  readonly spec: CanarySpec;
  readonly state: RolloutState;
  readonly target: KubeObject | undefined;
  /** Hash of the target's pod template. */
  readonly targetHash: string;
  readonly primary: KubeObject | undefined;
  readonly configs: readonly TrackedConfig[];
  readonly services: {
    readonly apex: KubeObject | undefined;
    readonly primary: KubeObject | undefined;
    readonly canary: KubeObject | undefined;
  };
  readonly destinationRules: {
    readonly primary: KubeObject | undefined;
    readonly canary: KubeObject | undefined;
  };
  readonly virtualService: KubeObject | undefined;
  readonly awaitProxyAcks: boolean;
}

export function configChecksums(observation: Observation): Readonly<Record<string, string>> {
  return Object.fromEntries(
    observation.configs.map((c) => [
      `${c.kind.toLowerCase()}/${c.object.metadata.name}`,
      c.checksum,
    ]),
  );
}

/** Whether every connected proxy has the VirtualService's current generation (docs/architecture.md, Seams). */
export function isAcknowledged(observation: Observation): boolean {
  const route = observation.virtualService;
  if (!observation.awaitProxyAcks || route === undefined) return true;
  const status = objectAt(route, "status");
  const seen = Number(status["observedGeneration"] ?? 0);
  const isReconciled = arrayAt(status, "conditions").some(
    (c) =>
      objectAt({ c }, "c")["type"] === "Reconciled" && objectAt({ c }, "c")["status"] === "True",
  );
  return isReconciled && seen >= (route.metadata.generation ?? 0);
}

export type Readiness =
  | { readonly kind: "ready" }
  | { readonly kind: "waiting"; readonly reason: string }
  | { readonly kind: "failed"; readonly reason: string };

/** Flagger's readiness of a Deployment. `failed` = it cannot become ready any more within its deadline. */
export function readiness(
  deployment: KubeObject,
  readyPercent: number,
  deadlineSeconds: number,
  nowMs: number,
): Readiness {
  const { name, namespace, generation = 0 } = deployment.metadata;
  const label = `${name}.${namespace}`;
  const status = objectAt(deployment, "status");
  const wanted = Number(objectAt(deployment, "spec")["replicas"] ?? 1);
  const count = (field: string): number => Number(status[field] ?? 0);
  if (count("observedGeneration") < generation) {
    return {
      kind: "waiting",
      reason: `waiting for rollout to start: ${label} is not observed yet`,
    };
  }
  const conditions = arrayAt(status, "conditions").map((c) => objectAt({ c }, "c"));
  const condition = (type: string) => conditions.find((c) => c["type"] === type);
  if (condition("Progressing")?.["reason"] === "ProgressDeadlineExceeded") {
    return { kind: "failed", reason: `deployment ${label} exceeded its progress deadline` };
  }
  const waiting = waitingReason(wanted, readyPercent, count);
  if (waiting === undefined) return { kind: "ready" };
  const available = condition("Available");
  const since = available?.["lastUpdateTime"] ?? available?.["lastTransitionTime"];
  if (
    available?.["status"] === "False" &&
    available["reason"] === "MinimumReplicasUnavailable" &&
    typeof since === "string"
  ) {
    const sinceMs = Temporal.Instant.from(since).epochMilliseconds;
    if (nowMs - sinceMs > deadlineSeconds * 1000) {
      return {
        kind: "failed",
        reason: `deployment ${label} was not available for more than ${deadlineSeconds}s`,
      };
    }
  }
  return { kind: "waiting", reason: `waiting for rollout to finish: ${label}: ${waiting}` };
}

function waitingReason(
  wanted: number,
  readyPercent: number,
  count: (field: string) => number,
): string | undefined {
  const updated = count("updatedReplicas");
  if (wanted === 0) return "it is scaled to 0";
  if (updated < wanted) return `${updated} of ${wanted} new replicas have been updated`;
  if (count("replicas") > updated)
    return `${count("replicas") - updated} old replicas are pending termination`;
  const needed = Math.trunc((updated * readyPercent) / 100);
  if (count("availableReplicas") < needed)
    return `${count("availableReplicas")} of ${needed} updated replicas are available`;
  return undefined;
}
