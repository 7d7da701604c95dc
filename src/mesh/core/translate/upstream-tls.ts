import { type MessageTypes, packAny, structFromJson } from "../../../xds/index.ts";
import type { ClientTlsSettings } from "../model-istio.ts";
import type { PortProtocol } from "../model-protocol.ts";
import { ADS } from "./config-source.ts";
import { keyPairConfig, trustedCaConfig } from "./credentials.ts";

type Cluster = MessageTypes["envoy.config.cluster.v3.Cluster"];
type TransportSocket = MessageTypes["envoy.config.core.v3.TransportSocket"];
type CommonTlsContext = MessageTypes["envoy.extensions.transport_sockets.tls.v3.CommonTlsContext"];
type SanMatcher = MessageTypes["envoy.extensions.transport_sockets.tls.v3.SubjectAltNameMatcher"];

/** Names of the secrets that every workload gets by SDS. */
export const WORKLOAD_CERTIFICATE = "default";
export const TRUST_BUNDLE = "ROOTCA";
/** The certificate authorities that the world trusts (Istio's name). */
export const SYSTEM_ROOTS = "file-root:system";

const UPSTREAM_TLS = "envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext";
/** SubjectAltNameMatcher.SanType */
const SAN_TYPE = { DNS: 2, URI: 3 } as const;
/** TlsParameters.TlsProtocol.TLSv1_2, Istio's floor inside the mesh. */
const TLS_V1_2 = 3;

/** Who is on the other side of a cluster. */
export interface MeshPeer {
  readonly sni: string;
  /** Of the service, maybe a wildcard. */
  readonly host: string;
  /** Names that its certificate may carry outside of the mesh; empty = any that it asks for. */
  readonly names: readonly string[];
  /** SPIFFE ids that may answer; empty = any of the mesh. */
  readonly identities: readonly string[];
  readonly protocol: PortProtocol;
}

/**
 * The transport of an outbound cluster. Without TLS settings, mutual TLS to the endpoints that have
 * a sidecar and plain text to the others (auto mTLS); else what the DestinationRule says.
 */
export function upstreamTransport(
  tls: ClientTlsSettings | undefined,
  peer: MeshPeer,
): Partial<Cluster> {
  if (tls === undefined) {
    return {
      transport_socket_matches: [
        {
          name: "tlsMode-istio",
          match: structFromJson({ tlsMode: "istio" }),
          transport_socket: meshTls({}, peer),
        },
        { name: "tlsMode-disabled", match: {}, transport_socket: RAW_BUFFER },
      ],
    };
  }
  switch (tls.mode) {
    case "ISTIO_MUTUAL":
      return { transport_socket: meshTls(tls, peer) };
    case "SIMPLE":
    case "MUTUAL":
      return { transport_socket: ownTls(tls, peer) };
    default:
      // DISABLE, which is also the mode of settings that name none.
      return {};
  }
}

const RAW_BUFFER: TransportSocket = {
  name: "envoy.transport_sockets.raw_buffer",
  typed_config: packAny("envoy.extensions.transport_sockets.raw_buffer.v3.RawBuffer", {}),
};

function meshTls(tls: ClientTlsSettings, peer: MeshPeer): TransportSocket {
  const names = tls.subjectAltNames ?? [];
  return socket(tls.sni || peer.sni, {
    ...meshCertificates(names.length > 0 ? names : peer.identities),
    tls_params: { tls_minimum_protocol_version: TLS_V1_2 },
    alpn_protocols: meshAlpn(peer.protocol),
  });
}

/**
 * Istio's ALPN inside the mesh: the receiving proxy tells it from the application's own TLS. Our
 * proxies add `istio-peer-exchange` for TCP by themselves; Envoy could not speak it.
 */
function meshAlpn(protocol: PortProtocol): string[] {
  if (protocol === "http2") return ["istio-h2", "istio", "h2"];
  if (protocol === "http" || protocol === "auto") return ["istio-http/1.1", "istio", "http/1.1"];
  return ["istio"];
}

/** The workload's certificate and the mesh's trust bundle, both by SDS. */
export function meshCertificates(
  identities: readonly string[],
): Pick<CommonTlsContext, "tls_certificate_sds_secret_configs" | "combined_validation_context"> {
  return {
    tls_certificate_sds_secret_configs: [{ name: WORKLOAD_CERTIFICATE, sds_config: ADS }],
    combined_validation_context: {
      default_validation_context: {
        match_typed_subject_alt_names: identities.map(
          (exact): SanMatcher => ({ san_type: SAN_TYPE.URI, matcher: { exact } }),
        ),
      },
      validation_context_sds_secret_config: { name: TRUST_BUNDLE, sds_config: ADS },
    },
  };
}

/**
 * TLS with the DestinationRule's own files. Without a CA the public ones count; the server is asked
 * for by its host's name (Istio's auto SNI).
 */
function ownTls(tls: ClientTlsSettings, peer: MeshPeer): TransportSocket {
  const isMutual = tls.mode === "MUTUAL";
  const given = tls.subjectAltNames ?? [];
  const names = given.length > 0 ? given : peer.names;
  const sni = tls.sni || (peer.host.startsWith("*") ? "" : peer.host);
  const credential = tls.credentialName || undefined;
  const isUnchecked = tls.insecureSkipVerify === true;
  const match_typed_subject_alt_names = (names.length === 0 && sni !== "" ? [sni] : names).flatMap(
    anySan,
  );
  return socket(sni, {
    ...(isMutual && credential !== undefined
      ? { tls_certificate_sds_secret_configs: [keyPairConfig({ name: credential })] }
      : {}),
    ...(isMutual && credential === undefined
      ? {
          tls_certificates: [
            {
              certificate_chain: { filename: tls.clientCertificate ?? "" },
              private_key: { filename: tls.privateKey ?? "" },
            },
          ],
        }
      : {}),
    ...(isUnchecked
      ? {}
      : tls.caCertificates
        ? {
            validation_context: {
              trusted_ca: { filename: tls.caCertificates },
              match_typed_subject_alt_names,
            },
          }
        : {
            combined_validation_context: {
              default_validation_context: { match_typed_subject_alt_names },
              validation_context_sds_secret_config:
                credential === undefined
                  ? { name: SYSTEM_ROOTS, sds_config: ADS }
                  : trustedCaConfig({ name: credential }),
            },
          }),
  });
}

/** Istio's subjectAltNames do not say their kind. */
function anySan(exact: string): SanMatcher[] {
  return [SAN_TYPE.URI, SAN_TYPE.DNS].map((san_type) => ({ san_type, matcher: { exact } }));
}

function socket(sni: string, common: CommonTlsContext): TransportSocket {
  return {
    name: "envoy.transport_sockets.tls",
    typed_config: packAny(UPSTREAM_TLS, {
      ...(sni === "" ? {} : { sni }),
      common_tls_context: common,
    }),
  };
}
