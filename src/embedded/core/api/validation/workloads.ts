import { type LabelSelector, matchesSelector, type StringMap } from "../../../../api/index.ts";
import {
  type FieldError,
  forbiddenField,
  invalidValue,
  notSupported,
  required,
} from "../field-error.ts";
import { isObject, type JsonObject, numberAt, objectAt, stringAt } from "../json.ts";
import { immutable, validateLabels, validateSelector } from "./metadata.ts";
import { atLeastZero, oneOf, validatePodSpec } from "./pod.ts";

function validateTemplate(
  spec: JsonObject,
  restartPolicies: readonly string[],
  errors: FieldError[],
): void {
  const template = objectAt(spec, "template") ?? {};
  errors.push(
    ...validateLabels(objectAt(template, "metadata", "labels"), "spec.template.metadata.labels"),
  );
  const podSpec = objectAt(template, "spec") ?? {};
  errors.push(...validatePodSpec(podSpec, "spec.template.spec"));
  const policy = stringAt(podSpec, "restartPolicy") ?? "";
  if (!restartPolicies.includes(policy) && ["Always", "OnFailure", "Never"].includes(policy)) {
    errors.push(notSupported("spec.template.spec.restartPolicy", policy, restartPolicies));
  }
}

function validateWorkload(workload: JsonObject, kind: string): FieldError[] {
  const errors: FieldError[] = [];
  const spec = objectAt(workload, "spec") ?? {};
  atLeastZero(spec, "replicas", "spec", errors);
  atLeastZero(spec, "minReadySeconds", "spec", errors);
  atLeastZero(spec, "revisionHistoryLimit", "spec", errors);
  const selector = spec["selector"];
  if (!isObject(selector)) errors.push(required("spec.selector"));
  else {
    errors.push(...validateSelector(selector, "spec.selector"));
    if (isEmptySelector(selector)) {
      errors.push(invalidValue("spec.selector", selector, `empty selector is invalid for ${kind}`));
    } else {
      const labels = objectAt(spec, "template", "metadata", "labels") ?? {};
      if (!matchesSelector(selector as LabelSelector, labels as StringMap)) {
        const detail = "`selector` does not match template `labels`";
        errors.push(invalidValue("spec.template.metadata.labels", labels, detail));
      }
    }
  }
  validateTemplate(spec, ["Always"], errors);
  return errors;
}

function isEmptySelector(selector: JsonObject): boolean {
  const expressions = selector["matchExpressions"];
  return (
    Object.keys(objectAt(selector, "matchLabels") ?? {}).length === 0 &&
    !(Array.isArray(expressions) && expressions.length > 0)
  );
}

/** apps/v1 Deployment. */
export function validateDeployment(deployment: JsonObject): readonly FieldError[] {
  const errors = validateWorkload(deployment, "deployment");
  const spec = objectAt(deployment, "spec") ?? {};
  const strategy = objectAt(spec, "strategy") ?? {};
  oneOf(strategy, "type", ["Recreate", "RollingUpdate"], "spec.strategy", errors);
  const rolling = objectAt(strategy, "rollingUpdate");
  if (strategy["type"] === "Recreate" && rolling !== undefined) {
    errors.push(
      forbiddenField(
        "spec.strategy.rollingUpdate",
        "may not be specified when strategy `type` is 'Recreate'",
      ),
    );
  } else if (rolling !== undefined) validateRollingUpdate(rolling, errors);
  atLeastZero(spec, "progressDeadlineSeconds", "spec", errors);
  const deadline = numberAt(spec, "progressDeadlineSeconds");
  if (deadline !== undefined && deadline <= (numberAt(spec, "minReadySeconds") ?? 0)) {
    const detail = "must be greater than minReadySeconds";
    errors.push(invalidValue("spec.progressDeadlineSeconds", deadline, detail));
  }
  return errors;
}

function validateRollingUpdate(rolling: JsonObject, errors: FieldError[]): void {
  const field = "spec.strategy.rollingUpdate";
  for (const name of ["maxUnavailable", "maxSurge"]) {
    const value = rolling[name];
    if (typeof value === "string" && !/^\d+%$/.test(value)) {
      const detail =
        "a valid percent string must be a numeric string followed by an ending '%' (e.g. '1%',  or '93%', regex used for validation is '[0-9]+%')";
      errors.push(invalidValue(`${field}.${name}`, value, detail));
    } else atLeastZero(rolling, name, field, errors);
  }
  const isZero = (value: unknown): boolean => value === 0 || value === "0%";
  if (isZero(rolling["maxUnavailable"]) && isZero(rolling["maxSurge"])) {
    const detail = "may not be 0 when `maxSurge` is 0";
    errors.push(invalidValue(`${field}.maxUnavailable`, rolling["maxUnavailable"], detail));
  }
  const unavailable = rolling["maxUnavailable"];
  if (typeof unavailable === "string" && Number.parseInt(unavailable, 10) > 100) {
    errors.push(
      invalidValue(`${field}.maxUnavailable`, unavailable, "must not be greater than 100%"),
    );
  }
}

/** apps/v1 ReplicaSet. */
export function validateReplicaSet(replicaSet: JsonObject): readonly FieldError[] {
  return validateWorkload(replicaSet, "deployment");
}

/** apps/v1 StatefulSet. */
export function validateStatefulSet(statefulSet: JsonObject): readonly FieldError[] {
  return validateWorkload(statefulSet, "statefulset");
}

/** apps/v1 DaemonSet. */
export function validateDaemonSet(daemonSet: JsonObject): readonly FieldError[] {
  return validateWorkload(daemonSet, "daemonset");
}

/** batch/v1 Job. */
export function validateJob(job: JsonObject): readonly FieldError[] {
  const errors: FieldError[] = [];
  const spec = objectAt(job, "spec") ?? {};
  for (const field of ["parallelism", "completions", "backoffLimit", "activeDeadlineSeconds"]) {
    atLeastZero(spec, field, "spec", errors);
  }
  const podSpec = objectAt(spec, "template", "spec") ?? {};
  if (podSpec["restartPolicy"] === "Always") {
    errors.push(notSupported("spec.template.spec.restartPolicy", "Always", ["OnFailure", "Never"]));
  }
  errors.push(...validatePodSpec(podSpec, "spec.template.spec"));
  return errors;
}

/** The selector of a workload never changes. */
export function validateWorkloadUpdate(next: JsonObject, old: JsonObject): readonly FieldError[] {
  return immutable(
    objectAt(next, "spec")?.["selector"],
    objectAt(old, "spec")?.["selector"],
    "spec.selector",
  );
}

/** A Job's selector and template never change. */
export function validateJobUpdate(next: JsonObject, old: JsonObject): readonly FieldError[] {
  return ["selector", "template", "completionMode"].flatMap((field) =>
    immutable(objectAt(next, "spec")?.[field], objectAt(old, "spec")?.[field], `spec.${field}`),
  );
}

/** autoscaling/v2 HorizontalPodAutoscaler. */
export function validateHorizontalPodAutoscaler(autoscaler: JsonObject): readonly FieldError[] {
  const errors: FieldError[] = [];
  const spec = objectAt(autoscaler, "spec") ?? {};
  const reference = objectAt(spec, "scaleTargetRef") ?? {};
  for (const field of ["kind", "name"]) {
    if ((stringAt(reference, field) ?? "") === "") {
      errors.push(required(`spec.scaleTargetRef.${field}`));
    }
  }
  const minReplicas = numberAt(spec, "minReplicas") ?? 1;
  const maxReplicas = numberAt(spec, "maxReplicas") ?? 0;
  if (minReplicas < 1) {
    errors.push(
      invalidValue("spec.minReplicas", minReplicas, "must be greater than or equal to 1"),
    );
  }
  if (maxReplicas < 1) {
    errors.push(invalidValue("spec.maxReplicas", maxReplicas, "must be greater than 0"));
  } else if (maxReplicas < minReplicas) {
    const detail = "must be greater than or equal to `minReplicas`";
    errors.push(invalidValue("spec.maxReplicas", maxReplicas, detail));
  }
  return errors;
}
