import type { KubeObject } from "../../../../src/api/index.ts";

/** A Service in namespace `default`. */
export function service(name: string, spec: object): KubeObject {
  return { apiVersion: "v1", kind: "Service", metadata: { name, namespace: "default" }, spec };
}

/** The EndpointSlice of a Service in namespace `default`. */
export function endpointSlice(
  name: string,
  ports: readonly (readonly [name: string, port: number])[],
  endpoints: readonly {
    readonly ip: string;
    readonly hostname?: string;
    readonly isReady?: boolean;
  }[],
): KubeObject {
  return {
    apiVersion: "discovery.k8s.io/v1",
    kind: "EndpointSlice",
    metadata: {
      name: `${name}-x`,
      namespace: "default",
      labels: { "kubernetes.io/service-name": name },
    },
    addressType: "IPv4",
    ports: ports.map(([portName, port]) => ({ name: portName, port, protocol: "TCP" })),
    endpoints: endpoints.map(({ ip, hostname, isReady = true }) => ({
      addresses: [ip],
      conditions: { ready: isReady },
      ...(hostname === undefined ? {} : { hostname }),
    })),
  };
}
