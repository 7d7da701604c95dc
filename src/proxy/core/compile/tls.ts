import type {
  envoy_config_core_v3_TransportSocket,
  envoy_extensions_transport_sockets_tls_v3_CertificateValidationContext,
  envoy_extensions_transport_sockets_tls_v3_CommonTlsContext,
  envoy_extensions_transport_sockets_tls_v3_Secret,
  envoy_extensions_transport_sockets_tls_v3_SubjectAltNameMatcher,
  envoy_extensions_transport_sockets_tls_v3_TlsCertificate,
} from "../../../xds/index.ts";
import { unpackAny } from "../../../xds/index.ts";
import { dnsNameCovers, type NameKind, type NameMatcher } from "../peer-names.ts";
import type { CertificatePins, TlsConfig } from "../runtime-config.ts";
import { type CompileContext, readData } from "./data-source.ts";
import type { Scope } from "./scope.ts";
import { compileStringMatcher } from "./string-matcher.ts";
import { compileTlsParameters } from "./tls-parameters.ts";

const RAW_BUFFER = "type.googleapis.com/envoy.extensions.transport_sockets.raw_buffer.v3.RawBuffer";
const UPSTREAM = "envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext";
const DOWNSTREAM = "envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext";

type Validation = envoy_extensions_transport_sockets_tls_v3_CertificateValidationContext;

/** A Secret with its material at hand. */
export interface SecretMaterial {
  readonly name: string;
  readonly certificateChainPem: string | undefined;
  readonly privateKeyPem: string | undefined;
  readonly trustedCaPem: string | undefined;
  readonly subjectAltNames: readonly NameMatcher[];
  readonly pins: CertificatePins | undefined;
  /** Changes with the material. */
  readonly version: string;
}

/** A transport socket before its secrets have arrived. */
export interface TlsSpec {
  readonly secretNames: readonly string[];
  /** `secrets` gives what has arrived; a missing one reads as no material. */
  build(secrets: (name: string) => SecretMaterial | undefined): TlsConfig;
}

/** Compiles a Secret: a certificate with its key, or a validation context. */
export function compileSecret(
  secret: envoy_extensions_transport_sockets_tls_v3_Secret,
  context: CompileContext,
  scope: Scope,
): SecretMaterial {
  const name = secret.name ?? "";
  if (secret.tls_certificate) {
    const pair = compileCertificate(secret.tls_certificate, context, scope.at("tls_certificate"));
    return { name, ...NO_MATERIAL, ...pair, version: fingerprint(pair) };
  }
  if (secret.validation_context) {
    const validation = compileValidation(
      secret.validation_context,
      context,
      scope.at("validation_context"),
    );
    return { name, ...NO_MATERIAL, ...validation };
  }
  scope.fail("must set one of tls_certificate, validation_context");
  return { name, ...NO_MATERIAL, version: "" };
}

const NO_MATERIAL = {
  certificateChainPem: undefined,
  privateKeyPem: undefined,
  trustedCaPem: undefined,
  subjectAltNames: [],
  pins: undefined,
};

/** Compiles a transport socket; undefined = plain text (no socket, or raw_buffer). */
export function compileTransportSocket(
  socket: envoy_config_core_v3_TransportSocket | null | undefined,
  side: "upstream" | "downstream",
  context: CompileContext,
  scope: Scope,
): TlsSpec | undefined {
  if (!socket) return undefined;
  const any = socket.typed_config;
  if (any?.type_url === RAW_BUFFER) return undefined;
  const place = scope.at("typed_config");
  if (side === "upstream") {
    const upstream = unpackAny(UPSTREAM, any);
    if (upstream === undefined) return unsupportedSocket(any?.type_url, place);
    return compileCommon(
      upstream.common_tls_context ?? {},
      { sni: upstream.sni || undefined, requireClientCertificate: false, isUpstream: true },
      context,
      place.at("common_tls_context"),
    );
  }
  const downstream = unpackAny(DOWNSTREAM, any);
  if (downstream === undefined) return unsupportedSocket(any?.type_url, place);
  const requireClientCertificate = downstream.require_client_certificate?.value ?? false;
  const spec = compileCommon(
    downstream.common_tls_context ?? {},
    { sni: undefined, requireClientCertificate, isUpstream: false },
    context,
    place.at("common_tls_context"),
  );
  const common = downstream.common_tls_context;
  const hasCertificate =
    (common?.tls_certificates ?? []).length > 0 ||
    (common?.tls_certificate_sds_secret_configs ?? []).length > 0;
  if (!hasCertificate) {
    place.at("common_tls_context").fail("No TLS certificates found for server context");
  }
  return spec;
}

function unsupportedSocket(url: string | null | undefined, scope: Scope): undefined {
  scope.fail(`transport socket ${url || "without type"} is not supported`);
  return undefined;
}

function compileCommon(
  common: envoy_extensions_transport_sockets_tls_v3_CommonTlsContext,
  side: {
    readonly sni: string | undefined;
    readonly requireClientCertificate: boolean;
    readonly isUpstream: boolean;
  },
  context: CompileContext,
  scope: Scope,
): TlsSpec {
  const parameters = compileTlsParameters(common.tls_params, scope.at("tls_params"));
  if (common.tls_certificate_provider_instance) {
    scope.at("tls_certificate_provider_instance").fail("is for clients without a proxy");
  }
  const certificates = common.tls_certificates ?? [];
  const sdsCertificates = common.tls_certificate_sds_secret_configs ?? [];
  if (certificates.length + sdsCertificates.length > 1) {
    scope.at("tls_certificates").fail("more than one certificate is not supported");
  }
  const inlineCertificate =
    certificates[0] &&
    compileCertificate(certificates[0], context, scope.at("tls_certificates", 0));
  const combined = common.combined_validation_context;
  const inline = combined?.default_validation_context ?? common.validation_context;
  const inlineValidation =
    inline &&
    compileValidation(
      inline,
      context,
      combined
        ? scope.at("combined_validation_context", "default_validation_context")
        : scope.at("validation_context"),
    );
  const certificateSecret = sdsCertificates[0]?.name ?? undefined;
  const validationSecret =
    combined?.validation_context_sds_secret_config?.name ??
    common.validation_context_sds_secret_config?.name ??
    undefined;
  if (side.isUpstream && inlineValidation?.pins !== undefined) {
    if (validationSecret === undefined && inlineValidation.trustedCaPem === undefined) {
      scope.fail("hashes of an upstream's certificate need trusted_ca beside them");
    }
  }
  const isNamed = (inlineValidation?.subjectAltNames ?? []).length > 0;
  if (isNamed && validationSecret === undefined && inlineValidation?.trustedCaPem === undefined) {
    // Anybody can write any name into a certificate of his own.
    scope.fail(
      "SAN-based verification of peer certificates without trusted CA is insecure and not allowed",
    );
  }
  const alpnProtocols = common.alpn_protocols ?? [];
  const fixed = fingerprint({
    ...side,
    alpnProtocols,
    parameters,
    inlineCertificate,
    v: inlineValidation,
  });
  const secretNames = [certificateSecret, validationSecret].filter((name) => name !== undefined);
  return {
    secretNames,
    build(secrets) {
      const own = certificateSecret === undefined ? undefined : secrets(certificateSecret);
      const ca = validationSecret === undefined ? undefined : secrets(validationSecret);
      return {
        certificateChainPem: own?.certificateChainPem ?? inlineCertificate?.certificateChainPem,
        privateKeyPem: own?.privateKeyPem ?? inlineCertificate?.privateKeyPem,
        trustedCaPem: ca?.trustedCaPem ?? inlineValidation?.trustedCaPem,
        // Envoy merges the two contexts: repeated fields are concatenated.
        subjectAltNames: [
          ...(inlineValidation?.subjectAltNames ?? []),
          ...(ca?.subjectAltNames ?? []),
        ],
        pins: joinPins(inlineValidation?.pins, ca?.pins),
        parameters,
        requireClientCertificate: side.requireClientCertificate,
        sni: side.sni,
        alpnProtocols,
        version: `${fixed}:${own?.version ?? ""}:${ca?.version ?? ""}`,
      };
    },
  };
}

function joinPins(
  a: CertificatePins | undefined,
  b: CertificatePins | undefined,
): CertificatePins | undefined {
  if (a === undefined || b === undefined) return a ?? b;
  return {
    certificateHashes: [...a.certificateHashes, ...b.certificateHashes],
    keyHashes: [...a.keyHashes, ...b.keyHashes],
  };
}

function compileCertificate(
  certificate: envoy_extensions_transport_sockets_tls_v3_TlsCertificate,
  context: CompileContext,
  scope: Scope,
): { readonly certificateChainPem: string; readonly privateKeyPem: string } {
  const read = (field: "certificate_chain" | "private_key"): string => {
    const pem = readData(certificate[field], context, scope.at(field))?.toString("utf8");
    if (pem === undefined) scope.at(field).fail("is required");
    else if (!pem.includes("-----BEGIN ")) scope.at(field).fail("must be PEM");
    return pem ?? "";
  };
  return { certificateChainPem: read("certificate_chain"), privateKeyPem: read("private_key") };
}

function compileValidation(
  validation: Validation,
  context: CompileContext,
  scope: Scope,
): Pick<SecretMaterial, "trustedCaPem" | "subjectAltNames" | "pins" | "version"> {
  const trustedCaPem = readData(validation.trusted_ca, context, scope.at("trusted_ca"))?.toString();
  if (trustedCaPem !== undefined && !trustedCaPem.includes("-----BEGIN CERTIFICATE-----")) {
    scope.at("trusted_ca").fail("must be PEM certificates");
  }
  if (validation.trust_chain_verification === 1) {
    scope.at("trust_chain_verification").fail("ACCEPT_UNTRUSTED is not supported");
  }
  for (const field of UNSUPPORTED_VALIDATION) {
    if (validation[field]) scope.at(field).fail("is not supported");
  }
  const matchers = validation.match_typed_subject_alt_names ?? [];
  const untyped = validation.match_subject_alt_names ?? [];
  if (matchers.length > 0 && untyped.length > 0) {
    scope.at("match_subject_alt_names").fail("match_typed_subject_alt_names says this too");
  }
  const subjectAltNames = [
    ...matchers.map((matcher, i) =>
      compileSan(matcher, scope.at("match_typed_subject_alt_names", i)),
    ),
    // The deprecated form: a name of any kind.
    ...untyped.map((matcher, i) => ({
      matches: compileStringMatcher(matcher, scope.at("match_subject_alt_names", i)),
    })),
  ];
  const pins = compilePins(validation, scope);
  return {
    trustedCaPem,
    subjectAltNames,
    pins,
    version: fingerprint({ trustedCaPem, matchers, untyped, pins }),
  };
}

const UNSUPPORTED_VALIDATION = [
  "ca_certificate_provider_instance",
  "crl",
  "allow_expired_certificate",
  "custom_validator_config",
] as const;

function compilePins(validation: Validation, scope: Scope): CertificatePins | undefined {
  const hashes = validation.verify_certificate_hash ?? [];
  const keys = validation.verify_certificate_spki ?? [];
  if (hashes.length === 0 && keys.length === 0) return undefined;
  return {
    certificateHashes: hashes.map((text, i) => {
      // As OpenSSL prints it, too.
      const hash = text.replaceAll(":", "").toLowerCase();
      if (!/^[0-9a-f]{64}$/.test(hash)) {
        scope.at("verify_certificate_hash", i).fail("must be 64 hexadecimal digits");
      }
      return hash;
    }),
    keyHashes: keys.map((text, i) => {
      if (!/^[A-Za-z0-9+/]{43}=$/.test(text)) {
        scope.at("verify_certificate_spki", i).fail("must be 32 bytes in base64");
      }
      return text;
    }),
  };
}

/** SanType: 1 EMAIL, 2 DNS, 3 URI, 4 IP_ADDRESS, 5 OTHER_NAME. */
const NAME_KINDS: readonly (NameKind | undefined)[] = [undefined, "email", "dns", "uri", "ip"];

function compileSan(
  matcher: envoy_extensions_transport_sockets_tls_v3_SubjectAltNameMatcher,
  scope: Scope,
): NameMatcher {
  const kind = NAME_KINDS[matcher.san_type ?? 0];
  if (kind === undefined) scope.at("san_type").fail("must be EMAIL, DNS, URI or IP_ADDRESS");
  if (!matcher.matcher) {
    scope.at("matcher").fail("is required");
    return { matches: () => false };
  }
  const { exact } = matcher.matcher;
  // As Envoy: only an exact matcher heeds wildcards of the certificate.
  if (kind === "dns" && typeof exact === "string") {
    return { kind, matches: (name) => dnsNameCovers(name, exact) };
  }
  return { kind, matches: compileStringMatcher(matcher.matcher, scope.at("matcher")) };
}

/** A short name for a value: two 32-bit FNV-1a hashes of its JSON. Not for security. */
function fingerprint(value: unknown): string {
  const text = JSON.stringify(value) ?? "";
  let a = 0x811c9dc5;
  let b = 0x01000193;
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i);
    a = Math.imul(a ^ code, 0x01000193);
    b = Math.imul(b ^ code, 0x85ebca6b);
  }
  return `${(a >>> 0).toString(16)}${(b >>> 0).toString(16)}`;
}
