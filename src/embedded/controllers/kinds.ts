import { type KubeObject, RESOURCES, type ResourceType } from "../../api/index.ts";
import { objectsAt, stringAt } from "../core/api/json.ts";

const of = (group: string, version: string, kind: string, plural: string): ResourceType => ({
  ...{ group, version, kind, plural },
  namespaced: true,
});

/** Built-in namespaced kinds: what a namespace holds, and what may have owners. */
export const NAMESPACED_KINDS: readonly ResourceType[] = [
  RESOURCES.deployment,
  RESOURCES.replicaSet,
  of("apps", "v1", "StatefulSet", "statefulsets"),
  of("apps", "v1", "DaemonSet", "daemonsets"),
  of("batch", "v1", "Job", "jobs"),
  of("autoscaling", "v2", "HorizontalPodAutoscaler", "horizontalpodautoscalers"),
  RESOURCES.pod,
  RESOURCES.service,
  RESOURCES.endpoints,
  RESOURCES.endpointSlice,
  RESOURCES.configMap,
  RESOURCES.secret,
  RESOURCES.serviceAccount,
  RESOURCES.lease,
  RESOURCES.event,
  of("rbac.authorization.k8s.io", "v1", "Role", "roles"),
  of("rbac.authorization.k8s.io", "v1", "RoleBinding", "rolebindings"),
];

/** The storage version of a custom resource; undefined when the definition serves none. */
export function customKind(definition: KubeObject): ResourceType | undefined {
  const version = objectsAt(definition, "spec", "versions").find(
    (candidate) => candidate["served"] === true,
  );
  const group = stringAt(definition, "spec", "group");
  const kind = stringAt(definition, "spec", "names", "kind");
  const plural = stringAt(definition, "spec", "names", "plural");
  const name = stringAt(version, "name");
  if (group === undefined || kind === undefined || plural === undefined || name === undefined) {
    return undefined;
  }
  const namespaced = stringAt(definition, "spec", "scope") !== "Cluster";
  return { group, version: name, kind, plural, namespaced };
}
