import type { KubeObject, StringMap } from "../../api/index.ts";
import { coversHost } from "./model-hosts.ts";
import type { GatewaySpec } from "./model-istio.ts";

/** A Gateway: what the gateway pods that it selects listen for. */
export interface MeshGateway {
  readonly name: string;
  readonly namespace: string;
  /** Labels of gateway pods, in any namespace; undefined = all of them. */
  readonly selector: StringMap | undefined;
  readonly servers: readonly GatewayServer[];
}

export interface GatewayServer {
  readonly port: number;
  readonly protocol: string;
  readonly hosts: readonly GatewayHost[];
  /** Answers plain HTTP with a redirect to https. */
  readonly httpsRedirect: boolean;
  readonly hasTls: boolean;
}

/** `namespace/dnsName` of a server: which hosts of which VirtualServices it takes. */
export interface GatewayHost {
  /** `*` = any namespace. */
  readonly namespace: string;
  readonly dnsName: string;
}

export function gatewayFrom(object: KubeObject, spec: GatewaySpec): MeshGateway {
  const { namespace = "default", name } = object.metadata;
  return {
    name,
    namespace,
    selector: Object.keys(spec.selector ?? {}).length > 0 ? spec.selector : undefined,
    servers: (spec.servers ?? []).map((server) => ({
      port: server.port.number,
      protocol: (server.port.protocol ?? "HTTP").toUpperCase(),
      hosts: server.hosts.map((host) => hostOf(host, namespace)),
      httpsRedirect: server.tls?.httpsRedirect ?? false,
      hasTls: (server.tls?.mode ?? undefined) !== undefined,
    })),
  };
}

function hostOf(host: string, namespace: string): GatewayHost {
  const slash = host.indexOf("/");
  if (slash < 0) return { namespace: "*", dnsName: host.toLowerCase() };
  const scope = host.slice(0, slash);
  return {
    namespace: scope === "." ? namespace : scope,
    dnsName: host.slice(slash + 1).toLowerCase(),
  };
}

/** The gateways that a gateway pod serves, in the order of the input. */
export function gatewaysOf(
  gateways: readonly MeshGateway[],
  labels: StringMap,
): readonly MeshGateway[] {
  return gateways.filter(({ selector }) =>
    Object.entries(selector ?? {}).every(([key, value]) => labels[key] === value),
  );
}

/**
 * The hosts of a VirtualService that a server takes: the more exact of the two names, so that a
 * VirtualService for `*` on a server for `a.example.com` only gets that.
 */
export function hostsOnServer(
  virtualService: { readonly namespace: string; readonly hosts: readonly string[] },
  server: GatewayServer,
): readonly string[] {
  const hosts = virtualService.hosts.flatMap((host) =>
    server.hosts.flatMap(({ namespace, dnsName }) => {
      if (namespace !== "*" && namespace !== virtualService.namespace) return [];
      if (coversHost(dnsName, host)) return [host];
      return coversHost(host, dnsName) ? [dnsName] : [];
    }),
  );
  return [...new Set(hosts)];
}
