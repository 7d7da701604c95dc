import {
  duplicate,
  type FieldError,
  forbiddenField,
  invalidValue,
  missingReference,
  notSupported,
  required,
} from "../field-error.ts";
import {
  deepEqual,
  isObject,
  type JsonObject,
  numberAt,
  objectAt,
  objectsAt,
  stringAt,
} from "../json.ts";
import { dnsLabelProblem, dnsSubdomainProblem, portNameProblem } from "../names.ts";

const PORT_RANGE = "must be between 1 and 65535, inclusive";
const NOT_NEGATIVE = "must be greater than or equal to 0";
const QUANTITY = /^[+-]?(\d+\.?\d*|\.\d+)([KMGTPE]i|[numkMGTPE]|[eE][+-]?\d+)?$/;

/** Checks a PodSpec at `field` (pkg/apis/core/validation). */
export function validatePodSpec(spec: JsonObject, field: string): FieldError[] {
  const errors: FieldError[] = [];
  const volumes = validateVolumes(spec, field, errors);
  const containers = objectsAt(spec, "containers");
  if (containers.length === 0) errors.push(required(`${field}.containers`));
  const names = new Set<string>();
  for (const list of ["containers", "initContainers"]) {
    for (const [index, container] of objectsAt(spec, list).entries()) {
      const at = `${field}.${list}[${index}]`;
      validateContainer(container, at, volumes, errors);
      const name = stringAt(container, "name") ?? "";
      if (names.has(name)) errors.push(duplicate(`${at}.name`, name));
      if (name !== "") names.add(name);
    }
  }
  oneOf(spec, "restartPolicy", ["Always", "OnFailure", "Never"], field, errors);
  const dnsPolicies = ["ClusterFirst", "ClusterFirstWithHostNet", "Default", "None"];
  oneOf(spec, "dnsPolicy", dnsPolicies, field, errors);
  atLeastZero(spec, "terminationGracePeriodSeconds", field, errors);
  const account = stringAt(spec, "serviceAccountName") ?? "";
  const problem = account === "" ? undefined : dnsSubdomainProblem(account);
  if (problem !== undefined) {
    errors.push(invalidValue(`${field}.serviceAccountName`, account, problem));
  }
  return errors;
}

function validateVolumes(spec: JsonObject, field: string, errors: FieldError[]): Set<string> {
  const names = new Set<string>();
  for (const [index, volume] of objectsAt(spec, "volumes").entries()) {
    const at = `${field}.volumes[${index}]`;
    const name = stringAt(volume, "name") ?? "";
    if (name === "") errors.push(required(`${at}.name`));
    else {
      const problem = dnsLabelProblem(name);
      if (problem !== undefined) errors.push(invalidValue(`${at}.name`, name, problem));
      if (names.has(name)) errors.push(duplicate(`${at}.name`, name));
      names.add(name);
    }
    const sources = Object.keys(volume).filter((key) => key !== "name");
    for (const extra of sources.slice(1)) {
      errors.push(forbiddenField(`${at}.${extra}`, "may not specify more than 1 volume type"));
    }
  }
  return names;
}

function validateContainer(
  container: JsonObject,
  at: string,
  volumes: ReadonlySet<string>,
  errors: FieldError[],
): void {
  const name = stringAt(container, "name") ?? "";
  if (name === "") errors.push(required(`${at}.name`));
  else {
    const problem = dnsLabelProblem(name);
    if (problem !== undefined) errors.push(invalidValue(`${at}.name`, name, problem));
  }
  const image = stringAt(container, "image") ?? "";
  if (image === "") errors.push(required(`${at}.image`));
  else if (image.trim() !== image) {
    errors.push(invalidValue(`${at}.image`, image, "must not have leading or trailing whitespace"));
  }
  oneOf(container, "imagePullPolicy", ["Always", "IfNotPresent", "Never"], at, errors);
  const messagePolicies = ["FallbackToLogsOnError", "File"];
  oneOf(container, "terminationMessagePolicy", messagePolicies, at, errors);
  validatePorts(container, at, errors);
  validateEnv(container, at, errors);
  validateMounts(container, at, volumes, errors);
  for (const probe of ["livenessProbe", "readinessProbe", "startupProbe"]) {
    const found = objectAt(container, probe);
    if (found !== undefined) validateProbe(found, `${at}.${probe}`, probe, errors);
  }
  for (const list of ["limits", "requests"]) {
    for (const [resource, amount] of Object.entries(objectAt(container, "resources", list) ?? {})) {
      if (QUANTITY.test(String(amount))) continue;
      const detail =
        "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'";
      errors.push(invalidValue(`${at}.resources.${list}[${resource}]`, amount, detail));
    }
  }
}

function validatePorts(container: JsonObject, at: string, errors: FieldError[]): void {
  const names = new Set<string>();
  for (const [index, port] of objectsAt(container, "ports").entries()) {
    const here = `${at}.ports[${index}]`;
    const number = numberAt(port, "containerPort") ?? 0;
    if (number === 0) errors.push(required(`${here}.containerPort`));
    else if (!isPort(number)) {
      errors.push(invalidValue(`${here}.containerPort`, number, PORT_RANGE));
    }
    const hostPort = numberAt(port, "hostPort");
    if (hostPort !== undefined && hostPort !== 0 && !isPort(hostPort)) {
      errors.push(invalidValue(`${here}.hostPort`, hostPort, PORT_RANGE));
    }
    oneOf(port, "protocol", ["SCTP", "TCP", "UDP"], here, errors);
    const name = stringAt(port, "name") ?? "";
    if (name === "") continue;
    const problem = portNameProblem(name);
    if (problem !== undefined) errors.push(invalidValue(`${here}.name`, name, problem));
    if (names.has(name)) errors.push(duplicate(`${here}.name`, name));
    names.add(name);
  }
}

function validateEnv(container: JsonObject, at: string, errors: FieldError[]): void {
  for (const [index, variable] of objectsAt(container, "env").entries()) {
    const here = `${at}.env[${index}]`;
    const name = stringAt(variable, "name") ?? "";
    if (name === "") errors.push(required(`${here}.name`));
    else if (!/^[ -<>-~]+$/.test(name)) {
      const detail =
        "a valid environment variable name must consist only of printable ASCII characters other than '='";
      errors.push(invalidValue(`${here}.name`, name, detail));
    }
    const from = objectAt(variable, "valueFrom");
    if (from === undefined) continue;
    if ((stringAt(variable, "value") ?? "") !== "") {
      const detail = "may not be specified when `value` is not empty";
      errors.push(invalidValue(`${here}.valueFrom`, "", detail));
    }
    if (Object.keys(from).length !== 1) {
      const detail =
        "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef` or `secretKeyRef`";
      errors.push(invalidValue(`${here}.valueFrom`, "", detail));
    }
  }
}

function validateMounts(
  container: JsonObject,
  at: string,
  volumes: ReadonlySet<string>,
  errors: FieldError[],
): void {
  const paths = new Set<string>();
  for (const [index, mount] of objectsAt(container, "volumeMounts").entries()) {
    const here = `${at}.volumeMounts[${index}]`;
    const name = stringAt(mount, "name") ?? "";
    const path = stringAt(mount, "mountPath") ?? "";
    if (name === "") errors.push(required(`${here}.name`));
    else if (!volumes.has(name)) errors.push(missingReference(`${here}.name`, name));
    if (path === "") errors.push(required(`${here}.mountPath`));
    else if (paths.has(path)) {
      errors.push(invalidValue(`${here}.mountPath`, path, "must be unique"));
    }
    paths.add(path);
  }
}

function validateProbe(probe: JsonObject, at: string, kind: string, errors: FieldError[]): void {
  const handlers = ["exec", "httpGet", "tcpSocket", "grpc"].filter((h) => isObject(probe[h]));
  if (handlers.length === 0) errors.push(required(at, "must specify a handler type"));
  for (const extra of handlers.slice(1)) {
    errors.push(forbiddenField(`${at}.${extra}`, "may not specify more than 1 handler type"));
  }
  for (const handler of ["httpGet", "tcpSocket"]) {
    const found = objectAt(probe, handler);
    if (found !== undefined) validatePortReference(found["port"], `${at}.${handler}.port`, errors);
  }
  for (const field of [
    "initialDelaySeconds",
    "timeoutSeconds",
    "periodSeconds",
    "successThreshold",
    "failureThreshold",
  ]) {
    atLeastZero(probe, field, at, errors);
  }
  const successThreshold = numberAt(probe, "successThreshold") ?? 1;
  if (kind !== "readinessProbe" && successThreshold !== 1) {
    errors.push(invalidValue(`${at}.successThreshold`, successThreshold, "must be 1"));
  }
}

/** An int-or-string port: a number in range, or a port's name. */
export function validatePortReference(port: unknown, field: string, errors: FieldError[]): void {
  if (typeof port === "number") {
    if (!isPort(port)) errors.push(invalidValue(field, port, PORT_RANGE));
  } else if (typeof port === "string") {
    const problem = portNameProblem(port);
    if (problem !== undefined) errors.push(invalidValue(field, port, problem));
  } else errors.push(required(field));
}

/** Whether a number is a TCP or UDP port. */
export function isPort(number: number): boolean {
  return Number.isInteger(number) && number >= 1 && number <= 65_535;
}

/** A field that, when set, is one of a closed list. */
export function oneOf(
  object: JsonObject,
  name: string,
  allowed: readonly string[],
  field: string,
  errors: FieldError[],
): void {
  const value = object[name];
  if (value === undefined || value === "") return;
  if (!allowed.includes(String(value))) {
    errors.push(notSupported(`${field}.${name}`, value, allowed));
  }
}

/** A number that, when set, is not negative. */
export function atLeastZero(
  object: JsonObject,
  name: string,
  field: string,
  errors: FieldError[],
): void {
  const value = numberAt(object, name);
  if (value !== undefined && value < 0) {
    errors.push(invalidValue(`${field}.${name}`, value, NOT_NEGATIVE));
  }
}

/** v1 Pod. */
export function validatePod(pod: JsonObject): readonly FieldError[] {
  return validatePodSpec(objectAt(pod, "spec") ?? {}, "spec");
}

const POD_UPDATE =
  "pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)";

/**
 * What may change in a pod's spec once it exists: images, deadline, more tolerations; and, as the
 * binding subresource does on a real cluster, nodeName once.
 */
export function validatePodUpdate(next: JsonObject, old: JsonObject): readonly FieldError[] {
  const comparable = (pod: JsonObject, reference: JsonObject): JsonObject => {
    const spec = structuredClone(objectAt(pod, "spec") ?? {});
    delete spec["activeDeadlineSeconds"];
    delete spec["tolerations"];
    if ((stringAt(reference, "spec", "nodeName") ?? "") === "") delete spec["nodeName"];
    for (const list of ["containers", "initContainers"]) {
      for (const container of objectsAt(spec, list)) delete container["image"];
    }
    return spec;
  };
  if (!deepEqual(comparable(next, old), comparable(old, old))) {
    return [forbiddenField("spec", POD_UPDATE)];
  }
  const kept = objectsAt(old, "spec", "tolerations").every((t) =>
    objectsAt(next, "spec", "tolerations").some((other) => deepEqual(t, other)),
  );
  return kept ? [] : [forbiddenField("spec", POD_UPDATE)];
}
