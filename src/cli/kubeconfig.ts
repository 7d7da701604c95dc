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
