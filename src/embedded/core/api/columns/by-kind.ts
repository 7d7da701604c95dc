import type { ResourceInfo, VersionInfo } from "../resource-info.ts";
import {
  configMapColumns,
  createdAtColumns,
  eventColumns,
  leaseColumns,
  namespaceColumns,
  nodeColumns,
  plainColumns,
  roleBindingColumns,
  secretColumns,
  serviceAccountColumns,
  webhookConfigurationColumns,
} from "./cluster.ts";
import { customColumns } from "./custom.ts";
import { podColumns } from "./pod.ts";
import { endpointSliceColumns, endpointsColumns, serviceColumns } from "./service.ts";
import type { TableColumns } from "./table-columns.ts";
import {
  autoscalerColumns,
  daemonSetColumns,
  deploymentColumns,
  jobColumns,
  replicaSetColumns,
  statefulSetColumns,
} from "./workloads.ts";

/** Columns of built-in kinds, by `group/Kind`; the others show name and age. */
const BY_KIND: Readonly<Record<string, TableColumns>> = {
  "/Pod": podColumns,
  "/Service": serviceColumns,
  "/Endpoints": endpointsColumns,
  "/Namespace": namespaceColumns,
  "/Node": nodeColumns,
  "/ConfigMap": configMapColumns,
  "/Secret": secretColumns,
  "/ServiceAccount": serviceAccountColumns,
  "/Event": eventColumns,
  "apps/Deployment": deploymentColumns,
  "apps/ReplicaSet": replicaSetColumns,
  "apps/StatefulSet": statefulSetColumns,
  "apps/DaemonSet": daemonSetColumns,
  "batch/Job": jobColumns,
  "autoscaling/HorizontalPodAutoscaler": autoscalerColumns,
  "discovery.k8s.io/EndpointSlice": endpointSliceColumns,
  "coordination.k8s.io/Lease": leaseColumns,
  "admissionregistration.k8s.io/MutatingWebhookConfiguration": webhookConfigurationColumns,
  "admissionregistration.k8s.io/ValidatingWebhookConfiguration": webhookConfigurationColumns,
  "apiextensions.k8s.io/CustomResourceDefinition": createdAtColumns,
  "rbac.authorization.k8s.io/Role": createdAtColumns,
  "rbac.authorization.k8s.io/ClusterRole": createdAtColumns,
  "rbac.authorization.k8s.io/RoleBinding": roleBindingColumns,
  "rbac.authorization.k8s.io/ClusterRoleBinding": roleBindingColumns,
};

/** How objects of a resource look in a table. */
export function columnsOf(resource: ResourceInfo, version: VersionInfo): TableColumns {
  if (resource.isCustom) return customColumns(version.columns);
  return BY_KIND[`${resource.group}/${resource.kind}`] ?? plainColumns;
}
