interface EndpointLike {
  readonly priority: number;
  readonly isHealthy: boolean;
}

/**
 * The hosts that take traffic: those of the first priority with a healthy host. When fewer of them
 * are healthy than the panic threshold (percent) says, all of that priority are used, unhealthy ones
 * too: better a chance than a stampede on the few. Empty = no healthy upstream.
 */
export function selectHosts<Endpoint extends EndpointLike>(
  endpoints: readonly Endpoint[],
  panicThresholdPercent: number,
): readonly Endpoint[] {
  const priorities = [...new Set(endpoints.map((endpoint) => endpoint.priority))];
  priorities.sort((a, b) => a - b);
  for (const priority of priorities) {
    const all = endpoints.filter((endpoint) => endpoint.priority === priority);
    const healthy = all.filter((endpoint) => endpoint.isHealthy);
    if (healthy.length === 0) continue;
    return (healthy.length * 100) / all.length < panicThresholdPercent ? all : healthy;
  }
  const first = endpoints.filter((endpoint) => endpoint.priority === priorities[0]);
  return panicThresholdPercent > 0 ? first : [];
}
