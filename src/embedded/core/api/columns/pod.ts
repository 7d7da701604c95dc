import { ageSince, formatAge, timestampMs } from "../age.ts";
import { type JsonObject, numberAt, objectAt, objectsAt, stringAt } from "../json.ts";
import { column, NAME_COLUMN, type TableColumns, wideColumn } from "./table-columns.ts";

/** Pods as `kubectl get pods` shows them (pkg/printers/internalversion printPod). */
export const podColumns: TableColumns = {
  definitions: [
    NAME_COLUMN,
    column("Ready"),
    column("Status"),
    column("Restarts"),
    column("Age"),
    wideColumn("IP"),
    wideColumn("Node"),
    wideColumn("Nominated Node"),
    wideColumn("Readiness Gates"),
  ],
  cells: (pod, nowMs) => {
    const statuses = countedStatuses(pod);
    const ready = statuses.filter((s) => s["ready"] === true && isRunning(s)).length;
    return [
      stringAt(pod, "metadata", "name"),
      `${ready}/${countedContainers(pod)}`,
      podStatus(pod),
      restarts(statuses, nowMs),
      ageSince(stringAt(pod, "metadata", "creationTimestamp"), nowMs),
      stringAt(pod, "status", "podIP") ?? "<none>",
      stringAt(pod, "spec", "nodeName") ?? "<none>",
      stringAt(pod, "status", "nominatedNodeName") ?? "<none>",
      readinessGates(pod),
    ];
  },
};

function isRunning(status: JsonObject): boolean {
  return objectAt(status, "state", "running") !== undefined;
}

/** Init containers that stay (restartPolicy Always) count as containers. */
function sidecarNames(pod: JsonObject): readonly unknown[] {
  return objectsAt(pod, "spec", "initContainers")
    .filter((container) => container["restartPolicy"] === "Always")
    .map((container) => container["name"]);
}

function countedContainers(pod: JsonObject): number {
  return objectsAt(pod, "spec", "containers").length + sidecarNames(pod).length;
}

function countedStatuses(pod: JsonObject): readonly JsonObject[] {
  const sidecars = sidecarNames(pod);
  return [
    ...objectsAt(pod, "status", "initContainerStatuses").filter((s) =>
      sidecars.includes(s["name"]),
    ),
    ...objectsAt(pod, "status", "containerStatuses"),
  ];
}

function restarts(statuses: readonly JsonObject[], nowMs: number): string {
  const count = statuses.reduce((sum, status) => sum + (numberAt(status, "restartCount") ?? 0), 0);
  const last = statuses
    .map((status) => timestampMs(stringAt(status, "lastState", "terminated", "finishedAt")))
    .filter((atMs) => atMs !== undefined)
    .sort((a, b) => b - a)[0];
  return count === 0 || last === undefined
    ? String(count)
    : `${count} (${formatAge(nowMs - last)} ago)`;
}

function podStatus(pod: JsonObject): string {
  const phase = stringAt(pod, "status", "phase") ?? "Pending";
  let reason = stringAt(pod, "status", "reason") ?? phase;
  for (const condition of objectsAt(pod, "status", "conditions")) {
    if (condition["type"] === "PodScheduled" && condition["reason"] === "SchedulingGated") {
      reason = "SchedulingGated";
    }
  }
  const initializing = initReason(pod);
  if (initializing === undefined || isInitialized(pod)) reason = containersReason(pod, reason);
  else reason = initializing;
  if (stringAt(pod, "metadata", "deletionTimestamp") === undefined) return reason;
  if (stringAt(pod, "status", "reason") === "NodeLost") return "Unknown";
  return phase === "Succeeded" || phase === "Failed" ? reason : "Terminating";
}

function isInitialized(pod: JsonObject): boolean {
  return objectsAt(pod, "status", "conditions").some(
    (condition) => condition["type"] === "Initialized" && condition["status"] === "True",
  );
}

/** `Init:0/1` and the like while init containers run. */
function initReason(pod: JsonObject): string | undefined {
  const sidecars = sidecarNames(pod);
  const total = objectsAt(pod, "spec", "initContainers").length;
  for (const [index, status] of objectsAt(pod, "status", "initContainerStatuses").entries()) {
    const terminated = objectAt(status, "state", "terminated");
    if (terminated?.["exitCode"] === 0) continue;
    if (sidecars.includes(status["name"]) && status["started"] === true) continue;
    if (terminated !== undefined) return `Init:${terminatedReason(terminated)}`;
    const waiting = stringAt(status, "state", "waiting", "reason");
    if (waiting !== undefined && waiting !== "" && waiting !== "PodInitializing") {
      return `Init:${waiting}`;
    }
    return `Init:${index}/${total}`;
  }
  return undefined;
}

function containersReason(pod: JsonObject, otherwise: string): string {
  let reason = otherwise;
  let hasRunning = false;
  for (const status of [...objectsAt(pod, "status", "containerStatuses")].reverse()) {
    const waiting = stringAt(status, "state", "waiting", "reason") ?? "";
    const terminated = objectAt(status, "state", "terminated");
    if (waiting !== "") reason = waiting;
    else if (terminated !== undefined) reason = terminatedReason(terminated);
    else if (status["ready"] === true && isRunning(status)) hasRunning = true;
  }
  if (reason !== "Completed" || !hasRunning) return reason;
  const isReady = objectsAt(pod, "status", "conditions").some(
    (condition) => condition["type"] === "Ready" && condition["status"] === "True",
  );
  return isReady ? "Running" : "NotReady";
}

function terminatedReason(terminated: JsonObject): string {
  const reason = stringAt(terminated, "reason") ?? "";
  if (reason !== "") return reason;
  const signal = numberAt(terminated, "signal") ?? 0;
  return signal !== 0 ? `Signal:${signal}` : `ExitCode:${numberAt(terminated, "exitCode") ?? 0}`;
}

function readinessGates(pod: JsonObject): string {
  const gates = objectsAt(pod, "spec", "readinessGates");
  if (gates.length === 0) return "<none>";
  const met = gates.filter((gate) =>
    objectsAt(pod, "status", "conditions").some(
      (c) => c["type"] === gate["conditionType"] && c["status"] === "True",
    ),
  );
  return `${met.length}/${gates.length}`;
}
