import type { KubeObject } from "../../api/index.ts";
import { type InjectionSettings, injectPod, type PatchOperation } from "./injection-patch.ts";
import { type Json, objectOf } from "./model-object.ts";

const TEMPLATE = ["spec", "template"] as const;
/** Where the kinds that make pods have the pods' template; a Pod is its own. */
const TEMPLATE_PATHS: Readonly<Record<string, readonly string[]>> = {
  Pod: [],
  Deployment: TEMPLATE,
  ReplicaSet: TEMPLATE,
  ReplicationController: TEMPLATE,
  StatefulSet: TEMPLATE,
  DaemonSet: TEMPLATE,
  Job: TEMPLATE,
  CronJob: ["spec", "jobTemplate", "spec", "template"],
};
const GROUPS = ["v1", "apps/v1", "batch/v1", "batch/v1beta1"];

/** What injection makes of a resource that has a pod template. */
export type TemplateInjection =
  /** `changes`: what fields of the resource become, by their paths in it. */
  | { readonly kind: "inject"; readonly changes: readonly TemplateChange[] }
  | { readonly kind: "skip"; readonly reason: string; readonly isWarning: boolean }
  /** It makes no pods. */
  | { readonly kind: "none" };

export interface TemplateChange {
  readonly path: readonly string[];
  readonly value: unknown;
}

/** Where an object of that kind has its pods' template; undefined when it makes no pods. */
export function templatePathOf(object: {
  readonly apiVersion: string;
  readonly kind: string;
}): readonly string[] | undefined {
  if (!GROUPS.includes(object.apiVersion) || !Object.hasOwn(TEMPLATE_PATHS, object.kind)) {
    return undefined;
  }
  return TEMPLATE_PATHS[object.kind];
}

/** The pods' template of an object that has one: metadata and spec. */
export function templateOf(object: KubeObject): Json | undefined {
  const path = templatePathOf(object);
  return path?.reduce<Json>((at, key) => objectOf(at[key]), object);
}

/**
 * Injects into the pods' template what the webhook would inject into the pods: the namespace counts as
 * one that asks for it, and the pods' own labels and annotations decide, as with `istioctl kube-inject`.
 */
export function injectTemplate(
  object: KubeObject,
  namespace: string,
  settings: InjectionSettings,
): TemplateInjection {
  const path = templatePathOf(object);
  const template = templateOf(object);
  if (path === undefined || template === undefined) return { kind: "none" };
  const pod = podOf(object, path, template, namespace);
  const asking = { name: namespace, labels: { "istio-injection": "enabled" } };
  const injection = injectPod(pod, asking, settings);
  if (injection.kind === "skip") return injection;
  return { kind: "inject", changes: injection.patch.map((operation) => moved(operation, path)) };
}

/** The pod that the controller of the object will make. */
function podOf(
  object: KubeObject,
  path: readonly string[],
  template: Json,
  namespace: string,
): KubeObject {
  if (path.length === 0) return { ...object, metadata: { ...object.metadata, namespace } };
  const { apiVersion, kind } = object;
  const { name } = object.metadata;
  return {
    apiVersion: "v1",
    kind: "Pod",
    metadata: {
      ...objectOf(template["metadata"]),
      ...{ name: "", namespace },
      ownerReferences: [{ apiVersion, kind, name, uid: "", controller: true }],
    },
    spec: template["spec"],
  };
}

function moved({ path, value }: PatchOperation, prefix: readonly string[]): TemplateChange {
  return { path: [...prefix, ...path.split("/").slice(1)], value };
}
