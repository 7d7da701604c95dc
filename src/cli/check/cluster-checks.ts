import {
  allCustomResourceDefinitions,
  type KubeObject,
  RESOURCES,
  type ResourceType,
} from "../../api/index.ts";
import { messageOf, SerinError } from "../../base/index.ts";
import type { KubeStore } from "../../kube/store.ts";

export type CheckResult = "ok" | "warning" | "failed";

/** One thing that was looked at. */
export interface Check {
  readonly name: string;
  readonly result: CheckResult;
  readonly message: string;
}

/** What the webhooks need, and native sidecars by default. */
const LEAST_KUBERNETES = { major: 1, minor: 28 };
const SELF_REVIEW: ResourceType = {
  group: "authorization.k8s.io",
  version: "v1",
  kind: "SelfSubjectAccessReview",
  plural: "selfsubjectaccessreviews",
  namespaced: false,
};
/** What an installation creates. */
const CREATED: readonly ResourceType[] = [
  RESOURCES.namespace,
  RESOURCES.customResourceDefinition,
  RESOURCES.mutatingWebhookConfiguration,
  RESOURCES.validatingWebhookConfiguration,
  RESOURCES.serviceAccount,
  RESOURCES.configMap,
  RESOURCES.secret,
  RESOURCES.service,
  RESOURCES.deployment,
];
const WEBHOOKS = [
  [RESOURCES.mutatingWebhookConfiguration, "istio-sidecar-injector"],
  [RESOURCES.validatingWebhookConfiguration, "istio-validator-istio-system"],
] as const;

/** What must hold before anything is installed: the API answers, is new enough and lets us. */
export async function checksBefore(store: KubeStore, namespace: string): Promise<readonly Check[]> {
  const nodes = await guarded(
    "Kubernetes API",
    async () => (await store.list(RESOURCES.node)).items,
  );
  if (!Array.isArray(nodes)) return [nodes as Check];
  return [versionCheck(nodes), await permissionCheck(store, namespace)];
}

/** Whether what is installed is whole: definitions and webhooks. */
export async function checksAfter(store: KubeStore): Promise<readonly Check[]> {
  return [
    await definitionCheck(store),
    ...(await Promise.all(WEBHOOKS.map(([type, name]) => webhookCheck(store, type, name)))),
  ];
}

/** A check whose failure to be made is a failed check; anything but an expected error is thrown on. */
export async function guarded<T>(name: string, make: () => Promise<T>): Promise<T | Check> {
  try {
    return await make();
  } catch (error) {
    if (!(error instanceof SerinError)) throw error;
    return { name, result: "failed", message: messageOf(error) };
  }
}

function versionCheck(nodes: readonly KubeObject[]): Check {
  const name = "Kubernetes API";
  const versions = nodes.map((node) => {
    const status = node["status"] as { nodeInfo?: { kubeletVersion?: string } } | undefined;
    return status?.nodeInfo?.kubeletVersion ?? "";
  });
  const old = versions.filter((version) => {
    const [, major, minor] = /^v?(\d+)\.(\d+)/.exec(version) ?? [];
    if (major === undefined) return false;
    const { major: leastMajor, minor: leastMinor } = LEAST_KUBERNETES;
    return (
      Number(major) < leastMajor || (Number(major) === leastMajor && Number(minor) < leastMinor)
    );
  });
  const known = [...new Set(versions.filter((version) => version !== ""))].join(", ") || "unknown";
  if (old.length > 0) {
    const least = `${LEAST_KUBERNETES.major}.${LEAST_KUBERNETES.minor}`;
    const message = `nodes run Kubernetes ${[...new Set(old)].join(", ")}; ${least} is the least`;
    return { name, result: "failed", message };
  }
  const count = `${nodes.length} ${nodes.length === 1 ? "node" : "nodes"}`;
  return { name, result: "ok", message: `answers; ${count}, version ${known}` };
}

async function permissionCheck(store: KubeStore, namespace: string): Promise<Check> {
  const name = "Permissions";
  const found = await guarded(name, () =>
    Promise.all(CREATED.map((type) => mayCreate(store, type, namespace))),
  );
  if (!Array.isArray(found)) return found as Check;
  const missing = CREATED.filter((_, i) => !found[i]).map(({ plural }) => plural);
  if (missing.length === 0)
    return { name, result: "ok", message: "what an installation creates may be created" };
  return { name, result: "failed", message: `you may not create ${missing.join(", ")}` };
}

async function mayCreate(
  store: KubeStore,
  type: ResourceType,
  namespace: string,
): Promise<boolean> {
  const { group, plural: resource, namespaced } = type;
  const place = namespaced ? { namespace } : {};
  const review = await store.create(SELF_REVIEW, {
    apiVersion: "authorization.k8s.io/v1",
    kind: "SelfSubjectAccessReview",
    metadata: { name: "" },
    spec: { resourceAttributes: { verb: "create", group, resource, ...place } },
  });
  return (review["status"] as { readonly allowed?: boolean } | undefined)?.allowed === true;
}

async function definitionCheck(store: KubeStore): Promise<Check> {
  const name = "Custom resources";
  const found = await guarded(name, async () =>
    (await store.list(RESOURCES.customResourceDefinition)).items.map(
      ({ metadata }) => metadata.name,
    ),
  );
  if (!Array.isArray(found)) return found as Check;
  const wanted = allCustomResourceDefinitions().map(({ metadata }) => metadata.name);
  const missing = wanted.filter((each) => !found.includes(each));
  if (missing.length === 0)
    return { name, result: "ok", message: `${wanted.length} definitions are there` };
  return { name, result: "failed", message: `not defined: ${missing.join(", ")}` };
}

async function webhookCheck(store: KubeStore, type: ResourceType, object: string): Promise<Check> {
  const name = `Webhook ${object}`;
  const found = await guarded(name, () => store.get(type, { name: object }));
  if (found !== undefined && "result" in found) return found as Check;
  if (found === undefined)
    return { name, result: "failed", message: `there is no ${type.kind} of this name` };
  const hooks = (found as KubeObject)["webhooks"] as
    | readonly { clientConfig?: { caBundle?: string } }[]
    | undefined;
  const isTrusted = (hooks ?? []).every(
    ({ clientConfig }) => (clientConfig?.caBundle ?? "") !== "",
  );
  return isTrusted
    ? { name, result: "ok", message: `registered with ${(hooks ?? []).length} rules` }
    : { name, result: "failed", message: "has no caBundle: the API server cannot trust it" };
}
