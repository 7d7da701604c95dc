import { z } from "zod";
import { type KubeObject, RESOURCES } from "../api/index.ts";
import { messageOf, SerinError } from "../base/index.ts";
import type { KubeStore } from "../kube/store.ts";

/** The namespace of the control plane and of the policies of the whole mesh. */
export const ROOT_NAMESPACE = "istio-system";
/** Of the identities in the mesh. */
export const TRUST_DOMAIN = "cluster.local";
/** The ConfigMap that says where the control plane of a cluster on this machine listens. */
const CONFIG_MAP = "serin-control-plane";
const TIMEOUT_MS = 10_000;

const addressSchema = z.object({ data: z.object({ debug: z.string().regex(/^.+:\d+$/) }) });

/**
 * Notes in the cluster where its control plane listens (`host:port` of xds, debug, webhook), so that
 * commands find it with nothing but a kubeconfig.
 */
export async function publishControlPlane(
  store: KubeStore,
  host: string,
  ports: { readonly xds: number; readonly debug: number; readonly webhook: number },
): Promise<void> {
  const type = RESOURCES.configMap;
  const data = Object.fromEntries(
    Object.entries(ports).map(([name, port]) => [name, `${host}:${port}`]),
  );
  const object: KubeObject = {
    apiVersion: "v1",
    kind: "ConfigMap",
    metadata: { name: CONFIG_MAP, namespace: ROOT_NAMESPACE },
    data,
  };
  if ((await store.get(type, object.metadata)) === undefined) await store.create(type, object);
  else await store.patch(type, object.metadata, { data }, { kind: "merge" });
}

/** Where the control plane's debug pages are. Throws SERIN_NOT_FOUND saying what else can be done. */
export async function controlPlaneAddress(store: KubeStore): Promise<string> {
  const key = { namespace: ROOT_NAMESPACE, name: CONFIG_MAP };
  const found = addressSchema.safeParse(await store.get(RESOURCES.configMap, key));
  if (found.success) return found.data.data.debug;
  throw new SerinError(
    "SERIN_NOT_FOUND",
    `the ConfigMap ${ROOT_NAMESPACE}/${CONFIG_MAP} does not say where the control plane is; ` +
      `reach it with \`kubectl port-forward -n ${ROOT_NAMESPACE} POD 15014\` and give --control-plane localhost:15014`,
    { source: "caller" },
  );
}

/**
 * A debug page of the control plane, as JSON; undefined when there is none (404). 10 seconds at most.
 * Throws SERIN_UNAVAILABLE, SERIN_API.
 */
export async function askControlPlane(address: string, path: string): Promise<unknown> {
  const who = `the control plane on ${address}`;
  try {
    const signal = AbortSignal.timeout(TIMEOUT_MS);
    const response = await fetch(`http://${address}${path}`, { signal });
    const body = await response.text();
    if (response.status === 404) return undefined;
    if (response.ok) return JSON.parse(body);
    throw new SerinError("SERIN_API", `${who} answered ${response.status}: ${body.trim()}`, {
      source: "remote",
    });
  } catch (error) {
    if (error instanceof SerinError) throw error;
    throw new SerinError("SERIN_UNAVAILABLE", `${who} does not answer: ${messageOf(error)}`, {
      source: "remote",
      retry: "yes",
      cause: error,
    });
  }
}
