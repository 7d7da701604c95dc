import type { StringMap } from "../../api/index.ts";
import { type Json, listOf } from "./model-object.ts";

/** The pod's annotation, or its namespace's label, that says which program the sidecar is. */
export const ENGINE = "proxy.serin.dev/engine";
const ENGINES = ["serin", "envoy"] as const;
export type Engine = (typeof ENGINES)[number];
/** Istio's: what the sidecar writes while it runs. */
const RUN_VOLUME = "istio-envoy";
const RUN_DIR = "/etc/istio/proxy";

/** Which program the sidecar is; the pod's word beats the namespace's. An unknown word comes back. */
export function engineOf(
  annotations: StringMap,
  namespaceLabels: StringMap,
): Engine | { readonly unknown: string } {
  const asked = annotations[ENGINE] ?? namespaceLabels[ENGINE] ?? "serin";
  return ENGINES.find((engine) => engine === asked) ?? { unknown: asked };
}

/**
 * A sidecar that runs real Envoy: `serin proxy` stays, as its agent (as pilot-agent does for Istio's),
 * and needs a place for a socket.
 */
export function withEnvoy(container: Json): Json {
  return {
    ...container,
    args: [...listOf(container["args"]), "--engine", "envoy"],
    env: [...listOf(container["env"]), { name: "SERIN_RUN_DIR", value: RUN_DIR }],
    volumeMounts: [...listOf(container["volumeMounts"]), { name: RUN_VOLUME, mountPath: RUN_DIR }],
  };
}

/** The volumes that such a sidecar needs beside the usual ones. */
export function engineVolumes(engine: Engine): readonly Json[] {
  return engine === "envoy" ? [{ name: RUN_VOLUME, emptyDir: { medium: "Memory" } }] : [];
}
