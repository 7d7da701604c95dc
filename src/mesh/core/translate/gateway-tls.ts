import { type MessageTypes, packAny } from "../../../xds/index.ts";
import { type Credentials, keyPairOf, trustedCaOf } from "../model-credentials.ts";
import type { GatewayServer, ServerTls } from "../model-gateways.ts";
import { keyPairConfig, trustedCaConfig } from "./credentials.ts";
import { meshCertificates } from "./upstream-tls.ts";

type TransportSocket = MessageTypes["envoy.config.core.v3.TransportSocket"];
type CommonTlsContext = MessageTypes["envoy.extensions.transport_sockets.tls.v3.CommonTlsContext"];
type SanMatcher = MessageTypes["envoy.extensions.transport_sockets.tls.v3.SubjectAltNameMatcher"];

const DOWNSTREAM = "envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext";
/** TlsParameters.TlsProtocol */
const VERSIONS = { TLS_AUTO: 0, TLSV1_0: 1, TLSV1_1: 2, TLSV1_2: 3, TLSV1_3: 4 } as const;
/** SubjectAltNameMatcher.SanType */
const SAN_TYPES = [2, 3] as const;

/** The modes in which the gateway itself speaks TLS with clients. */
const TERMINATED = new Set(["SIMPLE", "MUTUAL", "OPTIONAL_MUTUAL", "ISTIO_MUTUAL"]);

/** Whether the gateway ends TLS on a server, rather than passing it on. */
export function isTerminated({ tls }: GatewayServer): boolean {
  return tls !== undefined && TERMINATED.has(tls.mode);
}

/** What a server's TLS lacks so that it cannot be served, or undefined. */
export function missingCredential(
  { tls }: GatewayServer,
  credentials: Credentials,
  proxyNamespace: string,
): string | undefined {
  const name = tls?.credentialName;
  const namespace = tls?.credentialNamespace ?? proxyNamespace;
  if (tls === undefined || name === undefined) return undefined;
  if (keyPairOf(credentials, namespace, name) === undefined) {
    return `Secret ${namespace}/${name} with a tls.crt and its tls.key`;
  }
  const wantsCa = tls.mode === "MUTUAL" || tls.mode === "OPTIONAL_MUTUAL";
  if (wantsCa && trustedCaOf(credentials, namespace, name) === undefined) {
    return `ca.crt in Secret ${namespace}/${name} or ${name}-cacert`;
  }
  return undefined;
}

/** The TLS side of a server that ends it. `alpn`: what it offers. */
export function serverTransport(tls: ServerTls, alpn: readonly string[]): TransportSocket {
  const isMutual = tls.mode === "MUTUAL" || tls.mode === "ISTIO_MUTUAL";
  return {
    name: "envoy.transport_sockets.tls",
    typed_config: packAny(DOWNSTREAM, {
      require_client_certificate: { value: isMutual },
      common_tls_context: {
        ...certificatesOf(tls),
        tls_params: {
          tls_minimum_protocol_version: VERSIONS[tls.minProtocolVersion ?? "TLSV1_2"] || 3,
          ...(tls.maxProtocolVersion === undefined
            ? {}
            : { tls_maximum_protocol_version: VERSIONS[tls.maxProtocolVersion] }),
          ...(tls.cipherSuites.length === 0 ? {} : { cipher_suites: [...tls.cipherSuites] }),
        },
        alpn_protocols: [...alpn],
      },
    }),
  };
}

function certificatesOf(tls: ServerTls): CommonTlsContext {
  if (tls.mode === "ISTIO_MUTUAL") return meshCertificates(tls.subjectAltNames);
  const asksForClients = tls.mode === "MUTUAL" || tls.mode === "OPTIONAL_MUTUAL";
  const names = tls.subjectAltNames.flatMap((exact): SanMatcher[] =>
    SAN_TYPES.map((san_type) => ({ san_type, matcher: { exact } })),
  );
  const name = tls.credentialName;
  if (name !== undefined) {
    const ref = { name, namespace: tls.credentialNamespace };
    return {
      tls_certificate_sds_secret_configs: [keyPairConfig(ref)],
      ...(asksForClients
        ? {
            combined_validation_context: {
              default_validation_context: { match_typed_subject_alt_names: names },
              validation_context_sds_secret_config: trustedCaConfig(ref),
            },
          }
        : {}),
    };
  }
  return {
    tls_certificates: [
      {
        certificate_chain: { filename: tls.serverCertificate },
        private_key: { filename: tls.privateKey },
      },
    ],
    ...(asksForClients
      ? {
          validation_context: {
            trusted_ca: { filename: tls.caCertificates },
            match_typed_subject_alt_names: names,
          },
        }
      : {}),
  };
}
