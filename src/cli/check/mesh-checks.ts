import { z } from "zod";
import { type KubeObject, RESOURCES } from "../../api/index.ts";
import type { KubeStore } from "../../kube/store.ts";
import { askControlPlane, ROOT_NAMESPACE, withControlPlane } from "../control-plane.ts";
import type { PodAccess } from "../proxy-admin.ts";
import { type Check, guarded } from "./cluster-checks.ts";

const syncSchema = z.array(
  z.looseObject({
    proxy: z.string(),
    held_back: z.array(z.string()).default([]),
    cluster_errors: z.array(z.string()).default([]),
    listener_errors: z.array(z.string()).default([]),
    route_errors: z.array(z.string()).default([]),
    endpoint_errors: z.array(z.string()).default([]),
  }),
);

/** Whether the control plane answers, gateways run, and every proxy is connected and refused nothing. */
export async function meshChecks(
  store: KubeStore,
  given: string | undefined,
  access: PodAccess,
): Promise<readonly Check[]> {
  const gateways = await gatewayCheck(store);
  const name = "Control plane";
  const state = await guarded(name, () =>
    withControlPlane(store, given, access, async (address) =>
      syncSchema.parse(await askControlPlane(address, "/debug/syncz")),
    ),
  );
  if (!Array.isArray(state)) return [state as Check, gateways];
  const proxies = state as z.infer<typeof syncSchema>;
  const message = `answers; ${proxies.length} ${proxies.length === 1 ? "proxy is" : "proxies are"} connected`;
  return [{ name, result: "ok", message }, gateways, await proxyCheck(store, proxies)];
}

async function gatewayCheck(store: KubeStore): Promise<Check> {
  const name = "Deployments of the mesh";
  const found = await guarded(name, async () =>
    (await store.list(RESOURCES.deployment, { namespace: ROOT_NAMESPACE })).items.flatMap(
      (deployment) => {
        const { replicas = 1 } = (deployment["spec"] ?? {}) as { readonly replicas?: number };
        const status = (deployment["status"] ?? {}) as { readonly availableReplicas?: number };
        const ready = status.availableReplicas ?? 0;
        return ready >= replicas
          ? []
          : [`${deployment.metadata.name} (${ready} of ${replicas} available)`];
      },
    ),
  );
  if (!Array.isArray(found)) return found as Check;
  if (found.length === 0)
    return { name, result: "ok", message: `all in ${ROOT_NAMESPACE} are available` };
  return { name, result: "failed", message: `not available: ${found.join(", ")}` };
}

async function proxyCheck(store: KubeStore, proxies: z.infer<typeof syncSchema>): Promise<Check> {
  const name = "Proxies";
  const pods = await guarded(name, async () => (await store.list(RESOURCES.pod)).items);
  if (!Array.isArray(pods)) return pods as Check;
  const connected = new Set(proxies.map(({ proxy }) => proxy));
  const lost = (pods as readonly KubeObject[])
    .filter(isRunningWithSidecar)
    .map(({ metadata }) => `${metadata.name}.${metadata.namespace}`)
    .filter((each) => !connected.has(each));
  const refusing = proxies.flatMap((each) => {
    const { cluster_errors, listener_errors, route_errors, endpoint_errors } = each;
    const errors = [cluster_errors, listener_errors, route_errors, endpoint_errors].flat();
    return errors.length > 0 ? [each.proxy] : [];
  });
  const held = proxies.filter(({ held_back }) => held_back.length > 0).map(({ proxy }) => proxy);
  const problems = [
    ...(lost.length > 0 ? [`not connected: ${lost.join(", ")}`] : []),
    ...(refusing.length > 0 ? [`refused configuration: ${refusing.join(", ")}`] : []),
  ];
  if (problems.length > 0) {
    const message = `${problems.join("; ")}; \`serin proxy-status\` says more`;
    return { name, result: "failed", message };
  }
  if (held.length > 0) {
    return {
      name,
      result: "warning",
      message: `configuration is held back from ${held.join(", ")}`,
    };
  }
  return {
    name,
    result: "ok",
    message: "every running sidecar is connected, and none refused anything",
  };
}

function isRunningWithSidecar(pod: KubeObject): boolean {
  const spec = (pod["spec"] ?? {}) as Readonly<Record<string, readonly { name: string }[]>>;
  const { phase } = (pod["status"] ?? {}) as { readonly phase?: string };
  const containers = [...(spec["containers"] ?? []), ...(spec["initContainers"] ?? [])];
  const isLeaving = pod.metadata.deletionTimestamp !== undefined;
  return phase === "Running" && !isLeaving && containers.some(({ name }) => name === "istio-proxy");
}
