import { timestampMs } from "../api/age.ts";
import type { JsonObject } from "../api/json.ts";
import { numberAt, objectsAt, stringAt } from "../api/json.ts";

/** A condition that a pass wants; undefined fields mean "none". */
export interface ProgressNote {
  readonly reason: "NewReplicaSetCreated" | "FoundNewReplicaSet";
  readonly message: string;
}

export interface DeploymentCounts {
  /** spec.replicas */
  readonly desired: number;
  /** Sum of the ReplicaSets' spec.replicas. */
  readonly planned: number;
  readonly replicas: number;
  readonly updated: number;
  readonly ready: number;
  readonly available: number;
  readonly maxUnavailable: number;
}

export interface DeploymentStatusInput {
  readonly generation: number;
  readonly old: JsonObject;
  readonly counts: DeploymentCounts;
  /** Of the new ReplicaSet, for messages. */
  readonly newName: string | undefined;
  readonly note: ProgressNote | undefined;
  readonly progressDeadlineSeconds: number | undefined;
  readonly isPaused: boolean;
  readonly collisionCount: number;
  readonly nowMs: number;
  /** The same as RFC 3339. */
  readonly now: string;
}

/**
 * A Deployment's status as kube-controller-manager writes it: counts, and the conditions Available
 * and Progressing that `kubectl rollout status` reads.
 */
export function deploymentStatus(input: DeploymentStatusInput): JsonObject {
  const { counts, generation, old, collisionCount } = input;
  const unavailable = Math.max(0, counts.planned - counts.available);
  const status: JsonObject = {
    observedGeneration: generation,
    ...positive("replicas", counts.replicas),
    ...positive("updatedReplicas", counts.updated),
    ...positive("readyReplicas", counts.ready),
    ...positive("availableReplicas", counts.available),
    ...positive("unavailableReplicas", unavailable),
    ...positive("collisionCount", collisionCount),
  };
  const conditions = objectsAt(old, "conditions");
  const kept = conditions.filter(({ type }) => type !== "Available" && type !== "Progressing");
  const progressing = progressCondition(input);
  return {
    ...status,
    conditions: [
      ...(progressing === undefined ? [] : [progressing]),
      availableCondition(input),
      ...kept,
    ],
  };
}

function positive(field: string, count: number): JsonObject {
  return count > 0 ? { [field]: count } : {};
}

function availableCondition({ counts, old, now }: DeploymentStatusInput): JsonObject {
  const isAvailable = counts.available >= counts.desired - counts.maxUnavailable;
  return conditionOf(old, now, {
    type: "Available",
    status: isAvailable ? "True" : "False",
    reason: isAvailable ? "MinimumReplicasAvailable" : "MinimumReplicasUnavailable",
    message: isAvailable
      ? "Deployment has minimum availability."
      : "Deployment does not have minimum availability.",
  });
}

/** Whether every replica runs the new template and is available. */
export function isComplete({ desired, replicas, updated, available }: DeploymentCounts): boolean {
  return updated === desired && replicas === desired && available === desired;
}

function progressCondition(input: DeploymentStatusInput): JsonObject | undefined {
  const { old, counts, newName, note, nowMs, now, progressDeadlineSeconds, isPaused } = input;
  const known = conditionAt(old, "Progressing");
  if (progressDeadlineSeconds === undefined) return undefined;
  const name = newName === undefined ? "the new replica set" : `ReplicaSet "${newName}"`;
  const set = (status: string, reason: string, message: string): JsonObject =>
    conditionOf(old, now, { type: "Progressing", status, reason, message });
  if (isPaused) return set("Unknown", "DeploymentPaused", "Deployment is paused");
  if (known?.["reason"] === "DeploymentPaused") {
    return set("Unknown", "DeploymentResumed", "Deployment is resumed");
  }
  const hasBeenComplete =
    known?.["reason"] === "NewReplicaSetAvailable" && counts.replicas === counts.updated;
  if (hasBeenComplete && note === undefined) return known;
  if (isComplete(counts)) {
    return set("True", "NewReplicaSetAvailable", `${name} has successfully progressed.`);
  }
  if (note !== undefined) return set("True", note.reason, note.message);
  // A rollout that was through is under way again, to a ReplicaSet that was there: its clock starts.
  const isNewStart = known?.["reason"] === "NewReplicaSetAvailable";
  if (known === undefined || isNewStart || hasProgressed(old, counts)) {
    const message = `${name} is progressing.`;
    return { ...set("True", "ReplicaSetUpdated", message), lastUpdateTime: now };
  }
  const sinceMs = timestampMs(known["lastUpdateTime"]) ?? nowMs;
  if (known["status"] !== "False" && nowMs - sinceMs >= progressDeadlineSeconds * 1000) {
    return set("False", "ProgressDeadlineExceeded", `${name} has timed out progressing.`);
  }
  return known;
}

function hasProgressed(old: JsonObject, counts: DeploymentCounts): boolean {
  const was = (field: string): number => numberAt(old, field) ?? 0;
  return (
    counts.updated > was("updatedReplicas") ||
    counts.ready > was("readyReplicas") ||
    counts.available > was("availableReplicas") ||
    counts.replicas - counts.updated < was("replicas") - was("updatedReplicas")
  );
}

function conditionAt(status: JsonObject, type: string): JsonObject | undefined {
  return objectsAt(status, "conditions").find((condition) => condition["type"] === type);
}

interface ConditionText {
  readonly type: string;
  readonly status: string;
  readonly reason: string;
  readonly message: string;
}

/** Keeps the times of what did not change. */
function conditionOf(old: JsonObject, now: string, text: ConditionText): JsonObject {
  const known = conditionAt(old, text.type);
  const isSame =
    known?.["status"] === text.status &&
    known["reason"] === text.reason &&
    known["message"] === text.message;
  if (isSame) return known;
  const lastTransitionTime =
    known?.["status"] === text.status ? (stringAt(known, "lastTransitionTime") ?? now) : now;
  return { ...text, lastUpdateTime: now, lastTransitionTime };
}
