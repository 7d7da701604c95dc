import type { LabelSelector } from "../../../../api/index.ts";
import { ageSince, formatAge, timestampMs } from "../age.ts";
import { type JsonObject, numberAt, objectAt, objectsAt, stringAt } from "../json.ts";
import { formatLabelSelector } from "../label-selector.ts";
import { column, NAME_COLUMN, type TableColumns, wideColumn } from "./table-columns.ts";

const nameOf = (object: JsonObject): unknown => stringAt(object, "metadata", "name");
const ageOf = (object: JsonObject, nowMs: number): string =>
  ageSince(stringAt(object, "metadata", "creationTimestamp"), nowMs);
const statusNumber = (object: JsonObject, field: string): number =>
  numberAt(object, "status", field) ?? 0;
const containers = (object: JsonObject, field: string): string =>
  objectsAt(object, "spec", "template", "spec", "containers")
    .map((container) => stringAt(container, field) ?? "")
    .join(",");
const selectorOf = (object: JsonObject): string =>
  formatLabelSelector(objectAt(object, "spec", "selector") as LabelSelector | undefined) ||
  "<none>";

const TEMPLATE = [wideColumn("Containers"), wideColumn("Images"), wideColumn("Selector")];
const templateCells = (object: JsonObject): readonly unknown[] => [
  containers(object, "name"),
  containers(object, "image"),
  selectorOf(object),
];

/** apps/v1 Deployment. */
export const deploymentColumns: TableColumns = {
  definitions: [
    NAME_COLUMN,
    column("Ready"),
    column("Up-to-date"),
    column("Available"),
    column("Age"),
    ...TEMPLATE,
  ],
  cells: (object, nowMs) => [
    nameOf(object),
    `${statusNumber(object, "readyReplicas")}/${numberAt(object, "spec", "replicas") ?? 0}`,
    statusNumber(object, "updatedReplicas"),
    statusNumber(object, "availableReplicas"),
    ageOf(object, nowMs),
    ...templateCells(object),
  ],
};

/** apps/v1 ReplicaSet. */
export const replicaSetColumns: TableColumns = {
  definitions: [
    NAME_COLUMN,
    column("Desired", "integer"),
    column("Current", "integer"),
    column("Ready", "integer"),
    column("Age"),
    ...TEMPLATE,
  ],
  cells: (object, nowMs) => [
    nameOf(object),
    numberAt(object, "spec", "replicas") ?? 0,
    statusNumber(object, "replicas"),
    statusNumber(object, "readyReplicas"),
    ageOf(object, nowMs),
    ...templateCells(object),
  ],
};

/** apps/v1 StatefulSet. */
export const statefulSetColumns: TableColumns = {
  definitions: [
    NAME_COLUMN,
    column("Ready"),
    column("Age"),
    wideColumn("Containers"),
    wideColumn("Images"),
  ],
  cells: (object, nowMs) => [
    nameOf(object),
    `${statusNumber(object, "readyReplicas")}/${numberAt(object, "spec", "replicas") ?? 0}`,
    ageOf(object, nowMs),
    containers(object, "name"),
    containers(object, "image"),
  ],
};

/** apps/v1 DaemonSet. */
export const daemonSetColumns: TableColumns = {
  definitions: [
    NAME_COLUMN,
    ...["Desired", "Current", "Ready", "Up-to-date", "Available"].map((n) => column(n, "integer")),
    column("Node Selector"),
    column("Age"),
    ...TEMPLATE,
  ],
  cells: (object, nowMs) => [
    nameOf(object),
    ...[
      "desiredNumberScheduled",
      "currentNumberScheduled",
      "numberReady",
      "updatedNumberScheduled",
      "numberAvailable",
    ].map((field) => statusNumber(object, field)),
    Object.entries(objectAt(object, "spec", "template", "spec", "nodeSelector") ?? {})
      .map(([key, value]) => `${key}=${String(value)}`)
      .join(",") || "<none>",
    ageOf(object, nowMs),
    ...templateCells(object),
  ],
};

/** batch/v1 Job. */
export const jobColumns: TableColumns = {
  definitions: [
    NAME_COLUMN,
    column("Status"),
    column("Completions"),
    column("Duration"),
    column("Age"),
    ...TEMPLATE,
  ],
  cells: (object, nowMs) => [
    nameOf(object),
    jobStatus(object),
    `${statusNumber(object, "succeeded")}/${numberAt(object, "spec", "completions") ?? 1}`,
    jobDuration(object, nowMs),
    ageOf(object, nowMs),
    ...templateCells(object),
  ],
};

function jobStatus(job: JsonObject): string {
  const conditions = objectsAt(job, "status", "conditions");
  const holds = (type: string): boolean =>
    conditions.some((condition) => condition["type"] === type && condition["status"] === "True");
  if (holds("Complete")) return "Complete";
  if (holds("Failed")) return "Failed";
  if (stringAt(job, "metadata", "deletionTimestamp") !== undefined) return "Terminating";
  if (holds("Suspended")) return "Suspended";
  return "Running";
}

function jobDuration(job: JsonObject, nowMs: number): string {
  const startMs = timestampMs(stringAt(job, "status", "startTime"));
  if (startMs === undefined) return "";
  const endMs = timestampMs(stringAt(job, "status", "completionTime")) ?? nowMs;
  return formatAge(endMs - startMs);
}

/** autoscaling/v2 HorizontalPodAutoscaler. */
export const autoscalerColumns: TableColumns = {
  definitions: [
    NAME_COLUMN,
    column("Reference"),
    column("Targets"),
    column("MinPods"),
    column("MaxPods"),
    column("Replicas"),
    column("Age"),
  ],
  cells: (object, nowMs) => [
    nameOf(object),
    `${stringAt(object, "spec", "scaleTargetRef", "kind")}/${stringAt(object, "spec", "scaleTargetRef", "name")}`,
    objectsAt(object, "spec", "metrics")
      .map((metric) => {
        const name = stringAt(metric, "resource", "name") ?? stringAt(metric, "type") ?? "";
        const target = numberAt(metric, "resource", "target", "averageUtilization");
        return `${name}: <unknown>${target === undefined ? "" : `/${target}%`}`;
      })
      .join(", ") || "<none>",
    numberAt(object, "spec", "minReplicas") ?? "<unset>",
    numberAt(object, "spec", "maxReplicas") ?? 0,
    statusNumber(object, "currentReplicas"),
    ageOf(object, nowMs),
  ],
};
