import type { MeshModel } from "../model.ts";
import {
  type GatewayServer,
  gatewaysOf,
  hostsOnServer,
  type MeshGateway,
} from "../model-gateways.ts";
import type { HttpRoute } from "../model-istio.ts";
import type { MeshService } from "../model-services.ts";
import type { MeshVirtualService } from "../model-virtual-services.ts";
import type { Workload } from "../model-workloads.ts";
import { matchWords } from "./match-words.ts";
import { referenceTo } from "./reference.ts";

/** A gateway that takes requests from outside to a service. */
export interface ExposureDescription {
  /** `namespace/name` of the Gateway and of the VirtualService. */
  readonly gateway: string;
  readonly virtualService: string;
  /** Where to ask: `http://192.0.2.7/`, with the host to name where it is not any. */
  readonly urls: readonly string[];
  /** Which requests get there, in words. */
  readonly matches: readonly string[];
  readonly warnings: readonly string[];
}

/** Where a Service of gateway pods can be reached from outside. */
export interface OutsideAddress {
  readonly host: string;
  /** By the Service's port; one that is missing keeps its number. */
  readonly ports: ReadonlyMap<number, number>;
}

/**
 * The Gateways through which VirtualServices lead to a service (or to pods that `isFor` picks).
 * `addressesOf`: of a Kubernetes Service by `namespace/name`.
 */
export function describeIngress(
  model: MeshModel,
  isFor: (route: HttpRoute) => boolean,
  addressesOf: (service: string) => readonly OutsideAddress[],
): readonly ExposureDescription[] {
  return model.virtualServices.flatMap((virtualService) => {
    const routes = virtualService.http.filter(isFor);
    if (routes.length === 0) return [];
    return model.gateways
      .filter((gateway) => virtualService.gateways.includes(referenceTo(gateway)))
      .map((gateway) => exposureOf(model, gateway, virtualService, routes, addressesOf));
  });
}

function exposureOf(
  model: MeshModel,
  gateway: MeshGateway,
  virtualService: MeshVirtualService,
  routes: readonly HttpRoute[],
  addressesOf: (service: string) => readonly OutsideAddress[],
): ExposureDescription {
  const pods = [...model.workloads.values()].filter(
    (workload) => gatewaysOf([gateway], workload).length > 0,
  );
  const addresses = servicesOf(model, pods).flatMap((service) => addressesOf(referenceTo(service)));
  const urls = gateway.servers.flatMap((server) =>
    hostsOnServer(virtualService, server).flatMap((host) =>
      addresses.map((address) => urlOf(server, host, address)),
    ),
  );
  const warnings = [
    ...(pods.length === 0 ? ["no pod has the labels that the Gateway selects"] : []),
    ...(pods.length > 0 && addresses.length === 0
      ? ["no Service of the gateway's pods has an address outside of the cluster"]
      : []),
    ...(gateway.servers.every((server) => hostsOnServer(virtualService, server).length === 0)
      ? ["no server of the Gateway takes the VirtualService's hosts"]
      : []),
  ];
  return {
    gateway: referenceTo(gateway),
    virtualService: referenceTo(virtualService),
    urls: [...new Set(urls)],
    matches: routes.flatMap(({ match = [] }) =>
      match.length === 0 ? ["every request"] : match.map(matchWords),
    ),
    warnings,
  };
}

function servicesOf(model: MeshModel, pods: readonly Workload[]): readonly MeshService[] {
  const services = pods.flatMap((pod) =>
    (model.servedPorts.get(pod) ?? []).map(({ service }) => service),
  );
  return [...new Set(services)];
}

const TLS = new Set(["HTTPS", "TLS"]);
const USUAL: Readonly<Record<string, number>> = { http: 80, https: 443 };

function urlOf(
  server: GatewayServer,
  host: string,
  { host: address, ports }: OutsideAddress,
): string {
  const scheme = TLS.has(server.protocol) ? "https" : "http";
  const port = ports.get(server.port) ?? server.port;
  const at = port === USUAL[scheme] ? address : `${address}:${port}`;
  return host === "*" ? `${scheme}://${at}` : `${scheme}://${at} (Host: ${host})`;
}
