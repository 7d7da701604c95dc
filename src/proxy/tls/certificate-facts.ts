import { X509Certificate } from "node:crypto";
import type { CertificateFacts, TlsFacts } from "../config/runtime-config.ts";
import type { PeerIdentity } from "./secure-contexts.ts";

/** What is known of a finished handshake; certificates are read when an access log asks for them. */
export interface TlsSession {
  readonly version: string;
  readonly cipher: string;
  readonly identity: PeerIdentity | undefined;
  readonly ownChainPem: string | undefined;
}

const peers = new WeakMap<PeerIdentity, CertificateFacts>();
const owns = new Map<string, CertificateFacts>();
/** More certificates of our own than this are not remembered. */
const MAX_OWN = 64;

/** What access logs say about a client's TLS. */
export function tlsFacts(session: TlsSession): TlsFacts {
  const { version, cipher, identity, ownChainPem } = session;
  return {
    version,
    cipher,
    get peer() {
      return identity && peerFacts(identity);
    },
    get local() {
      return ownChainPem === undefined ? undefined : ownFacts(ownChainPem);
    },
  };
}

function peerFacts(identity: PeerIdentity): CertificateFacts {
  let facts = peers.get(identity);
  if (facts === undefined) {
    facts = certificateFacts(identity.der);
    peers.set(identity, facts);
  }
  return facts;
}

function ownFacts(pem: string): CertificateFacts {
  let facts = owns.get(pem);
  if (facts === undefined) {
    facts = certificateFacts(pem);
    if (owns.size >= MAX_OWN) owns.clear();
    owns.set(pem, facts);
  }
  return facts;
}

/** Reads a certificate, DER or PEM. Throws when it is none. */
function certificateFacts(bytes: Buffer | string): CertificateFacts {
  const certificate = new X509Certificate(bytes);
  const names = (kind: string): readonly string[] =>
    (certificate.subjectAltName ?? "")
      .split(", ")
      .filter((name) => name.startsWith(kind))
      .map((name) => name.slice(kind.length))
      .map((name) => (name.startsWith('"') ? String(JSON.parse(name)) : name));
  return {
    subject: rfc2253(certificate.subject),
    issuer: rfc2253(certificate.issuer),
    serial: certificate.serialNumber.toLowerCase(),
    fingerprint1: certificate.fingerprint.replaceAll(":", "").toLowerCase(),
    urlEncodedPem: encodeURIComponent(certificate.toString()),
    validFromMs: Date.parse(certificate.validFrom),
    validToMs: Date.parse(certificate.validTo),
    uris: names("URI:"),
    dnsNames: names("DNS:"),
    ips: names("IP Address:").map(shortIp),
    emails: names("email:"),
  };
}

/** Node writes out every group of an IPv6 address. */
function shortIp(ip: string): string {
  return ip.includes(":") ? new URL(`http://[${ip}]`).hostname.slice(1, -1) : ip;
}

/** Node writes one part of a name a line, the most significant first. */
function rfc2253(name: string): string {
  return name.split("\n").reverse().join(",");
}
