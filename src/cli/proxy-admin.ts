import { z } from "zod";
import { type KubeObject, RESOURCES } from "../api/index.ts";
import { messageOf, SerinError } from "../base/index.ts";
import { NAMESPACE_ANNOTATION } from "../embedded/index.ts";
import type { KubeStore } from "../kube/store.ts";
import { type FetchedPage, fetchInNamespace } from "./namespace-fetch.ts";
import { forwardPort } from "./port-forward.ts";

const ADMIN_PORT = 15000;
const TIMEOUT_MS = 10_000;

/** A pod with a sidecar, as commands name it. */
export interface ProxyPod {
  readonly name: string;
  readonly namespace: string;
  readonly ip: string;
  /** Of this machine, with the embedded cluster; undefined = the pod has none of its own. */
  readonly networkNamespace?: string | undefined;
}

/** How pods of another machine are reached: with kubectl. */
export interface PodAccess {
  /** undefined: the environment's. */
  readonly kubeconfig: string | undefined;
  readonly env: NodeJS.ProcessEnv;
}

const podSchema = z.object({
  spec: z.object({
    containers: z.array(z.object({ name: z.string() })),
    initContainers: z.array(z.object({ name: z.string() })).optional(),
  }),
  status: z.object({ podIP: z.string().optional() }).optional(),
});

/**
 * The pod that `POD`, `POD.NAMESPACE` or `pod/POD` names; pods without a namespace are looked for in
 * `namespace`. Throws SERIN_NOT_FOUND, and SERIN_UNAVAILABLE when it has no sidecar or no address yet.
 */
export async function findProxyPod(
  store: KubeStore,
  argument: string,
  namespace: string,
): Promise<ProxyPod> {
  const text = argument.replace(/^pods?\//, "");
  const found =
    (await podAt(store, text, namespace)) ?? (await podAt(store, ...splitName(text, namespace)));
  if (found === undefined) {
    const [name, where] = splitName(text, namespace);
    throw new SerinError("SERIN_NOT_FOUND", `there is no pod ${name} in namespace ${where}`, {
      source: "caller",
    });
  }
  const { spec, status } = podSchema.parse(found);
  const who = `pod ${found.metadata.namespace}/${found.metadata.name}`;
  const containers = [...spec.containers, ...(spec.initContainers ?? [])];
  if (!containers.some((each) => each.name === "istio-proxy")) {
    throw new SerinError("SERIN_UNAVAILABLE", `${who} has no sidecar (container istio-proxy)`);
  }
  const ip = status?.podIP;
  if (ip === undefined) {
    throw new SerinError("SERIN_UNAVAILABLE", `${who} has no address yet`, { retry: "yes" });
  }
  const networkNamespace = found.metadata.annotations?.[NAMESPACE_ANNOTATION];
  const { name, namespace: own = namespace } = found.metadata;
  return { name, namespace: own, ip, networkNamespace };
}

/** Pods' names may hold dots: the last part is the namespace only if no pod is called so. */
export function splitName(text: string, namespace: string): [string, string] {
  const dot = text.lastIndexOf(".");
  return dot < 0 ? [text, namespace] : [text.slice(0, dot), text.slice(dot + 1)];
}

function podAt(store: KubeStore, name: string, namespace: string): Promise<KubeObject | undefined> {
  return store.get(RESOURCES.pod, { name, namespace });
}

/**
 * Asks a page of the proxy's admin interface, which is for the pod alone: on the loopback network at the
 * pod's own address, in a network namespace from within, elsewhere through `kubectl port-forward`.
 * Throws SERIN_UNAVAILABLE, SERIN_API.
 */
export async function askProxyAdmin(
  pod: ProxyPod,
  path: string,
  access: PodAccess,
  method: "GET" | "POST" = "GET",
): Promise<string> {
  const who = `the proxy of pod ${pod.namespace}/${pod.name}`;
  const { status, body } = await fetchAdmin(pod, path, access, method, who);
  if (status < 400) return body;
  throw new SerinError("SERIN_API", `${who} answered ${status}: ${body.trim()}`, {
    source: "remote",
  });
}

async function fetchAdmin(
  pod: ProxyPod,
  path: string,
  access: PodAccess,
  method: "GET" | "POST",
  who: string,
): Promise<FetchedPage> {
  const { ip, networkNamespace, name, namespace } = pod;
  if (ip.startsWith("127.")) return await fetchAt(`${ip}:${ADMIN_PORT}`, path, method, who);
  if (networkNamespace !== undefined) {
    const url = `http://127.0.0.1:${ADMIN_PORT}${path}`;
    return await fetchInNamespace(networkNamespace, url, method);
  }
  await using forward = await forwardPort({ namespace, pod: name, port: ADMIN_PORT, ...access });
  return await fetchAt(forward.address, path, method, who);
}

async function fetchAt(
  address: string,
  path: string,
  method: "GET" | "POST",
  who: string,
): Promise<FetchedPage> {
  try {
    const signal = AbortSignal.timeout(TIMEOUT_MS);
    const response = await fetch(`http://${address}${path}`, { method, signal });
    return { status: response.status, body: await response.text() };
  } catch (error) {
    throw new SerinError(
      "SERIN_UNAVAILABLE",
      `${who} does not answer on ${address}: ${messageOf(error)}`,
      { source: "remote", retry: "yes", cause: error },
    );
  }
}
