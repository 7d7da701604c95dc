import type { KubeObject } from "../../../api/index.ts";
import { numberAt, objectsAt, stringAt, valueAt } from "../api/json.ts";

/** A place where a Service is reachable from outside of the cluster. */
export interface ServiceListener {
  readonly address: string;
  readonly port: number;
  /** Name of the Service's port; "" when it has none. */
  readonly portName: string;
}

/** A pod that takes connections. */
export interface Backend {
  readonly address: string;
  readonly port: number;
}

/** Whether a Service wants an address of a load balancer. */
export function wantsLoadBalancer(service: KubeObject): boolean {
  const isOwn = stringAt(service, "spec", "loadBalancerClass") === undefined;
  return stringAt(service, "spec", "type") === "LoadBalancer" && isOwn;
}

/**
 * Where a Service of type NodePort or LoadBalancer is to be reachable: its node ports on the node's
 * address, its own ports on the load balancer's, if it has one. UDP and SCTP are not served.
 */
export function serviceListeners(
  service: KubeObject,
  nodeAddress: string,
  loadBalancerAddress: string | undefined,
): readonly ServiceListener[] {
  const type = stringAt(service, "spec", "type");
  if (type !== "NodePort" && type !== "LoadBalancer") return [];
  return objectsAt(service, "spec", "ports").flatMap((each) => {
    if ((each["protocol"] ?? "TCP") !== "TCP") return [];
    const portName = stringAt(each, "name") ?? "";
    const [port, nodePort] = [numberAt(each, "port"), numberAt(each, "nodePort")];
    return [
      ...(nodePort ? [{ address: nodeAddress, port: nodePort, portName }] : []),
      ...(loadBalancerAddress !== undefined && port
        ? [{ address: loadBalancerAddress, port, portName }]
        : []),
    ];
  });
}

/** The ready endpoints behind one port of a Service, from its EndpointSlices. */
export function backendsOf(slices: readonly KubeObject[], portName: string): readonly Backend[] {
  return slices.flatMap((slice) => {
    const ports = objectsAt(slice, "ports").filter((each) => (each["name"] ?? "") === portName);
    return objectsAt(slice, "endpoints").flatMap((endpoint) => {
      const [address] = (valueAt(endpoint, "addresses") as readonly string[] | undefined) ?? [];
      // Absent means ready (discovery.k8s.io/v1).
      if (address === undefined || valueAt(endpoint, "conditions", "ready") === false) return [];
      return ports.flatMap((each) => {
        const port = numberAt(each, "port");
        return port === undefined ? [] : [{ address, port }];
      });
    });
  });
}
