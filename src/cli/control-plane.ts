import { z } from "zod";
import { type KubeObject, RESOURCES } from "../api/index.ts";
import { messageOf, SerinError } from "../base/index.ts";
import type { KubeStore } from "../kube/store.ts";
import { forwardPort } from "./port-forward.ts";
import type { PodAccess } from "./proxy-admin.ts";

/** The namespace of the control plane and of the policies of the whole mesh. */
export const ROOT_NAMESPACE = "istio-system";
/** Of the identities in the mesh. */
export const TRUST_DOMAIN = "cluster.local";
/** The ConfigMap that says where the control plane of a cluster on this machine listens. */
const CONFIG_MAP = "serin-control-plane";
const DEBUG_PORT = 15_014;
/** Of pods that are a control plane: Serin's, and Istio's. */
const POD_LABELS = ["app=serin-control-plane", "app=istiod"];
const TIMEOUT_MS = 10_000;

const phaseSchema = z.object({ status: z.object({ phase: z.literal("Running") }) });
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
  const data = Object.fromEntries(
    Object.entries(ports).map(([name, port]) => [name, `${host}:${port}`]),
  );
  await writeConfigMap(store, CONFIG_MAP, data);
}

/** Makes a ConfigMap of the root namespace hold `data`; further keys of it stay. */
export async function writeConfigMap(
  store: KubeStore,
  name: string,
  data: Readonly<Record<string, string>>,
): Promise<void> {
  const type = RESOURCES.configMap;
  const object: KubeObject = {
    apiVersion: "v1",
    kind: "ConfigMap",
    metadata: { name, namespace: ROOT_NAMESPACE },
    data,
  };
  if ((await store.get(type, object.metadata)) === undefined) await store.create(type, object);
  else await store.patch(type, object.metadata, { data }, { kind: "merge" });
}

/** Where a cluster's control plane is: on this machine, or in a pod of the root namespace. */
export type ControlPlanePlace = { readonly debugAddress: string } | { readonly pod: string };

/** Finds the control plane: by the cluster's ConfigMap, else by its pods. Throws SERIN_NOT_FOUND. */
export async function findControlPlane(store: KubeStore): Promise<ControlPlanePlace> {
  const key = { namespace: ROOT_NAMESPACE, name: CONFIG_MAP };
  const found = addressSchema.safeParse(await store.get(RESOURCES.configMap, key));
  if (found.success) return { debugAddress: found.data.data.debug };
  return { pod: await controlPlanePod(store) };
}

/**
 * Runs `use` with the address of the control plane's debug pages: `given`, or what the cluster says, with
 * a way to a pod through `kubectl port-forward`. Throws SERIN_NOT_FOUND, SERIN_UNAVAILABLE.
 */
export async function withControlPlane<T>(
  store: KubeStore,
  given: string | undefined,
  access: PodAccess,
  use: (address: string) => Promise<T>,
): Promise<T> {
  if (given !== undefined) return await use(given);
  const place = await findControlPlane(store);
  if ("debugAddress" in place) return await use(place.debugAddress);
  const target = { namespace: ROOT_NAMESPACE, pod: place.pod, port: DEBUG_PORT };
  await using forward = await forwardPort({ ...target, ...access });
  return await use(forward.address);
}

async function controlPlanePod(store: KubeStore): Promise<string> {
  for (const labelSelector of POD_LABELS) {
    const { items } = await store.list(RESOURCES.pod, { namespace: ROOT_NAMESPACE, labelSelector });
    const running = items.find((pod) => phaseSchema.safeParse(pod).success);
    if (running !== undefined) return running.metadata.name;
  }
  throw new SerinError(
    "SERIN_NOT_FOUND",
    `there is no control plane: no ConfigMap ${ROOT_NAMESPACE}/${CONFIG_MAP} says where it is, and no pod in ${ROOT_NAMESPACE} runs it (${POD_LABELS.join(", ")}); give --control-plane HOST:PORT`,
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
