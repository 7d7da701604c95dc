import { createHash, X509Certificate } from "node:crypto";
import {
  createSecureContext,
  type PeerCertificate,
  type SecureContext,
  type SecureContextOptions,
} from "node:tls";
import type { CertificatePins, TlsConfig } from "../config/runtime-config.ts";
import { matchesNames, type NameKind, peerNames } from "../core/peer-names.ts";
import { DEFAULT_TLS_PARAMETERS } from "../core/tls-parameters.ts";

/**
 * Whether a peer's certificate carries one of the names that the configuration asks for, and is one
 * of those pinned; whether it comes from the right authority was asked before.
 */
export function isAcceptedPeer(
  { subjectAltNames, pins, trustedCaPem }: TlsConfig,
  certificate: PeerCertificate,
): boolean {
  if (subjectAltNames.length > 0) {
    // Names that no authority vouches for prove nothing.
    if (trustedCaPem === undefined) return false;
    if (!matchesNames(subjectAltNames, peerNames(certificate.subjectaltname))) return false;
  }
  return pins === undefined || isPinned(pins, certificate.raw);
}

function isPinned({ certificateHashes, keyHashes }: CertificatePins, raw: Buffer): boolean {
  if (certificateHashes.includes(sha256(raw).toString("hex"))) return true;
  if (keyHashes.length === 0) return false;
  const key = new X509Certificate(raw).publicKey.export({ type: "spki", format: "der" });
  return keyHashes.includes(sha256(key).toString("base64"));
}

function sha256(bytes: Buffer): Buffer {
  return createHash("sha256").update(bytes).digest();
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
  const names = peerNames(certificate.subjectaltname);
  const ofKind = (kind: NameKind): readonly string[] =>
    names.flatMap((name) => (name.kind === kind ? [name.value] : []));
  const uris = ofKind("uri");
  return {
    principal: uris[0],
    uris,
    dnsNames: ofKind("dns"),
    hash: sha256(certificate.raw).toString("hex"),
    subject: distinguishedName(new X509Certificate(certificate.raw).subject),
    der: certificate.raw,
  };
}

/** RFC 2253 of Node's text, which is a line for each part, escaped, the first one first. */
function distinguishedName(lines: string | undefined): string {
  const parts = (lines ?? "").split("\n").filter((line) => line !== "");
  const bytes = Buffer.from(parts.reverse().join(","), "utf8").toString("latin1");
  return bytes.replaceAll(/[\x80-\xff]/g, (byte) => {
    return `\\${byte.charCodeAt(0).toString(16).toUpperCase()}`;
  });
}

/** How OpenSSL is told what a configuration says; for contexts and for servers. */
export function secureContextOptions(tls: TlsConfig): SecureContextOptions {
  const { minVersion, maxVersion, ciphers, ecdhCurve, sigalgs } =
    tls.parameters ?? DEFAULT_TLS_PARAMETERS;
  return {
    minVersion,
    maxVersion,
    ...(ciphers === undefined ? {} : { ciphers }),
    ...(ecdhCurve === undefined ? {} : { ecdhCurve }),
    ...(sigalgs === undefined ? {} : { sigalgs }),
    ...(tls.certificateChainPem === undefined ? {} : { cert: tls.certificateChainPem }),
    ...(tls.privateKeyPem === undefined ? {} : { key: tls.privateKeyPem }),
    ...(tls.trustedCaPem === undefined ? {} : { ca: tls.trustedCaPem }),
  };
}

/** More versions of TLS material than this are not remembered. */
const MAX_CONTEXTS = 512;

/** OpenSSL contexts by the version of their material: making one costs milliseconds. */
export class SecureContexts {
  readonly #contexts = new Map<string, SecureContext>();

  /** The context for this material. Throws when the PEM cannot be used. */
  get(tls: TlsConfig): SecureContext {
    const known = this.#contexts.get(tls.version);
    if (known !== undefined) return known;
    const context = createSecureContext(secureContextOptions(tls));
    if (this.#contexts.size >= MAX_CONTEXTS) {
      const oldest = this.#contexts.keys().next();
      if (!oldest.done) this.#contexts.delete(oldest.value);
    }
    this.#contexts.set(tls.version, context);
    return context;
  }
}

/** The URI SANs of the first certificate of a chain, for `By=`. */
export function ownUrisOf(chainPem: string | undefined): readonly string[] {
  if (chainPem === undefined) return [];
  const names = peerNames(new X509Certificate(chainPem).subjectAltName);
  return names.flatMap(({ kind, value }) => (kind === "uri" ? [value] : []));
}
