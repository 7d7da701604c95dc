import "reflect-metadata";
import { createPrivateKey, X509Certificate as NodeCertificate, webcrypto } from "node:crypto";
import { X509Certificate } from "@peculiar/x509";
import type { KubeObject } from "../api/index.ts";
import { messageOf, SerinError } from "../base/index.ts";

/** Who signs the mesh's certificates, and what verifies them. */
export interface Issuer {
  readonly certificate: X509Certificate;
  readonly certificatePem: string;
  readonly privateKey: webcrypto.CryptoKey;
  /** How it signs. */
  readonly algorithm:
    | { readonly name: "ECDSA"; readonly namedCurve: string; readonly hash: string }
    | { readonly name: "RSASSA-PKCS1-v1_5"; readonly hash: string };
  /** What goes behind every certificate, up to a root; empty when the issuer is a root. */
  readonly chainPem: string;
  /** The roots to trust, PEM, one certificate each. */
  readonly roots: readonly string[];
}

const CURVES: Readonly<Record<string, { readonly namedCurve: string; readonly hash: string }>> = {
  prime256v1: { namedCurve: "P-256", hash: "SHA-256" },
  secp384r1: { namedCurve: "P-384", hash: "SHA-384" },
};

/**
 * Reads Istio's Secrets: `istio-ca-secret` (ca-cert.pem, ca-key.pem: a root) and `cacerts`
 * (root-cert.pem and cert-chain.pem too: an intermediate under roots of one's own). The key is EC
 * (P-256, P-384) or RSA. Throws SERIN_INVALID_RESOURCE when nobody could verify what it signs.
 */
export async function readIssuer(secret: KubeObject, nowMs: number): Promise<Issuer> {
  const data = secret["data"] as Readonly<Record<string, string>> | undefined;
  const decoded = (name: string): string =>
    Buffer.from(data?.[name] ?? "", "base64").toString("utf8");
  try {
    const [certificatePem = ""] = certificatesOf(decoded("ca-cert.pem"));
    const keyPem = decoded("ca-key.pem");
    const own = checked(certificatePem, keyPem, nowMs);
    const given = certificatesOf(decoded("root-cert.pem"));
    const roots = given.length > 0 ? given : [certificatePem];
    const chain = [certificatePem, ...certificatesOf(decoded("cert-chain.pem"))];
    const isRoot = roots.includes(certificatePem);
    if (!isRoot) checkChain(own, chain, roots);
    const behind = [...new Set(chain)].filter((each) => !roots.includes(each));
    const { algorithm, privateKey } = await importKey(keyPem);
    return {
      certificate: new X509Certificate(certificatePem),
      certificatePem,
      privateKey,
      algorithm,
      chainPem: behind.join(""),
      roots,
    };
  } catch (error) {
    const { namespace, name } = secret.metadata;
    throw new SerinError(
      "SERIN_INVALID_RESOURCE",
      `Secret ${namespace}/${name}: ca-cert.pem and ca-key.pem must be a root certificate and its key, or an intermediate's with root-cert.pem and cert-chain.pem: ${messageOf(error)}`,
      { cause: error },
    );
  }
}

/** The certificates of a text, each with a line end. */
function certificatesOf(text: string): readonly string[] {
  const found = text.match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g) ?? [];
  return found.map((pem) => `${pem.replaceAll("\r", "")}\n`);
}

function checked(pem: string, keyPem: string, nowMs: number): NodeCertificate {
  const certificate = new NodeCertificate(pem);
  if (!certificate.ca) throw new Error("the certificate is not a CA's (basicConstraints CA:TRUE)");
  if (!certificate.checkPrivateKey(createPrivateKey(keyPem))) {
    throw new Error("the key is not the certificate's");
  }
  if (certificate.validToDate.getTime() <= nowMs) {
    throw new Error(`the certificate expired on ${certificate.validToDate.toISOString()}`);
  }
  return certificate;
}

/** From the issuer up to one of the roots. */
function checkChain(
  own: NodeCertificate,
  chain: readonly string[],
  roots: readonly string[],
): void {
  const all = [...chain, ...roots].map((pem) => new NodeCertificate(pem));
  const trusted = new Set(roots.map((pem) => new NodeCertificate(pem).fingerprint256));
  let at = own;
  for (let steps = 0; steps <= all.length; steps += 1) {
    if (trusted.has(at.fingerprint256)) return;
    const { issuer } = at;
    const above = all.find(
      (each) =>
        each.subject === issuer && each.ca && at.checkIssued(each) && at.verify(each.publicKey),
    );
    if (above === undefined) break;
    at = above;
  }
  throw new Error("the certificate does not lead to any of root-cert.pem");
}

async function importKey(pem: string): Promise<Pick<Issuer, "algorithm" | "privateKey">> {
  const key = createPrivateKey(pem);
  const der = key.export({ type: "pkcs8", format: "der" });
  const { asymmetricKeyType: type, asymmetricKeyDetails: details } = key;
  const curve = CURVES[details?.namedCurve ?? ""];
  const algorithm: Issuer["algorithm"] | undefined =
    type === "ec" && curve !== undefined
      ? { name: "ECDSA", ...curve }
      : type === "rsa" && (details?.modulusLength ?? 0) >= 2048
        ? { name: "RSASSA-PKCS1-v1_5", hash: "SHA-256" }
        : undefined;
  if (algorithm === undefined)
    throw new Error("the key must be EC (P-256, P-384) or RSA of 2048 bits");
  const privateKey = await webcrypto.subtle.importKey("pkcs8", der, algorithm, false, ["sign"]);
  return { algorithm, privateKey };
}
