import { z } from "zod";
import type { KubeObject } from "../api/index.ts";
import type { OutsideAddress } from "../mesh/index.ts";

const serviceSchema = z.object({
  spec: z.object({
    type: z.string().default("ClusterIP"),
    externalIPs: z.array(z.string()).default([]),
    ports: z.array(z.object({ port: z.number(), nodePort: z.number().optional() })).default([]),
  }),
  status: z
    .object({
      loadBalancer: z
        .object({
          ingress: z
            .array(z.object({ ip: z.string().optional(), hostname: z.string().optional() }))
            .default([]),
        })
        .default({ ingress: [] }),
    })
    .default({ loadBalancer: { ingress: [] } }),
});
const nodeSchema = z.object({
  status: z.object({ addresses: z.array(z.object({ type: z.string(), address: z.string() })) }),
});

/**
 * Where Services can be reached from outside of the cluster: at a load balancer, at external addresses,
 * else at a node's port. Answers for `namespace/name`.
 */
export function outsideAddresses(
  services: readonly KubeObject[],
  nodes: readonly KubeObject[],
): (reference: string) => readonly OutsideAddress[] {
  const node = nodes.flatMap(nodeAddress)[0] ?? "localhost";
  const byName = new Map(
    services.map((object) => [`${object.metadata.namespace}/${object.metadata.name}`, object]),
  );
  return (reference) => {
    const found = serviceSchema.safeParse(byName.get(reference));
    if (!found.success) return [];
    const { spec, status } = found.data;
    const balanced = status.loadBalancer.ingress.flatMap(
      ({ ip, hostname }) => ip ?? hostname ?? [],
    );
    const direct = [...balanced, ...spec.externalIPs];
    if (direct.length > 0) return direct.map((host) => ({ host, ports: new Map() }));
    if (spec.type !== "NodePort" && spec.type !== "LoadBalancer") return [];
    const ports = new Map(
      spec.ports.flatMap(({ port, nodePort }) =>
        nodePort === undefined ? [] : [[port, nodePort] as const],
      ),
    );
    return ports.size === 0 ? [] : [{ host: node, ports }];
  };
}

function nodeAddress(node: KubeObject): readonly string[] {
  const addresses = nodeSchema.safeParse(node).data?.status.addresses ?? [];
  const of = (type: string) => addresses.find((each) => each.type === type)?.address;
  const found = of("ExternalIP") ?? of("InternalIP");
  return found === undefined ? [] : [found];
}
