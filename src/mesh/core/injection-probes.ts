import type { StringMap } from "../../api/index.ts";
import { type Json, listOf, objectOf } from "./model-object.ts";

/** Whether a pod's probes go through its sidecar (Istio's name). */
const REWRITE = "sidecar.istio.io/rewriteAppHTTPProbers";
/** Where sidecars answer for their applications. */
const PROBE_PORT = 15_020;
/** The variable by which a sidecar knows whom to ask (Istio's). */
const VARIABLE = "ISTIO_KUBE_APP_PROBERS";
const PAGES = {
  livenessProbe: "livez",
  readinessProbe: "readyz",
  startupProbe: "startupz",
} as const;

/** Containers whose probes ask the sidecar, and what it has to know for that. */
export interface RewrittenProbes {
  readonly containers: readonly unknown[];
  /** Of the sidecar's environment. */
  readonly variables: readonly Json[];
}

/**
 * Leads the probes of a pod's containers through its sidecar, which asks the application from within
 * the pod: kubelets have no certificate of the mesh. `exec` stays, and so do probes of other hosts.
 */
export function rewrittenProbes(
  containers: readonly unknown[],
  annotations: StringMap,
  isDefault: boolean,
): RewrittenProbes {
  if ((annotations[REWRITE] ?? String(isDefault)) !== "true") return { containers, variables: [] };
  const probers: Record<string, Json> = {};
  const rewritten = containers.map((each) => {
    const container = objectOf(each);
    const changed = Object.entries(PAGES).flatMap(([field, page]) => {
      const probe = objectOf(container[field]);
      const action = actionOf(probe, container);
      if (action === undefined) return [];
      const path = `/app-health/${String(container["name"])}/${page}`;
      probers[path] = { ...action, timeoutSeconds: probe["timeoutSeconds"] ?? 1 };
      const { httpGet: _, tcpSocket: __, grpc: ___, ...rest } = probe;
      return [[field, { ...rest, httpGet: { path, port: PROBE_PORT, scheme: "HTTP" } }] as const];
    });
    return changed.length === 0 ? each : { ...container, ...Object.fromEntries(changed) };
  });
  const isAny = Object.keys(probers).length > 0;
  const variable = { name: VARIABLE, value: JSON.stringify(probers) };
  return { containers: rewritten, variables: isAny ? [variable] : [] };
}

/** What to do in place of the kubelet, with the port as a number; undefined: nothing, the probe stays. */
function actionOf(probe: Json, container: Json): Json | undefined {
  for (const field of ["httpGet", "tcpSocket", "grpc"] as const) {
    const action = objectOf(probe[field]);
    if (probe[field] === undefined || action["host"] !== undefined) continue;
    const port = portNumber(action["port"], container);
    return port === undefined ? undefined : { [field]: { ...action, port } };
  }
  return undefined;
}

function portNumber(port: unknown, container: Json): number | undefined {
  const named = listOf(container["ports"])
    .map(objectOf)
    .find(({ name }) => name === port);
  const number = Number(named?.["containerPort"] ?? port);
  return Number.isInteger(number) && number > 0 ? number : undefined;
}
