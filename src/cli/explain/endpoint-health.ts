import { messageOf } from "../../base/index.ts";
import type { KubeStore } from "../../kube/store.ts";
import type { EndpointHealth, Workload } from "../../mesh/index.ts";
import { field, listField, textField } from "../output/config-dump.ts";
import { askProxyAdmin, findProxyPod, type PodAccess } from "../proxy-admin.ts";

/** What a caller's proxy found out about the endpoints it uses. */
export interface ProxyFindings {
  healthOf(cluster: string, address: string): EndpointHealth | undefined;
  /** Why the proxy was not asked; undefined = it was. */
  readonly problem: string | undefined;
}

/** Asks the proxy of a pod how healthy it finds its endpoints. A proxy that does not answer knows nothing. */
export async function proxyFindings(
  store: KubeStore,
  workload: Workload,
  access: PodAccess,
): Promise<ProxyFindings> {
  const health = new Map<string, EndpointHealth>();
  if (!workload.hasSidecar) return { healthOf: () => undefined, problem: undefined };
  try {
    const pod = await findProxyPod(store, workload.podName, workload.namespace);
    const text = await askProxyAdmin(pod, "/clusters?format=json", access);
    const clusters: unknown = JSON.parse(text);
    for (const cluster of listField(clusters, "cluster_statuses")) {
      for (const host of listField(cluster, "host_statuses")) {
        const address = textField(host, "address", "socket_address", "address");
        const port = textField(host, "address", "socket_address", "port_value");
        health.set(`${textField(cluster, "name")} ${address}:${port}`, healthIn(host));
      }
    }
  } catch (error) {
    const problem = messageOf(error);
    return { healthOf: () => undefined, problem };
  }
  return {
    healthOf: (cluster, address) => health.get(`${cluster} ${address}`),
    problem: undefined,
  };
}

function healthIn(host: unknown): EndpointHealth {
  if (field(host, "health_status", "failed_outlier_check") === true) return "EJECTED";
  const told = textField(host, "health_status", "eds_health_status");
  const isFailed = field(host, "health_status", "failed_active_health_check") === true;
  return isFailed || told === "UNHEALTHY" || told === "TIMEOUT" || told === "DRAINING"
    ? "UNHEALTHY"
    : "HEALTHY";
}
