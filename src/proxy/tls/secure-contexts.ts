import { createHash, X509Certificate } from "node:crypto";
import { createSecureContext, type PeerCertificate, type SecureContext } from "node:tls";
import type { TlsConfig } from "../config/runtime-config.ts";

/** A certificate's names: its URI and DNS subject alternative names, in order. */
export function subjectAltNamesOf(subjectAltName: string | undefined): readonly string[] {
  return namesOfKind(subjectAltName, ["URI:", "DNS:"]);
}

/** Splitting is safe: Node writes a name with a comma as a JSON string, the comma escaped in it. */
function namesOfKind(text: string | undefined, kinds: readonly string[]): readonly string[] {
  return (text ?? "")
    .split(", ")
    .filter((name) => kinds.includes(name.slice(0, 4)))
    .map((name) => (name[4] === '"' ? String(JSON.parse(name.slice(4))) : name.slice(4)));
}

/** Whether a peer's certificate carries one of the names that the configuration asks for. */
export function isAcceptedPeer(tls: TlsConfig, certificate: PeerCertificate): boolean {
  if (tls.subjectAltNames.length === 0) return true;
  const names = subjectAltNamesOf(certificate.subjectaltname);
  return tls.subjectAltNames.some((matcher) => names.some((name) => matcher.matches(name)));
}

/** Who presented a certificate, as x-forwarded-client-cert and the access log say it. */
export interface PeerIdentity {
  /** The URI SAN, e.g. `spiffe://cluster.local/ns/default/sa/reviews`; undefined without one. */
  readonly principal: string | undefined;
  /** Every URI SAN; `principal` is the first. */
  readonly uris: readonly string[];
  readonly dnsNames: readonly string[];
  /** SHA-256 of the DER form, lower-case hexadecimal. */
  readonly hash: string;
  /** The certificate itself. */
  readonly der: Buffer;
  /** RFC 2253, e.g. `CN=client,O=Acme`. */
  readonly subject: string;
}

/** Reads a peer certificate's identity. */
export function identityOf(certificate: PeerCertificate): PeerIdentity {
  const uris = namesOfKind(certificate.subjectaltname, ["URI:"]);
  const subject = Object.entries(certificate.subject ?? {})
    .map(([key, value]) => `${key}=${String(value)}`)
    .reverse()
    .join(",");
  return {
    principal: uris[0],
    uris,
    dnsNames: namesOfKind(certificate.subjectaltname, ["DNS:"]),
    hash: createHash("sha256").update(certificate.raw).digest("hex"),
    subject,
    der: certificate.raw,
  };
}

/** More versions of TLS material than this are not remembered. */
const MAX_CONTEXTS = 512;

/** Suites of TLS 1.3, which cannot be chosen (as in Envoy); Node wants them in the same list. */
const TLS_1_3_SUITES = [
  ...["TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256", "TLS_AES_128_GCM_SHA256"],
];

/** Which versions and suites of TLS may be spoken. */
export function protocolOptions({ minVersion = "TLSv1.2", maxVersion, ciphers }: TlsConfig): {
  readonly minVersion: "TLSv1.2" | "TLSv1.3";
  readonly maxVersion?: "TLSv1.2" | "TLSv1.3";
  readonly ciphers?: string;
} {
  return {
    minVersion,
    ...(maxVersion === undefined ? {} : { maxVersion }),
    ...(ciphers === undefined ? {} : { ciphers: [...TLS_1_3_SUITES, ...ciphers].join(":") }),
  };
}

/** OpenSSL contexts by the version of their material: making one costs milliseconds. */
export class SecureContexts {
  readonly #contexts = new Map<string, SecureContext>();

  /** The context for this material. Throws when the PEM cannot be used. */
  get(tls: TlsConfig): SecureContext {
    const known = this.#contexts.get(tls.version);
    if (known !== undefined) return known;
    const context = createSecureContext({
      ...protocolOptions(tls),
      ...(tls.certificateChainPem === undefined ? {} : { cert: tls.certificateChainPem }),
      ...(tls.privateKeyPem === undefined ? {} : { key: tls.privateKeyPem }),
      ...(tls.trustedCaPem === undefined ? {} : { ca: tls.trustedCaPem }),
    });
    if (this.#contexts.size >= MAX_CONTEXTS) {
      const oldest = this.#contexts.keys().next();
      if (!oldest.done) this.#contexts.delete(oldest.value);
    }
    this.#contexts.set(tls.version, context);
    return context;
  }
}

/** The URI SAN of the first certificate of a chain, for `By=`; undefined without one. */
export function ownUriOf(chainPem: string | undefined): string | undefined {
  if (chainPem === undefined) return undefined;
  const names = new X509Certificate(chainPem).subjectAltName?.split(", ") ?? [];
  return names.find((name) => name.startsWith("URI:"))?.slice(4);
}
