import { SerinError } from "../../base/index.ts";
import type { MeshModel, Workload } from "../../mesh/index.ts";

const KINDS: Readonly<Record<string, (workload: Workload, name: string) => boolean>> = {
  pod: (workload, name) => workload.podName === name,
  deployment: (workload, name) => workload.workloadName === name,
  service: (workload, name) =>
    workload.canonicalService === name || workload.labels["app"] === name,
};
const SHORT: Readonly<Record<string, string>> = {
  ...{ pods: "pod", po: "pod", deployments: "deployment", deploy: "deployment" },
  ...{ services: "service", svc: "service" },
};

/**
 * The pod that a caller's name stands for: `POD`, a Deployment's, or an application's (the canonical
 * service or label `app`); `KIND/NAME` says which, and `.NAMESPACE` at the end where. Of several a
 * ready one with a sidecar, the first by name. Throws SERIN_NOT_FOUND.
 */
export function callerNamed(model: MeshModel, argument: string, namespace: string): Workload {
  const slash = argument.indexOf("/");
  const prefix = slash < 0 ? undefined : argument.slice(0, slash);
  const text = argument.slice(slash + 1);
  const kind = prefix === undefined ? undefined : (SHORT[prefix] ?? prefix);
  if (kind !== undefined && !Object.hasOwn(KINDS, kind)) {
    throw notFound(
      `unknown kind ${JSON.stringify(prefix)} (known: ${Object.keys(KINDS).join(", ")})`,
    );
  }
  const dot = text.lastIndexOf(".");
  const places: readonly (readonly [name: string, namespace: string])[] = [
    [text, namespace],
    ...(dot < 0 ? [] : [[text.slice(0, dot), text.slice(dot + 1)] as const]),
  ];
  for (const [name, where] of places) {
    for (const [known, isIt] of Object.entries(KINDS)) {
      if (kind !== undefined && kind !== known) continue;
      const found = [...model.workloads.values()]
        .filter((workload) => workload.namespace === where && isIt(workload, name))
        .sort((a, b) => rank(a) - rank(b) || (a.podName < b.podName ? -1 : 1));
      if (found[0] !== undefined) return found[0];
    }
  }
  const [name, where] = places.at(-1) ?? [text, namespace];
  throw notFound(`no pod, Deployment or application in namespace ${where} is called ${name}`);
}

function rank({ isReady, hasSidecar }: Workload): number {
  return (isReady ? 0 : 1) + (hasSidecar ? 0 : 2);
}

function notFound(message: string): SerinError {
  return new SerinError("SERIN_NOT_FOUND", message, { source: "caller" });
}
