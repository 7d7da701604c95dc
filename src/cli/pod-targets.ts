import { z } from "zod";
import type { KubeObject } from "../api/index.ts";

/** A group of Prometheus' HTTP service discovery. */
export interface TargetGroup {
  readonly targets: readonly string[];
  readonly labels: Readonly<Record<string, string>>;
}

const container = z.looseObject({
  name: z.string(),
  image: z.string().default(""),
  ports: z
    .array(
      z.looseObject({
        name: z.string().default(""),
        containerPort: z.number(),
        protocol: z.string().default("TCP"),
      }),
    )
    .default([]),
});
const podSchema = z.object({
  spec: z.looseObject({
    nodeName: z.string().default(""),
    containers: z.array(container).default([]),
    initContainers: z.array(container).default([]),
  }),
  status: z.looseObject({
    podIP: z.string(),
    hostIP: z.string().default(""),
    phase: z.string().default(""),
    conditions: z.array(z.looseObject({ type: z.string(), status: z.string() })).default([]),
  }),
});

/**
 * What Prometheus' own discovery of pods (`kubernetes_sd_configs`, `role: pod`) makes of a pod: a target
 * for each port of each container, or one without a port, under the same meta labels. None without an
 * address. Source: Prometheus, "Configuration", kubernetes_sd_config, pod.
 */
export function podTargets(pod: KubeObject): readonly TargetGroup[] {
  const parsed = podSchema.safeParse(pod);
  if (!parsed.success) return [];
  const { spec, status } = parsed.data;
  const { name, namespace = "", uid = "", labels, annotations } = pod.metadata;
  const ready = status.conditions.find(({ type }) => type === "Ready")?.status ?? "Unknown";
  const common = {
    __meta_kubernetes_namespace: namespace,
    __meta_kubernetes_pod_name: name,
    __meta_kubernetes_pod_uid: uid,
    __meta_kubernetes_pod_ip: status.podIP,
    __meta_kubernetes_pod_host_ip: status.hostIP,
    __meta_kubernetes_pod_node_name: spec.nodeName,
    __meta_kubernetes_pod_phase: status.phase,
    __meta_kubernetes_pod_ready: ready.toLowerCase(),
    ...entries("label", labels),
    ...entries("annotation", annotations),
  };
  const all = [
    ...spec.containers.map((each) => ({ ...each, isInit: false })),
    ...spec.initContainers.map((each) => ({ ...each, isInit: true })),
  ];
  return all.flatMap((each) => {
    const ofContainer = {
      ...common,
      __meta_kubernetes_pod_container_name: each.name,
      __meta_kubernetes_pod_container_image: each.image,
      __meta_kubernetes_pod_container_init: String(each.isInit),
    };
    if (each.ports.length === 0) return [{ targets: [status.podIP], labels: ofContainer }];
    return each.ports.map((port) => ({
      targets: [`${status.podIP}:${port.containerPort}`],
      labels: {
        ...ofContainer,
        __meta_kubernetes_pod_container_port_name: port.name,
        __meta_kubernetes_pod_container_port_number: String(port.containerPort),
        __meta_kubernetes_pod_container_port_protocol: port.protocol,
      },
    }));
  });
}

function entries(
  kind: "label" | "annotation",
  map: Readonly<Record<string, string>> = {},
): Readonly<Record<string, string>> {
  return Object.fromEntries(
    Object.entries(map).flatMap(([key, value]) => {
      const name = key.replace(/[^a-zA-Z0-9_]/g, "_");
      return [
        [`__meta_kubernetes_pod_${kind}_${name}`, value],
        [`__meta_kubernetes_pod_${kind}present_${name}`, "true"],
      ];
    }),
  );
}
