import type { ClusterConfig, RuntimeConfig } from "../config/runtime-config.ts";
import type { ConfigStore } from "../xds/config-store.ts";

const EDS_FLAGS: Readonly<Record<string, string>> = {
  UNHEALTHY: "/failed_eds_health",
  TIMEOUT: "/failed_eds_health",
  DRAINING: "/eds_status_draining",
  DEGRADED: "/degraded_eds_health",
};

/** Envoy's /clusters in its text form: `name::key::value` and `name::address::key::value`. */
export function clustersText(store: ConfigStore, config: RuntimeConfig): string {
  const lines: string[] = [];
  for (const cluster of activeClusters(store, config)) {
    const { name, circuitBreaker } = cluster;
    lines.push(
      `${name}::default_priority::max_connections::${circuitBreaker.maxConnections}`,
      `${name}::default_priority::max_pending_requests::${circuitBreaker.maxPendingRequests}`,
      `${name}::default_priority::max_requests::${circuitBreaker.maxRequests}`,
      `${name}::default_priority::max_retries::${circuitBreaker.maxRetries}`,
    );
    for (const endpoint of cluster.endpoints) {
      const prefix = `${name}::${endpoint.key}`;
      lines.push(
        `${prefix}::health_flags::${EDS_FLAGS[endpoint.edsHealth] ?? "healthy"}`,
        `${prefix}::weight::${endpoint.weight}`,
        `${prefix}::priority::${endpoint.priority}`,
      );
    }
  }
  return `${lines.join("\n")}\n`;
}

/** Envoy's /clusters?format=json (envoy.admin.v3.Clusters). */
export function clustersJson(store: ConfigStore, config: RuntimeConfig): unknown {
  return {
    cluster_statuses: activeClusters(store, config).map((cluster) => ({
      name: cluster.name,
      added_via_api: store.clusters.get(cluster.name)?.active?.isStatic === false,
      host_statuses: cluster.endpoints.map((endpoint) => ({
        address: { socket_address: { address: endpoint.address, port_value: endpoint.port } },
        health_status: { eds_health_status: endpoint.edsHealth },
        weight: endpoint.weight,
        priority: endpoint.priority,
      })),
      observability_name: cluster.altStatName,
      ...(store.clusters.get(cluster.name)?.active?.spec.edsName === undefined
        ? {}
        : { eds_service_name: store.clusters.get(cluster.name)?.active?.spec.edsName }),
    })),
  };
}

function activeClusters(store: ConfigStore, config: RuntimeConfig): ClusterConfig[] {
  return [...store.clusters.keys()].flatMap((name) => config.cluster(name) ?? []);
}
