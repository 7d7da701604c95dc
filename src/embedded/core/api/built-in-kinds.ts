import {
  defaultBinding,
  defaultCustomResourceDefinition,
  defaultNamespace,
  defaultSecret,
  defaultWebhookConfiguration,
} from "./defaults/cluster.ts";
import { defaultPod } from "./defaults/pod.ts";
import { defaultEndpointSlice, defaultEndpoints, defaultService } from "./defaults/service.ts";
import {
  defaultDaemonSet,
  defaultDeployment,
  defaultHorizontalPodAutoscaler,
  defaultJob,
  defaultReplicaSet,
  defaultStatefulSet,
} from "./defaults/workloads.ts";
import { dns1035Problem, dnsLabelProblem, pathSegmentProblem } from "./names.ts";
import type { KindRules, ResourceInfo, ScaleInfo } from "./resource-info.ts";
import type { Schema } from "./schema.ts";
import {
  validateBinding,
  validateBindingUpdate,
  validateCustomResourceDefinition,
  validateCustomResourceDefinitionUpdate,
  validateData,
  validateDataUpdate,
  validateEvent,
  validateWebhookConfiguration,
} from "./validation/cluster.ts";
import { validatePod, validatePodUpdate } from "./validation/pod.ts";
import {
  validateEndpointSlice,
  validateService,
  validateServiceUpdate,
} from "./validation/service.ts";
import {
  validateDaemonSet,
  validateDeployment,
  validateHorizontalPodAutoscaler,
  validateJob,
  validateJobUpdate,
  validateReplicaSet,
  validateStatefulSet,
  validateWorkloadUpdate,
} from "./validation/workloads.ts";

interface BuiltIn {
  readonly group?: string;
  readonly version?: string;
  readonly kind: string;
  readonly plural: string;
  /** The name of the kind's schema, `V1Pod`. */
  readonly model: string;
  readonly short?: readonly string[];
  readonly inAll?: boolean;
  readonly clusterScoped?: boolean;
  readonly hasStatus?: boolean;
  readonly hasScale?: boolean;
  readonly other?: readonly string[];
  readonly rules?: KindRules;
}

const SCALE: ScaleInfo = {
  specReplicasPath: ".spec.replicas",
  statusReplicasPath: ".status.replicas",
};
const ADMISSION = "admissionregistration.k8s.io";
const RBAC = "rbac.authorization.k8s.io";
const data = { validate: validateData, validateUpdate: validateDataUpdate };
const webhooks = {
  applyDefaults: defaultWebhookConfiguration,
  validate: validateWebhookConfiguration,
};
const role = { nameProblem: pathSegmentProblem };
const binding = {
  applyDefaults: defaultBinding,
  validate: validateBinding,
  validateUpdate: validateBindingUpdate,
  nameProblem: pathSegmentProblem,
};

/** Every stored built-in kind. A new kind is one entry here; defaults, rules and columns are optional. */
const BUILT_INS: readonly BuiltIn[] = [
  {
    kind: "Namespace",
    plural: "namespaces",
    model: "V1Namespace",
    short: ["ns"],
    clusterScoped: true,
    hasStatus: true,
    other: ["finalize"],
    rules: { applyDefaults: defaultNamespace, nameProblem: dnsLabelProblem },
  },
  {
    kind: "Node",
    plural: "nodes",
    model: "V1Node",
    short: ["no"],
    clusterScoped: true,
    hasStatus: true,
  },
  {
    kind: "Pod",
    plural: "pods",
    model: "V1Pod",
    short: ["po"],
    inAll: true,
    hasStatus: true,
    other: ["log", "exec", "eviction", "binding"],
    rules: { applyDefaults: defaultPod, validate: validatePod, validateUpdate: validatePodUpdate },
  },
  {
    kind: "Service",
    plural: "services",
    model: "V1Service",
    short: ["svc"],
    inAll: true,
    hasStatus: true,
    rules: {
      applyDefaults: defaultService,
      validate: validateService,
      validateUpdate: validateServiceUpdate,
      nameProblem: dns1035Problem,
    },
  },
  {
    kind: "Endpoints",
    plural: "endpoints",
    model: "V1Endpoints",
    short: ["ep"],
    rules: { applyDefaults: defaultEndpoints },
  },
  { kind: "ConfigMap", plural: "configmaps", model: "V1ConfigMap", short: ["cm"], rules: data },
  {
    kind: "Secret",
    plural: "secrets",
    model: "V1Secret",
    rules: { ...data, applyDefaults: defaultSecret },
  },
  {
    kind: "ServiceAccount",
    plural: "serviceaccounts",
    model: "V1ServiceAccount",
    short: ["sa"],
    other: ["token"],
  },
  {
    kind: "Event",
    plural: "events",
    model: "CoreV1Event",
    short: ["ev"],
    rules: { validate: validateEvent },
  },
  {
    group: "apps",
    kind: "Deployment",
    plural: "deployments",
    model: "V1Deployment",
    short: ["deploy"],
    inAll: true,
    hasStatus: true,
    hasScale: true,
    rules: {
      applyDefaults: defaultDeployment,
      validate: validateDeployment,
      validateUpdate: validateWorkloadUpdate,
    },
  },
  {
    group: "apps",
    kind: "ReplicaSet",
    plural: "replicasets",
    model: "V1ReplicaSet",
    short: ["rs"],
    inAll: true,
    hasStatus: true,
    hasScale: true,
    rules: {
      applyDefaults: defaultReplicaSet,
      validate: validateReplicaSet,
      validateUpdate: validateWorkloadUpdate,
    },
  },
  {
    group: "apps",
    kind: "StatefulSet",
    plural: "statefulsets",
    model: "V1StatefulSet",
    short: ["sts"],
    inAll: true,
    hasStatus: true,
    hasScale: true,
    rules: {
      applyDefaults: defaultStatefulSet,
      validate: validateStatefulSet,
      validateUpdate: validateWorkloadUpdate,
    },
  },
  {
    group: "apps",
    kind: "DaemonSet",
    plural: "daemonsets",
    model: "V1DaemonSet",
    short: ["ds"],
    inAll: true,
    hasStatus: true,
    rules: {
      applyDefaults: defaultDaemonSet,
      validate: validateDaemonSet,
      validateUpdate: validateWorkloadUpdate,
    },
  },
  {
    group: "batch",
    kind: "Job",
    plural: "jobs",
    model: "V1Job",
    inAll: true,
    hasStatus: true,
    rules: { applyDefaults: defaultJob, validate: validateJob, validateUpdate: validateJobUpdate },
  },
  {
    group: "autoscaling",
    version: "v2",
    kind: "HorizontalPodAutoscaler",
    plural: "horizontalpodautoscalers",
    model: "V2HorizontalPodAutoscaler",
    short: ["hpa"],
    inAll: true,
    hasStatus: true,
    rules: {
      applyDefaults: defaultHorizontalPodAutoscaler,
      validate: validateHorizontalPodAutoscaler,
    },
  },
  {
    group: "discovery.k8s.io",
    kind: "EndpointSlice",
    plural: "endpointslices",
    model: "V1EndpointSlice",
    rules: { applyDefaults: defaultEndpointSlice, validate: validateEndpointSlice },
  },
  { group: "coordination.k8s.io", kind: "Lease", plural: "leases", model: "V1Lease" },
  { group: RBAC, kind: "Role", plural: "roles", model: "V1Role", rules: role },
  {
    group: RBAC,
    kind: "RoleBinding",
    plural: "rolebindings",
    model: "V1RoleBinding",
    rules: binding,
  },
  {
    group: RBAC,
    kind: "ClusterRole",
    plural: "clusterroles",
    model: "V1ClusterRole",
    clusterScoped: true,
    rules: role,
  },
  {
    group: RBAC,
    kind: "ClusterRoleBinding",
    plural: "clusterrolebindings",
    model: "V1ClusterRoleBinding",
    clusterScoped: true,
    rules: binding,
  },
  {
    group: ADMISSION,
    kind: "MutatingWebhookConfiguration",
    plural: "mutatingwebhookconfigurations",
    model: "V1MutatingWebhookConfiguration",
    clusterScoped: true,
    rules: webhooks,
  },
  {
    group: ADMISSION,
    kind: "ValidatingWebhookConfiguration",
    plural: "validatingwebhookconfigurations",
    model: "V1ValidatingWebhookConfiguration",
    clusterScoped: true,
    rules: webhooks,
  },
  {
    group: "apiextensions.k8s.io",
    kind: "CustomResourceDefinition",
    plural: "customresourcedefinitions",
    model: "V1CustomResourceDefinition",
    short: ["crd", "crds"],
    clusterScoped: true,
    hasStatus: true,
    rules: {
      applyDefaults: defaultCustomResourceDefinition,
      validate: validateCustomResourceDefinition,
      validateUpdate: validateCustomResourceDefinitionUpdate,
    },
  },
];

/** The built-in resources, with their schemas looked up by model name. */
export function builtInResources(schemaOf: (model: string) => Schema): readonly ResourceInfo[] {
  return BUILT_INS.map((entry) => {
    const version = entry.version ?? "v1";
    return {
      group: entry.group ?? "",
      kind: entry.kind,
      listKind: `${entry.kind}List`,
      plural: entry.plural,
      singular: entry.kind.toLowerCase(),
      shortNames: entry.short ?? [],
      categories: entry.inAll === true ? ["all"] : [],
      namespaced: entry.clusterScoped !== true,
      versions: [
        {
          name: version,
          served: true,
          schema: schemaOf(entry.model),
          columns: [],
          hasStatus: entry.hasStatus === true,
          ...(entry.hasScale === true ? { scale: SCALE } : {}),
        },
      ],
      storageVersion: version,
      isCustom: false,
      rules: entry.rules ?? {},
      otherSubresources: entry.other ?? [],
    };
  });
}
