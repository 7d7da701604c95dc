import { isObject, type JsonObject, objectAt, stringAt } from "../json.ts";
import { draftsOf, ensureObject, setDefault } from "./set-default.ts";

/** Fills in a PodSpec as kube-apiserver does (k8s.io/kubernetes pkg/apis/core/v1 defaults). */
export function defaultPodSpec(spec: JsonObject): void {
  setDefault(spec, "restartPolicy", "Always");
  setDefault(spec, "terminationGracePeriodSeconds", 30);
  setDefault(spec, "dnsPolicy", "ClusterFirst");
  setDefault(spec, "securityContext", {});
  setDefault(spec, "schedulerName", "default-scheduler");
  if (spec["serviceAccountName"] !== undefined) {
    setDefault(spec, "serviceAccount", spec["serviceAccountName"]);
  } else if (spec["serviceAccount"] !== undefined) {
    spec["serviceAccountName"] = spec["serviceAccount"];
  }
  for (const field of ["initContainers", "containers"]) {
    for (const container of draftsOf(spec, field)) defaultContainer(container);
  }
  for (const volume of draftsOf(spec, "volumes")) defaultVolume(volume);
}

/** A Pod itself: its spec, and requests from limits. */
export function defaultPod(pod: JsonObject): void {
  const spec = ensureObject(pod, "spec");
  defaultPodSpec(spec);
  setDefault(spec, "enableServiceLinks", true);
  for (const field of ["initContainers", "containers"]) {
    for (const container of draftsOf(spec, field)) requestsFromLimits(container);
  }
}

/** What admission adds to a Pod on every real cluster: service account, priority, tolerations. */
export function admitPod(pod: JsonObject): void {
  const spec = ensureObject(pod, "spec");
  if ((spec["serviceAccountName"] ?? "") === "") spec["serviceAccountName"] = "default";
  spec["serviceAccount"] = spec["serviceAccountName"];
  setDefault(spec, "priority", 0);
  setDefault(spec, "preemptionPolicy", "PreemptLowerPriority");
  const tolerations = draftsOf(spec, "tolerations");
  const added = ["node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"]
    .filter((key) => !tolerations.some((t) => t["key"] === key || t["key"] === undefined))
    .map((key) => ({ key, operator: "Exists", effect: "NoExecute", tolerationSeconds: 300 }));
  if (added.length > 0) spec["tolerations"] = [...tolerations, ...added];
}

function defaultContainer(container: JsonObject): void {
  setDefault(container, "terminationMessagePath", "/dev/termination-log");
  setDefault(container, "terminationMessagePolicy", "File");
  setDefault(container, "resources", {});
  setDefault(container, "imagePullPolicy", pullPolicyOf(stringAt(container, "image") ?? ""));
  for (const port of draftsOf(container, "ports")) setDefault(port, "protocol", "TCP");
  for (const field of ["livenessProbe", "readinessProbe", "startupProbe"]) {
    const probe = container[field];
    if (isObject(probe)) defaultProbe(probe);
  }
  for (const hook of ["postStart", "preStop"]) {
    const handler = objectAt(container, "lifecycle", hook, "httpGet");
    if (handler !== undefined) defaultHttpGet(handler);
  }
  for (const variable of draftsOf(container, "env")) {
    const fieldRef = objectAt(variable, "valueFrom", "fieldRef");
    if (fieldRef !== undefined) setDefault(fieldRef, "apiVersion", "v1");
  }
}

/** Always for `:latest` or no tag, else IfNotPresent. */
function pullPolicyOf(image: string): string {
  if (image.includes("@")) return "IfNotPresent";
  const tag = /:([^/:]+)$/.exec(image)?.[1];
  return tag === undefined || tag === "latest" ? "Always" : "IfNotPresent";
}

function defaultProbe(probe: JsonObject): void {
  setDefault(probe, "timeoutSeconds", 1);
  setDefault(probe, "periodSeconds", 10);
  setDefault(probe, "successThreshold", 1);
  setDefault(probe, "failureThreshold", 3);
  const httpGet = objectAt(probe, "httpGet");
  if (httpGet !== undefined) defaultHttpGet(httpGet);
  const grpc = objectAt(probe, "grpc");
  if (grpc !== undefined) setDefault(grpc, "service", "");
}

function defaultHttpGet(httpGet: JsonObject): void {
  setDefault(httpGet, "path", "/");
  setDefault(httpGet, "scheme", "HTTP");
}

function defaultVolume(volume: JsonObject): void {
  if (Object.keys(volume).every((field) => field === "name")) volume["emptyDir"] = {};
  for (const source of ["configMap", "secret", "projected", "downwardAPI"]) {
    const found = objectAt(volume, source);
    if (found !== undefined) setDefault(found, "defaultMode", 0o644);
  }
  const hostPath = objectAt(volume, "hostPath");
  if (hostPath !== undefined) setDefault(hostPath, "type", "");
  for (const item of draftsOf(objectAt(volume, "downwardAPI") ?? {}, "items")) {
    const fieldRef = objectAt(item, "fieldRef");
    if (fieldRef !== undefined) setDefault(fieldRef, "apiVersion", "v1");
  }
  for (const source of draftsOf(objectAt(volume, "projected") ?? {}, "sources")) {
    const token = objectAt(source, "serviceAccountToken");
    if (token !== undefined) setDefault(token, "expirationSeconds", 3600);
    for (const item of draftsOf(objectAt(source, "downwardAPI") ?? {}, "items")) {
      const fieldRef = objectAt(item, "fieldRef");
      if (fieldRef !== undefined) setDefault(fieldRef, "apiVersion", "v1");
    }
  }
}

function requestsFromLimits(container: JsonObject): void {
  const limits = objectAt(container, "resources", "limits");
  const resources = objectAt(container, "resources");
  if (limits === undefined || resources === undefined) return;
  resources["requests"] = { ...limits, ...objectAt(resources, "requests") };
}
