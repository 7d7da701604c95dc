import { z } from "zod";
import { type KubeObject, RESOURCES } from "../api/index.ts";
import { messageOf, SerinError } from "../base/index.ts";
import type { KubeStore } from "../kube/store.ts";

const ADMIN_PORT = 15000;
const TIMEOUT_MS = 10_000;

/** A pod with a sidecar, as commands name it. */
export interface ProxyPod {
  readonly name: string;
  readonly namespace: string;
  readonly ip: string;
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
  return { name: found.metadata.name, namespace: found.metadata.namespace ?? namespace, ip };
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
 * Asks a page of the proxy's admin interface. It listens on loopback only, so it answers here for pods
 * of the embedded cluster; for others SERIN_UNAVAILABLE says how to get at it. 10 seconds at most.
 */
export async function askProxyAdmin(
  pod: ProxyPod,
  path: string,
  method: "GET" | "POST" = "GET",
): Promise<string> {
  const who = `the proxy of pod ${pod.namespace}/${pod.name}`;
  if (!pod.ip.startsWith("127.")) {
    throw new SerinError(
      "SERIN_UNAVAILABLE",
      `${who} shows its configuration inside of the pod only; save it with ` +
        `\`kubectl exec -n ${pod.namespace} ${pod.name} -c istio-proxy -- curl -s localhost:${ADMIN_PORT}/config_dump\` ` +
        "and give the file with --file",
    );
  }
  try {
    const signal = AbortSignal.timeout(TIMEOUT_MS);
    const response = await fetch(`http://${pod.ip}:${ADMIN_PORT}${path}`, { method, signal });
    const body = await response.text();
    if (response.ok) return body;
    throw new SerinError("SERIN_API", `${who} answered ${response.status}: ${body.trim()}`, {
      source: "remote",
    });
  } catch (error) {
    if (error instanceof SerinError) throw error;
    throw new SerinError(
      "SERIN_UNAVAILABLE",
      `${who} does not answer on ${pod.ip}:${ADMIN_PORT}: ${messageOf(error)}`,
      { source: "remote", retry: "yes", cause: error },
    );
  }
}
