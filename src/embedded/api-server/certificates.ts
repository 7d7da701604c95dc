import {
  createHash,
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
  type KeyObject,
  randomBytes,
  sign,
  X509Certificate,
} from "node:crypto";
import { existsSync, mkdirSync, readFileSync } from "node:fs";
import { isIPv4 } from "node:net";
import { join } from "node:path";
import {
  bitString,
  der,
  derTrue,
  explicit,
  integer,
  objectIdentifier,
  octetString,
  sequence,
  set,
  time,
  utf8String,
} from "./der.ts";
import { writePrivateFile } from "./private-file.ts";

/** PEM texts of what the HTTPS listener and its clients need. */
export interface ServingCertificate {
  readonly caPem: string;
  readonly certificatePem: string;
  readonly keyPem: string;
}

const DAY_MS = 86_400_000;
const CA_DAYS = 3650;
const SERVING_DAYS = 365;
const ECDSA_WITH_SHA256 = sequence(objectIdentifier("1.2.840.10045.4.3.2"));
const CA_NAME = "serin-embedded-ca";

/**
 * The cluster's own CA (P-256, kept in `pkiDir`, made on first start, so that a kubeconfig stays
 * valid over restarts) and a serving certificate for this start. The CA's key never leaves the
 * directory, which only the owner may read.
 */
export function loadServingCertificate(
  pkiDir: string,
  host: string,
  nowMs: number,
): ServingCertificate {
  mkdirSync(pkiDir, { recursive: true, mode: 0o700 });
  const ca = loadAuthority(pkiDir, nowMs);
  const { publicKey, privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  const certificate = createCertificate({
    subject: "kube-apiserver",
    publicKey,
    issuerKey: ca.key,
    issuerPublicKey: createPublicKey(ca.key),
    notBeforeMs: nowMs - DAY_MS,
    notAfterMs: nowMs + SERVING_DAYS * DAY_MS,
    alternativeNames: [
      ...["localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc"],
      ...new Set(["127.0.0.1", "10.96.0.1", host]),
    ],
  });
  return {
    caPem: ca.certificatePem,
    certificatePem: pem(certificate),
    keyPem: privateKey.export({ type: "pkcs8", format: "pem" }).toString(),
  };
}

interface Authority {
  readonly certificatePem: string;
  readonly key: KeyObject;
}

function loadAuthority(pkiDir: string, nowMs: number): Authority {
  const certificatePath = join(pkiDir, "ca.crt");
  const keyPath = join(pkiDir, "ca.key");
  if (existsSync(certificatePath) && existsSync(keyPath)) {
    const certificatePem = readFileSync(certificatePath, "utf8");
    const key = createPrivateKey(readFileSync(keyPath));
    const expiresMs = Date.parse(new X509Certificate(certificatePem).validTo);
    if (expiresMs > nowMs + SERVING_DAYS * DAY_MS) return { certificatePem, key };
  }
  const { publicKey, privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  const certificatePem = pem(
    createCertificate({
      subject: CA_NAME,
      publicKey,
      issuerKey: privateKey,
      issuerPublicKey: publicKey,
      notBeforeMs: nowMs - DAY_MS,
      notAfterMs: nowMs + CA_DAYS * DAY_MS,
    }),
  );
  writePrivateFile(keyPath, privateKey.export({ type: "pkcs8", format: "pem" }).toString());
  writePrivateFile(certificatePath, certificatePem);
  return { certificatePem, key: privateKey };
}

interface CertificateRequest {
  readonly subject: string;
  readonly publicKey: KeyObject;
  readonly issuerKey: KeyObject;
  readonly issuerPublicKey: KeyObject;
  readonly notBeforeMs: number;
  readonly notAfterMs: number;
  /** Present for a serving certificate, absent for a CA. */
  readonly alternativeNames?: readonly string[];
}

/** An X.509 v3 certificate (RFC 5280 §4.1), signed with ECDSA and SHA-256. */
function createCertificate(request: CertificateRequest): Buffer {
  const names = request.alternativeNames;
  const extensions = [
    extension("2.5.29.19", names === undefined ? sequence(derTrue()) : sequence(), true),
    // keyCertSign and cRLSign, or digitalSignature.
    extension(
      "2.5.29.15",
      der(0x03, Buffer.from(names === undefined ? [1, 0x06] : [7, 0x80])),
      true,
    ),
    extension("2.5.29.14", octetString(keyIdentifier(request.publicKey))),
    extension("2.5.29.35", sequence(der(0x80, keyIdentifier(request.issuerPublicKey)))),
  ];
  if (names !== undefined) {
    extensions.push(extension("2.5.29.37", sequence(objectIdentifier("1.3.6.1.5.5.7.3.1"))));
    extensions.push(extension("2.5.29.17", sequence(...names.map(alternativeName))));
  }
  const serial = randomBytes(16);
  serial[0] = ((serial[0] ?? 0) & 0x7f) | 0x01;
  const body = sequence(
    explicit(0, integer(Buffer.from([2]))),
    integer(serial),
    ECDSA_WITH_SHA256,
    commonName(CA_NAME),
    sequence(time(request.notBeforeMs), time(request.notAfterMs)),
    commonName(request.subject),
    request.publicKey.export({ type: "spki", format: "der" }),
    explicit(3, sequence(...extensions)),
  );
  return sequence(body, ECDSA_WITH_SHA256, bitString(sign("sha256", body, request.issuerKey)));
}

function extension(id: string, value: Uint8Array, critical = false): Buffer {
  return sequence(objectIdentifier(id), ...(critical ? [derTrue()] : []), octetString(value));
}

function commonName(name: string): Buffer {
  return sequence(set(sequence(objectIdentifier("2.5.4.3"), utf8String(name))));
}

function alternativeName(name: string): Buffer {
  if (isIPv4(name)) return der(0x87, Buffer.from(name.split(".").map(Number)));
  return der(0x82, Buffer.from(name));
}

function keyIdentifier(key: KeyObject): Buffer {
  return createHash("sha1")
    .update(key.export({ type: "spki", format: "der" }))
    .digest();
}

function pem(certificate: Uint8Array): string {
  const lines =
    Buffer.from(certificate)
      .toString("base64")
      .match(/.{1,64}/g) ?? [];
  return `-----BEGIN CERTIFICATE-----\n${lines.join("\n")}\n-----END CERTIFICATE-----\n`;
}
