import "reflect-metadata";
import { webcrypto } from "node:crypto";
import {
  AuthorityKeyIdentifierExtension,
  BasicConstraintsExtension,
  ExtendedKeyUsage,
  ExtendedKeyUsageExtension,
  KeyUsageFlags,
  KeyUsagesExtension,
  Pkcs10CertificateRequest,
  SubjectAlternativeNameExtension,
  SubjectKeyIdentifierExtension,
  X509CertificateGenerator,
} from "@peculiar/x509";
import { type KubeObject, RESOURCES } from "../api/index.ts";
import { messageOf, SerinError } from "../base/index.ts";
import type { KubeStore } from "../kube/store.ts";
import type { Clock } from "../runtime/index.ts";
import { spiffeId } from "./core/spiffe.ts";
import type { WorkloadIdentity } from "./identity.ts";
import { type Issuer, readIssuer } from "./issuer.ts";

/** As Istio's self-signed root: the Secret's name and keys. */
const SECRET = "istio-ca-secret";
/** Where the authority is, the first that is there: one brought along, then the mesh's own. */
export const AUTHORITY_SECRETS = ["cacerts", SECRET] as const;
const ECDSA = { name: "ECDSA", namedCurve: "P-256", hash: "SHA-256" } as const;
const ROOT_LIFETIME_MS = 10 * 365 * 24 * 3_600_000;
const DEFAULT_LIFETIME_MS = 24 * 3_600_000;
/** How long every proxy is given to learn a new root before anything is signed under it. */
const DEFAULT_OVERLAP_MS = 60_000;
/** Clocks differ: certificates are valid from a little before. */
const BACKDATE_MS = 120_000;

export interface CertificateAuthorityOptions {
  readonly store: KubeStore;
  /** Where the root's Secret lives. */
  readonly rootNamespace: string;
  readonly trustDomain: string;
  readonly clock: Clock;
  /** Of workload certificates; default 24 h. */
  readonly certificateLifetimeMs?: number;
  /** Between a new root's distribution and the first certificate under it; default 60 s. */
  readonly overlapMs?: number;
}

/** What changed about an authority: the roots to trust, or who signs. */
export type AuthorityChange = "roots" | "issuer";

/** A private key (PKCS#8) with its certificates, all PEM. */
export interface IssuedCertificate {
  readonly privateKeyPem: string;
  /** Leaf first; the root is not part of it. */
  readonly certificateChainPem: string;
  readonly notBeforeMs: number;
  readonly notAfterMs: number;
}

export interface CertificateAuthority {
  readonly trustDomain: string;
  /** The roots to trust, one after the other: during a rotation the old and the new one. */
  readonly rootCertificatePem: string;
  /** The certificate that signs, and those between it and a root. */
  readonly chainPem: string;
  /**
   * Goes over to what a Secret holds, without a moment in which a peer is not trusted: its roots are
   * trusted at once beside those there are, it signs after the overlap, and the roots that it does not
   * have go when no certificate under them is valid any more. Throws SERIN_INVALID_RESOURCE, and then
   * nothing changed.
   */
  adopt(secret: KubeObject): Promise<void>;
  onChange(listener: (change: AuthorityChange) => void): void;
  /** No change is under way any more. */
  stop(): void;
  /** A new key and a certificate with the identity's SPIFFE id as its only name. */
  issue(identity: WorkloadIdentity): Promise<IssuedCertificate>;
  /**
   * Signs the key of a certificate request, for `lifetimeMs` at most. The name comes from the identity,
   * whatever the request asks for. Throws SERIN_INVALID_RESOURCE when the request is malformed, its signature wrong or
   * its key weak.
   */
  sign(requestPem: string, identity: WorkloadIdentity, lifetimeMs?: number): Promise<string>;
  /** A server certificate for DNS names and IP addresses: the webhooks'. */
  issueServer(names: readonly string[]): Promise<IssuedCertificate>;
}

/**
 * The mesh's own root, made once and kept in a Secret, so that trust outlives restarts.
 * Throws SERIN_INVALID_RESOURCE when that Secret cannot be used.
 */
export async function createCertificateAuthority(
  options: CertificateAuthorityOptions,
): Promise<CertificateAuthority> {
  let issuer = await loadIssuer(options);
  let { roots } = issuer;
  const { clock, trustDomain } = options;
  const lifetimeMs = options.certificateLifetimeMs ?? DEFAULT_LIFETIME_MS;
  const overlapMs = options.overlapMs ?? DEFAULT_OVERLAP_MS;
  const listeners = new Set<(change: AuthorityChange) => void>();
  let cancel = (): void => {};

  const trust = (next: readonly string[]): void => {
    if (next.length === roots.length && next.every((each) => roots.includes(each))) return;
    roots = next;
    for (const listener of listeners) listener("roots");
  };
  const adopt = async (secret: KubeObject): Promise<void> => {
    const next = await readIssuer(secret, clock.nowMs());
    // What was begun before counts no more; what it made trusted stays so.
    cancel();
    if (next.certificatePem === issuer.certificatePem) {
      issuer = next;
      trust(next.roots);
      return;
    }
    trust([...new Set([...roots, ...next.roots])]);
    cancel = clock.schedule(overlapMs, () => {
      issuer = next;
      for (const listener of listeners) listener("issuer");
      cancel = clock.schedule(lifetimeMs, () => trust(next.roots));
    });
  };

  const certify = async (
    publicKey: CryptoKey,
    names: Names,
    usages: readonly string[],
    wantedMs = lifetimeMs,
  ) => {
    const { certificate: authority, privateKey, algorithm, chainPem } = issuer;
    const notBeforeMs = clock.nowMs() - BACKDATE_MS;
    const notAfterMs = Math.min(
      clock.nowMs() + Math.min(wantedMs, lifetimeMs),
      authority.notAfter.getTime(),
    );
    const certificate = await X509CertificateGenerator.create({
      serialNumber: serialNumber(),
      issuer: authority.subject,
      subject: names.subject,
      notBefore: new Date(notBeforeMs),
      notAfter: new Date(notAfterMs),
      signingAlgorithm: algorithm,
      publicKey,
      signingKey: privateKey,
      extensions: [
        new BasicConstraintsExtension(false, undefined, true),
        new KeyUsagesExtension(
          KeyUsageFlags.digitalSignature | KeyUsageFlags.keyEncipherment,
          true,
        ),
        new ExtendedKeyUsageExtension([...usages]),
        // RFC 5280 §4.2.1.6: critical when the subject is empty.
        new SubjectAlternativeNameExtension([...names.alternatives], names.subject === ""),
        await SubjectKeyIdentifierExtension.create(publicKey),
        await AuthorityKeyIdentifierExtension.create(authority),
      ],
    });
    return { pem: `${certificate.toString("pem")}\n${chainPem}`, notBeforeMs, notAfterMs };
  };
  const issue = async (names: Names, usages: readonly string[]): Promise<IssuedCertificate> => {
    const { privateKey, publicKey } = await generateKey();
    const { pem, notBeforeMs, notAfterMs } = await certify(publicKey, names, usages);
    return {
      privateKeyPem: await exportKey(privateKey),
      certificateChainPem: pem,
      notBeforeMs,
      notAfterMs,
    };
  };
  const both = [ExtendedKeyUsage.serverAuth, ExtendedKeyUsage.clientAuth];
  return {
    trustDomain,
    get rootCertificatePem() {
      return roots.join("");
    },
    get chainPem() {
      return `${issuer.certificatePem}\n${issuer.chainPem}`;
    },
    adopt,
    onChange: (listener) => void listeners.add(listener),
    stop: () => cancel(),
    issue: (identity) => issue(namesOf(identity), both),
    async sign(requestPem, identity, wantedMs) {
      const publicKey = await keyOfRequest(requestPem);
      return (await certify(publicKey, namesOf(identity), both, wantedMs)).pem;
    },
    issueServer: (names) =>
      issue(
        {
          subject: "O=Serin",
          alternatives: names.map((value) => ({
            type: /^[\d.]+$|:/.test(value) ? ("ip" as const) : ("dns" as const),
            value,
          })),
        },
        [ExtendedKeyUsage.serverAuth],
      ),
  };
}

interface Names {
  readonly subject: string;
  readonly alternatives: readonly { readonly type: "url" | "dns" | "ip"; readonly value: string }[];
}

function namesOf(identity: WorkloadIdentity): Names {
  return { subject: "", alternatives: [{ type: "url", value: spiffeId(identity) }] };
}

type CryptoKey = webcrypto.CryptoKey;

function generateKey(): Promise<webcrypto.CryptoKeyPair> {
  return webcrypto.subtle.generateKey(ECDSA, true, ["sign", "verify"]);
}

async function exportKey(key: CryptoKey): Promise<string> {
  const bytes = Buffer.from(await webcrypto.subtle.exportKey("pkcs8", key)).toString("base64");
  const lines = bytes.match(/.{1,64}/g) ?? [];
  return `-----BEGIN PRIVATE KEY-----\n${lines.join("\n")}\n-----END PRIVATE KEY-----\n`;
}

/** 128 random bits, positive. */
function serialNumber(): string {
  const bytes = webcrypto.getRandomValues(new Uint8Array(16));
  bytes[0] = ((bytes[0] ?? 0) & 0x7f) | 0x40;
  return Buffer.from(bytes).toString("hex");
}

/** The public key of a request that proves to hold the private one. */
async function keyOfRequest(pem: string): Promise<CryptoKey> {
  const refused = (message: string, cause?: unknown): SerinError =>
    new SerinError("SERIN_INVALID_RESOURCE", `certificate request: ${message}`, {
      source: "caller",
      cause,
    });
  let request: Pkcs10CertificateRequest;
  try {
    request = new Pkcs10CertificateRequest(pem);
  } catch (error) {
    throw refused(`cannot be read: ${messageOf(error)}`, error);
  }
  const algorithm = request.publicKey.algorithm as {
    readonly name: string;
    readonly namedCurve?: string;
    readonly modulusLength?: number;
  };
  const isStrong =
    (algorithm.name === "ECDSA" &&
      ["P-256", "P-384", "P-521"].includes(algorithm.namedCurve ?? "")) ||
    (algorithm.name.startsWith("RSA") && (algorithm.modulusLength ?? 0) >= 2048);
  if (!isStrong)
    throw refused(`its key (${algorithm.name}) must be ECDSA P-256 or RSA of 2048 bits`);
  const isSigned = await request.verify().catch(() => false);
  if (!isSigned) throw refused("its signature is wrong");
  return (await request.publicKey.export()) as CryptoKey;
}

/** The authority that was brought along, else the mesh's own, which is made where there is none. */
async function loadIssuer(options: CertificateAuthorityOptions): Promise<Issuer> {
  const { store, rootNamespace, clock } = options;
  for (const name of AUTHORITY_SECRETS) {
    const known = await store.get(RESOURCES.secret, { namespace: rootNamespace, name });
    if (known !== undefined) return await readIssuer(known, clock.nowMs());
  }
  const key = { namespace: rootNamespace, name: SECRET };
  try {
    const created = await store.create(RESOURCES.secret, await newRoot(options));
    return await readIssuer(created, clock.nowMs());
  } catch (error) {
    if (!(error instanceof SerinError) || error.code !== "SERIN_CONFLICT") throw error;
    // Another control plane was faster: its root is the root.
    const theirs = await store.get(RESOURCES.secret, key);
    if (theirs === undefined) throw error;
    return await readIssuer(theirs, clock.nowMs());
  }
}

async function newRoot(options: CertificateAuthorityOptions): Promise<KubeObject> {
  const { clock, trustDomain, rootNamespace } = options;
  const keys = await generateKey();
  const certificate = await X509CertificateGenerator.createSelfSigned({
    serialNumber: serialNumber(),
    name: `O=${trustDomain}`,
    notBefore: new Date(clock.nowMs() - BACKDATE_MS),
    notAfter: new Date(clock.nowMs() + ROOT_LIFETIME_MS),
    signingAlgorithm: ECDSA,
    keys: keys as unknown as Parameters<
      typeof X509CertificateGenerator.createSelfSigned
    >[0]["keys"],
    extensions: [
      new BasicConstraintsExtension(true, undefined, true),
      new KeyUsagesExtension(KeyUsageFlags.keyCertSign | KeyUsageFlags.cRLSign, true),
      await SubjectKeyIdentifierExtension.create(keys.publicKey),
    ],
  });
  const encoded = (text: string): string => Buffer.from(text).toString("base64");
  return {
    apiVersion: "v1",
    kind: "Secret",
    metadata: { namespace: rootNamespace, name: SECRET },
    type: "istio.io/ca-root",
    data: {
      "ca-cert.pem": encoded(`${certificate.toString("pem")}\n`),
      "ca-key.pem": encoded(await exportKey(keys.privateKey)),
    },
  };
}
