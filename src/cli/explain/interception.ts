import { z } from "zod";
import type { MeshObjects, Workload } from "../../mesh/index.ts";

const container = z.object({
  name: z.string(),
  env: z.array(z.object({ name: z.string(), value: z.string().optional() })).default([]),
});
const podSchema = z.object({
  spec: z.object({
    containers: z.array(container),
    initContainers: z.array(container).default([]),
  }),
});

/** Whether a pod's connections are redirected to its sidecar, which is Istio's default. */
export function isRedirected(objects: MeshObjects, workload: Workload): boolean {
  const pod = objects.pods.find(
    ({ metadata }) =>
      metadata.name === workload.podName && metadata.namespace === workload.namespace,
  );
  const { spec } = podSchema.safeParse(pod).data ?? {};
  const proxy = [...(spec?.containers ?? []), ...(spec?.initContainers ?? [])].find(
    ({ name }) => name === "istio-proxy",
  );
  const mode = proxy?.env.find(({ name }) => name === "ISTIO_META_INTERCEPTION_MODE")?.value;
  return mode !== "NONE";
}
