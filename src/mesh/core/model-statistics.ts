import type { MeshModel } from "./model.ts";
import { isHttpProtocol } from "./model-protocol.ts";
import { MESH_GATEWAY } from "./model-virtual-services.ts";

/** Numbers that say how healthy a mesh's configuration is, as Istio's metrics name them. */
export interface ModelStatistics {
  readonly services: number;
  readonly virtualServices: number;
  /** Pods that have no address. */
  readonly withoutAddress: number;
  /** Service ports that have endpoints, of which none is ready, or none at all. */
  readonly withoutInstances: number;
  readonly endpointsNotReady: number;
  /** Hosts that several VirtualServices of the mesh claim. */
  readonly duplicateDomains: number;
  /** Pods' ports that services call by different protocols. */
  readonly inboundConflicts: number;
  /** Ports that several TCP services without an address of their own would all listen on. */
  readonly outboundTcpConflicts: number;
  /** The same where HTTP and TCP meet. */
  readonly outboundHttpConflicts: number;
  /** Resources that were left out, or that do nothing. */
  readonly rejectedConfigs: number;
}

/** Counts. Cost: the size of the model. */
export function statisticsOf(model: MeshModel): ModelStatistics {
  const ports = model.services.flatMap((service) =>
    service.ports.map((port) => ({ service, port })),
  );
  const endpoints = ports.flatMap(({ port }) => port.endpoints);
  const told = ports.filter(({ service }) => service.resolution === "endpoints");
  const outbound = outboundConflicts(told);
  const problems = new Set(
    model.problems.map(({ kind, namespace, name }) => `${kind} ${namespace} ${name}`),
  );
  return {
    services: model.services.length,
    virtualServices: model.virtualServices.length,
    withoutAddress: [...model.workloads.values()].filter(({ address }) => address === "").length,
    withoutInstances: told.filter(({ port }) => !port.endpoints.some(({ isReady }) => isReady))
      .length,
    endpointsNotReady: endpoints.filter(({ isReady }) => !isReady).length,
    duplicateDomains: duplicateDomains(model),
    inboundConflicts: inboundConflicts(model),
    ...outbound,
    rejectedConfigs: problems.size,
  };
}

function duplicateDomains({ virtualServices }: MeshModel): number {
  const hosts = virtualServices
    .filter(({ gateways, http }) => gateways.includes(MESH_GATEWAY) && http.length > 0)
    // For different namespaces one host may have several.
    .flatMap((each) => each.hosts.map((host) => `${each.exportTo.join()} ${host}`));
  return hosts.length - new Set(hosts).size;
}

function inboundConflicts({ servedPorts }: MeshModel): number {
  let conflicts = 0;
  for (const served of servedPorts.values()) {
    const byPort = Map.groupBy(served, ({ targetPort }) => targetPort);
    for (const behind of byPort.values()) {
      if (new Set(behind.map(({ port }) => port.protocol)).size > 1) conflicts += 1;
    }
  }
  return conflicts;
}

/** A service without an address is only told by its port where traffic is redirected. */
function outboundConflicts(
  told: readonly {
    readonly service: MeshModel["services"][number];
    readonly port: MeshModel["services"][number]["ports"][number];
  }[],
) {
  const bare = told.filter(({ service }) => service.clusterIps.length === 0);
  const byPort = Map.groupBy(bare, ({ port }) => port.number);
  let outboundTcpConflicts = 0;
  let outboundHttpConflicts = 0;
  for (const all of byPort.values()) {
    const http = all.filter(({ port }) => isHttpProtocol(port.protocol)).length;
    const tcp = all.length - http;
    if (tcp > 1) outboundTcpConflicts += tcp - 1;
    if (tcp > 0 && http > 0) outboundHttpConflicts += http;
  }
  return { outboundTcpConflicts, outboundHttpConflicts };
}
