import { homedir } from "node:os";
import { delimiter, join } from "node:path";
import { createClientStore } from "../kube/index.ts";
import type { KubeStore } from "../kube/store.ts";

/**
 * The kubeconfig that a command without --kubeconfig uses: the first of KUBECONFIG, else
 * `~/.kube/config`.
 */
export function kubeconfigFrom(env: NodeJS.ProcessEnv): string {
  const first = env["KUBECONFIG"]?.split(delimiter).find((path) => path !== "");
  return first ?? join(env["HOME"] ?? homedir(), ".kube", "config");
}

/**
 * The cluster that a command is about: --kubeconfig's, else the environment's. Throws
 * SERIN_UNREADABLE_INPUT when the file cannot be used.
 */
export function clusterStore(kubeconfig: string | undefined, env: NodeJS.ProcessEnv): KubeStore {
  return createClientStore({ kubeconfigPath: kubeconfig ?? kubeconfigFrom(env) });
}

/**
 * The cluster that a server of ours works for: --kubeconfig's, else as kubectl finds it, else that of the
 * pod it runs in. Throws SERIN_UNREADABLE_INPUT.
 */
export function serverStore(kubeconfig: string | undefined, env: NodeJS.ProcessEnv): KubeStore {
  const inPod = env["KUBERNETES_SERVICE_HOST"] !== undefined && env["KUBECONFIG"] === undefined;
  if (kubeconfig !== undefined) return createClientStore({ kubeconfigPath: kubeconfig });
  return inPod ? createClientStore() : clusterStore(undefined, env);
}
