import { createServer, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { messageOf } from "../base/index.ts";
import type { Connection } from "./ads-server.ts";
import type { MeshObjects } from "./core/mesh-objects.ts";
import type { MeshModel } from "./core/model.ts";
import type { MeshEndpoint } from "./core/model-endpoint.ts";
import { localityText } from "./core/model-locality.ts";
import { expectedDump } from "./debug-config-dump.ts";
import { clientsOf, syncOf } from "./debug-sync.ts";
import { listenError } from "./grpc-server.ts";

export interface DebugOptions {
  readonly host: string;
  /** 0 = any free port. */
  readonly port: number;
  /** This control plane's name, one of several. */
  readonly name: string;
  readonly isReady: () => boolean;
  readonly connections: () => readonly Connection[];
  readonly objects: () => MeshObjects | undefined;
  readonly model: () => MeshModel | undefined;
  /** Prometheus text. */
  readonly metrics: () => Promise<string>;
}

export interface DebugServer {
  readonly port: number;
  stop(): Promise<void>;
}

/**
 * /ready, /metrics and Istio's debug pages (/debug/syncz, /debug/adsz, /debug/configz,
 * /debug/endpointz, /debug/config_dump?proxyID=POD.NAMESPACE) over HTTP. Throws SERIN_PORT_IN_USE, SERIN_PERMISSION.
 */
export async function startDebugServer(options: DebugOptions): Promise<DebugServer> {
  const pages: Readonly<Record<string, (query: URLSearchParams) => unknown>> = {
    "/debug/syncz": () => options.connections().map((each) => syncOf(each, options.name)),
    "/debug/adsz": () => clientsOf(options.connections()),
    "/debug/config_dump": (query) => {
      const id = query.get("proxyID");
      // Of a pod that has just reconnected the newest stream counts.
      const connection = options
        .connections()
        .findLast(({ node }) => `${node.name}.${node.namespace}` === id);
      return connection === undefined ? undefined : expectedDump(connection);
    },
    "/debug/configz": () => configsOf(options.objects()),
    "/debug/endpointz": () => endpointsOf(options.model()),
  };
  const server = createServer((request, response) => {
    const { pathname, searchParams } = new URL(request.url ?? "/", "http://localhost");
    if (request.method !== "GET" && request.method !== "HEAD") {
      answer(response, 405, "text/plain", "only GET\n");
    } else if (pathname === "/ready") {
      const isReady = options.isReady();
      answer(response, isReady ? 200 : 503, "text/plain", isReady ? "ready\n" : "not ready\n");
    } else if (pathname === "/metrics") {
      options.metrics().then(
        (text) => answer(response, 200, "text/plain; version=0.0.4; charset=utf-8", text),
        (error: unknown) => answer(response, 500, "text/plain", `${messageOf(error)}\n`),
      );
    } else {
      const page = Object.hasOwn(pages, pathname) ? pages[pathname] : undefined;
      const found = page?.(searchParams);
      if (found === undefined) answer(response, 404, "text/plain", "not found\n");
      else answer(response, 200, "application/json", `${JSON.stringify(found, null, 2)}\n`);
    }
  });
  await new Promise<void>((resolve, reject) => {
    server.once("error", (error) => reject(listenError(error, `${options.host}:${options.port}`)));
    server.listen(options.port, options.host, resolve);
  });
  return {
    port: (server.address() as AddressInfo).port,
    stop: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

function answer(response: ServerResponse, code: number, type: string, body: string): void {
  response.writeHead(code, { "content-type": type, "content-length": Buffer.byteLength(body) });
  response.end(body);
}

function configsOf(objects: MeshObjects | undefined): readonly unknown[] {
  if (objects === undefined) return [];
  return [
    ...objects.virtualServices,
    ...objects.destinationRules,
    ...objects.gateways,
    ...objects.serviceEntries,
    ...objects.workloadEntries,
    ...objects.sidecars,
    ...objects.peerAuthentications,
    ...objects.requestAuthentications,
    ...objects.authorizationPolicies,
    ...objects.telemetries,
    ...objects.gatewayClasses,
    ...objects.kubernetesGateways,
    ...objects.httpRoutes,
    ...objects.grpcRoutes,
    ...objects.tcpRoutes,
    ...objects.tlsRoutes,
    ...objects.referenceGrants,
  ];
}

/** As Istio shows them: a service's port each, and who is behind it. */
function endpointsOf(model: MeshModel | undefined): readonly unknown[] {
  return (model?.services ?? []).flatMap((service) =>
    service.ports.map((port) => ({
      svc: `${service.host}:${port.name ?? port.number}`,
      ep: port.endpoints.map((endpoint) => endpointOf(endpoint, port.name ?? "")),
    })),
  );
}

function endpointOf(endpoint: MeshEndpoint, portName: string): object {
  const { address, port, workload, labels, locality, weight, isReady, takesMutualTls } = endpoint;
  return {
    Addresses: [address],
    EndpointPort: port,
    ServicePortName: portName,
    Labels: labels,
    ServiceAccount:
      workload === undefined ? "" : `${workload.namespace}/${workload.serviceAccount}`,
    Locality: { Label: localityText(locality), ClusterID: "Kubernetes" },
    LbWeight: weight,
    TLSMode: takesMutualTls ? "istio" : "disabled",
    Namespace: workload?.namespace ?? "",
    WorkloadName: workload?.workloadName ?? "",
    // Istio's HealthStatus: 1 healthy, 2 unhealthy.
    HealthStatus: isReady ? 1 : 2,
  };
}
