import { createServer, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { messageOf } from "../base/index.ts";
import { CLUSTER_TYPE, ENDPOINT_TYPE, LISTENER_TYPE, ROUTE_TYPE } from "../xds/index.ts";
import type { Connection } from "./ads-server.ts";
import type { MeshObjects } from "./core/mesh-objects.ts";
import type { MeshModel } from "./core/model.ts";
import { listenError } from "./grpc-server.ts";

export interface DebugOptions {
  readonly host: string;
  /** 0 = any free port. */
  readonly port: number;
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

type SyncStatus = "SYNCED" | "STALE" | "NOT SENT" | "ERROR";
const FIELDS = [
  [CLUSTER_TYPE, "cluster"],
  [LISTENER_TYPE, "listener"],
  [ROUTE_TYPE, "route"],
  [ENDPOINT_TYPE, "endpoint"],
] as const;

/**
 * /ready, /metrics and Istio's debug pages (/debug/syncz, /debug/configz, /debug/endpointz) over
 * HTTP. Throws SERIN_PORT_IN_USE, SERIN_PERMISSION.
 */
export async function startDebugServer(options: DebugOptions): Promise<DebugServer> {
  const pages: Readonly<Record<string, () => unknown>> = {
    "/debug/syncz": () => options.connections().map(syncOf),
    "/debug/configz": () => configsOf(options.objects()),
    "/debug/endpointz": () => endpointsOf(options.model()),
  };
  const server = createServer((request, response) => {
    const { pathname } = new URL(request.url ?? "/", "http://localhost");
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
      if (page === undefined) answer(response, 404, "text/plain", "not found\n");
      else answer(response, 200, "application/json", `${JSON.stringify(page(), null, 2)}\n`);
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

/** One proxy as `istioctl proxy-status` reads it, and the state of each type in a word. */
function syncOf({ node, protocol, session }: Connection): object {
  const progress = new Map(session.progress().map((each) => [each.typeUrl, each]));
  const fields = FIELDS.flatMap(([typeUrl, name]): [string, unknown][] => {
    const type = progress.get(typeUrl);
    let state: SyncStatus = "SYNCED";
    if (type === undefined || type.nonceSent === "") state = "NOT SENT";
    else if (type.rejected.length > 0) state = "ERROR";
    else if (type.isInFlight) state = "STALE";
    const errors = type?.rejected.map((each) => each.message) ?? [];
    return [
      [`${name}_sent`, type?.nonceSent ?? ""],
      [`${name}_acked`, type?.nonceAcked ?? ""],
      [`${name}_status`, state],
      ...(errors.length === 0 ? [] : [[`${name}_errors`, errors] as [string, unknown]]),
    ];
  });
  return {
    proxy: `${node.name}.${node.namespace}`,
    proxy_type: node.role,
    node_id: node.id,
    protocol,
    acked_push: session.ackedPush(),
    ...Object.fromEntries(fields),
  };
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
  ];
}

function endpointsOf(model: MeshModel | undefined): readonly unknown[] {
  return model?.services ?? [];
}
