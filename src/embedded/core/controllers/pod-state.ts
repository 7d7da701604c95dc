import type { KubeObject } from "../../../api/index.ts";
import { timestampMs } from "../api/age.ts";
import { type JsonObject, numberAt, objectsAt, stringAt } from "../api/json.ts";

/** Neither ended nor on its way out. */
export function isActive(pod: KubeObject): boolean {
  const phase = stringAt(pod, "status", "phase");
  return phase !== "Succeeded" && phase !== "Failed" && !isTerminating(pod);
}

export function isTerminating(pod: KubeObject): boolean {
  return pod.metadata.deletionTimestamp !== undefined;
}

export function readyCondition(pod: KubeObject): JsonObject | undefined {
  return objectsAt(pod, "status", "conditions").find(({ type }) => type === "Ready");
}

export function isReady(pod: KubeObject): boolean {
  return readyCondition(pod)?.["status"] === "True";
}

/**
 * How long until a ready pod counts as available (`minReadySeconds` after it became ready): 0 = it
 * does, undefined = it is not ready.
 */
export function availableInMs(
  pod: KubeObject,
  minReadySeconds: number,
  nowMs: number,
): number | undefined {
  const condition = readyCondition(pod);
  if (condition?.["status"] !== "True") return undefined;
  if (minReadySeconds === 0) return 0;
  const sinceMs = timestampMs(condition["lastTransitionTime"]);
  return sinceMs === undefined ? undefined : Math.max(0, sinceMs + minReadySeconds * 1000 - nowMs);
}

const PHASE_ORDER = ["Pending", "Unknown", "Running"];

/**
 * Which of two surplus pods a ReplicaSet deletes first: negative = `a`. Not bound before bound,
 * pending before running, not ready before ready, lower deletion cost, shorter time ready, more
 * restarts, younger. Source: kube-controller-manager's ActivePodsWithRanks.
 */
export function compareForDeletion(a: KubeObject, b: KubeObject): number {
  return (
    Number(stringAt(a, "spec", "nodeName") !== undefined) -
      Number(stringAt(b, "spec", "nodeName") !== undefined) ||
    phaseRank(a) - phaseRank(b) ||
    Number(isReady(a)) - Number(isReady(b)) ||
    deletionCost(a) - deletionCost(b) ||
    readySinceMs(b) - readySinceMs(a) ||
    restarts(b) - restarts(a) ||
    createdMs(b) - createdMs(a)
  );
}

function phaseRank(pod: KubeObject): number {
  return PHASE_ORDER.indexOf(stringAt(pod, "status", "phase") ?? "Pending");
}

function deletionCost(pod: KubeObject): number {
  const cost = Number(
    pod.metadata.annotations?.["controller.kubernetes.io/pod-deletion-cost"] ?? 0,
  );
  return Number.isFinite(cost) ? cost : 0;
}

function readySinceMs(pod: KubeObject): number {
  return timestampMs(readyCondition(pod)?.["lastTransitionTime"]) ?? 0;
}

function restarts(pod: KubeObject): number {
  return objectsAt(pod, "status", "containerStatuses").reduce(
    (most, status) => Math.max(most, numberAt(status, "restartCount") ?? 0),
    0,
  );
}

function createdMs(pod: KubeObject): number {
  return timestampMs(pod.metadata.creationTimestamp) ?? 0;
}
