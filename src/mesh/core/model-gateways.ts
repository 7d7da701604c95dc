import type { KubeObject, StringMap } from "../../api/index.ts";
import { coversHost } from "./model-hosts.ts";
import type { GatewaySpec } from "./model-istio.ts";
import { objectOf } from "./model-object.ts";

/** A Gateway: what the gateway pods that it selects listen for. */
export interface MeshGateway {
  readonly name: string;
  readonly namespace: string;
  /** Labels of gateway pods; undefined = all of them. */
  readonly selector: StringMap | undefined;
  /** The gateway pods' namespace; undefined = any. */
  readonly podNamespace: string | undefined;
  readonly servers: readonly GatewayServer[];
}

export interface GatewayServer {
  readonly port: number;
  readonly protocol: string;
  readonly hosts: readonly GatewayHost[];
  /** The port's name. */
  readonly name: string;
  /** Answers plain HTTP with a redirect to https. */
  readonly httpsRedirect: boolean;
  /** undefined = plain text. */
  readonly tls: ServerTls | undefined;
}

type Tls = NonNullable<NonNullable<GatewaySpec["servers"]>[number]["tls"]>;

/** How a server speaks TLS. */
export interface ServerTls {
  readonly mode: NonNullable<Tls["mode"]>;
  readonly credentialName: string | undefined;
  /** The credential's namespace; undefined = that of the gateway pod. */
  readonly credentialNamespace: string | undefined;
  readonly serverCertificate: string;
  readonly privateKey: string;
  readonly caCertificates: string;
  readonly subjectAltNames: readonly string[];
  readonly minProtocolVersion: Tls["minProtocolVersion"];
  readonly maxProtocolVersion: Tls["maxProtocolVersion"];
  readonly cipherSuites: readonly string[];
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
    podNamespace: undefined,
    servers: (spec.servers ?? []).map((server) => ({
      port: server.port.number,
      protocol: (server.port.protocol ?? "HTTP").toUpperCase(),
      hosts: server.hosts.map((host) => hostOf(host, namespace)),
      httpsRedirect: server.tls?.httpsRedirect ?? false,
      name: server.port.name,
      tls: tlsOf(server),
    })),
  };
}

const TLS_PROTOCOLS = new Set(["HTTPS", "TLS"]);

function tlsOf({ port, tls }: NonNullable<GatewaySpec["servers"]>[number]): ServerTls | undefined {
  if (tls === undefined || !TLS_PROTOCOLS.has((port.protocol ?? "").toUpperCase()))
    return undefined;
  return {
    // Istio: settings that name no mode pass TLS on.
    mode: tls.mode ?? "PASSTHROUGH",
    credentialName: tls.credentialName || tls.credentialNames?.[0],
    credentialNamespace: undefined,
    serverCertificate: tls.serverCertificate ?? tls.tlsCertificates?.[0]?.serverCertificate ?? "",
    privateKey: tls.privateKey ?? tls.tlsCertificates?.[0]?.privateKey ?? "",
    caCertificates: tls.caCertificates ?? tls.tlsCertificates?.[0]?.caCertificates ?? "",
    subjectAltNames: tls.subjectAltNames ?? [],
    minProtocolVersion: tls.minProtocolVersion,
    maxProtocolVersion: tls.maxProtocolVersion,
    cipherSuites: tls.cipherSuites ?? [],
  };
}

/** Fields of a Gateway that are valid and do nothing, one sentence each. */
export function ignoredGatewayFields(spec: GatewaySpec): readonly string[] {
  return (spec.servers ?? []).flatMap((server, i) => {
    const at = `spec.servers[${i}]`;
    const { tls } = server;
    const fields = [
      "verifyCertificateSpki",
      "verifyCertificateHash",
      "caCrl",
      "caCertCredentialName",
    ];
    const more = [...(tls?.credentialNames ?? []), ...(tls?.tlsCertificates ?? [])].length;
    return [
      ...(server.bind === undefined ? [] : [`${at}.bind has no effect`]),
      ...(server.defaultEndpoint === undefined ? [] : [`${at}.defaultEndpoint has no effect`]),
      ...fields
        .filter((field) => objectOf(tls)[field] !== undefined)
        .map((field) => `${at}.tls.${field} has no effect`),
      ...(more > 1 ? [`${at}.tls: only the first certificate is served`] : []),
      ...(["TLSV1_0", "TLSV1_1"].includes(tls?.minProtocolVersion ?? "")
        ? [`${at}.tls.minProtocolVersion: TLS 1.2 is the lowest that is served`]
        : []),
    ];
  });
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
  { namespace, labels }: { readonly namespace: string; readonly labels: StringMap },
): readonly MeshGateway[] {
  return gateways.filter(
    ({ podNamespace, selector }) =>
      (podNamespace === undefined || podNamespace === namespace) &&
      Object.entries(selector ?? {}).every(([key, value]) => labels[key] === value),
  );
}

/**
 * The hosts of a VirtualService that a server takes: the more exact of the two names, so that a
 * VirtualService for `*` on a server for `a.example.com` only gets that.
 */
export function hostsOnServer(
  virtualService: { readonly namespace: string; readonly hosts: readonly string[] },
  server: Pick<GatewayServer, "hosts">,
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
