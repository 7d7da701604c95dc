import { type JsonObject, objectAt } from "../json.ts";
import { defaultPodSpec } from "./pod.ts";
import { ensureObject, setDefault } from "./set-default.ts";

function defaultTemplate(spec: JsonObject): void {
  const template = ensureObject(spec, "template");
  setDefault(template, "metadata", {});
  defaultPodSpec(ensureObject(template, "spec"));
}

/** apps/v1 Deployment. */
export function defaultDeployment(deployment: JsonObject): void {
  const spec = ensureObject(deployment, "spec");
  defaultTemplate(spec);
  setDefault(spec, "replicas", 1);
  setDefault(spec, "revisionHistoryLimit", 10);
  setDefault(spec, "progressDeadlineSeconds", 600);
  const strategy = ensureObject(spec, "strategy");
  setDefault(strategy, "type", "RollingUpdate");
  if (strategy["type"] === "RollingUpdate") {
    const rollingUpdate = ensureObject(strategy, "rollingUpdate");
    setDefault(rollingUpdate, "maxUnavailable", "25%");
    setDefault(rollingUpdate, "maxSurge", "25%");
  }
}

/** apps/v1 ReplicaSet. */
export function defaultReplicaSet(replicaSet: JsonObject): void {
  const spec = ensureObject(replicaSet, "spec");
  defaultTemplate(spec);
  setDefault(spec, "replicas", 1);
}

/** apps/v1 StatefulSet. */
export function defaultStatefulSet(statefulSet: JsonObject): void {
  const spec = ensureObject(statefulSet, "spec");
  defaultTemplate(spec);
  setDefault(spec, "replicas", 1);
  setDefault(spec, "revisionHistoryLimit", 10);
  setDefault(spec, "podManagementPolicy", "OrderedReady");
  setDefault(spec, "persistentVolumeClaimRetentionPolicy", {
    whenDeleted: "Retain",
    whenScaled: "Retain",
  });
  const strategy = ensureObject(spec, "updateStrategy");
  setDefault(strategy, "type", "RollingUpdate");
  if (strategy["type"] === "RollingUpdate") setDefault(strategy, "rollingUpdate", { partition: 0 });
}

/** apps/v1 DaemonSet. */
export function defaultDaemonSet(daemonSet: JsonObject): void {
  const spec = ensureObject(daemonSet, "spec");
  defaultTemplate(spec);
  setDefault(spec, "revisionHistoryLimit", 10);
  const strategy = ensureObject(spec, "updateStrategy");
  setDefault(strategy, "type", "RollingUpdate");
  if (strategy["type"] === "RollingUpdate") {
    const rollingUpdate = ensureObject(strategy, "rollingUpdate");
    setDefault(rollingUpdate, "maxUnavailable", 1);
    setDefault(rollingUpdate, "maxSurge", 0);
  }
}

/** batch/v1 Job; its selector is generated from the uid, as the real server does. */
export function defaultJob(job: JsonObject): void {
  const spec = ensureObject(job, "spec");
  const template = ensureObject(spec, "template");
  defaultTemplate(spec);
  setDefault(spec, "completions", 1);
  setDefault(spec, "parallelism", 1);
  setDefault(spec, "backoffLimit", 6);
  setDefault(spec, "completionMode", "NonIndexed");
  setDefault(spec, "suspend", false);
  setDefault(spec, "manualSelector", false);
  setDefault(spec, "podReplacementPolicy", "TerminatingOrFailed");
  const uid = objectAt(job, "metadata")?.["uid"];
  if (spec["selector"] !== undefined || typeof uid !== "string") return;
  spec["selector"] = { matchLabels: { "batch.kubernetes.io/controller-uid": uid } };
  const metadata = ensureObject(template, "metadata");
  const labels = ensureObject(metadata, "labels");
  labels["batch.kubernetes.io/controller-uid"] = uid;
  labels["batch.kubernetes.io/job-name"] = objectAt(job, "metadata")?.["name"];
}

/** autoscaling/v2 HorizontalPodAutoscaler. */
export function defaultHorizontalPodAutoscaler(autoscaler: JsonObject): void {
  const spec = ensureObject(autoscaler, "spec");
  setDefault(spec, "minReplicas", 1);
  if (spec["metrics"] !== undefined) return;
  const target = { type: "Utilization", averageUtilization: 80 };
  spec["metrics"] = [{ type: "Resource", resource: { name: "cpu", target } }];
}
