import { execFile } from "node:child_process";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";

const run = promisify(execFile);

export interface TestCertificate {
  readonly certificatePem: string;
  readonly keyPem: string;
}

export interface CertificateOptions {
  readonly isExpired?: boolean;
  /** As openssl takes it: `/O=Acme/CN=client`. */
  readonly subject?: string;
  /** Further names as openssl takes them: `DNS:a.test,IP:127.0.0.1`. */
  readonly names?: string;
}

export interface TestAuthority {
  readonly certificatePem: string;
  /** A leaf without subject for one SPIFFE id, valid for a day, or expired years ago. */
  issue(spiffeId: string, options?: CertificateOptions): Promise<TestCertificate>;
}

const NEW_KEY = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"];

/** A certificate authority of its own for a test, made with the `openssl` command. */
export async function createAuthority(name = "test-ca"): Promise<TestAuthority> {
  const root = await inTempDir(async (dir) => {
    const [key, certificate] = [join(dir, "key"), join(dir, "cert")];
    await run("openssl", [
      ...["req", "-x509", ...NEW_KEY, "-subj", `/CN=${name}`, "-days", "2"],
      ...["-keyout", key, "-out", certificate],
    ]);
    return read(key, certificate);
  });
  return {
    certificatePem: root.certificatePem,
    issue: (spiffeId, options = {}) =>
      inTempDir(async (dir) => {
        const file = (suffix: string): string => join(dir, suffix);
        await writeFile(file("ca-key"), root.keyPem);
        await writeFile(file("ca-cert"), root.certificatePem);
        await writeFile(
          file("extensions"),
          `subjectAltName=critical,${[`URI:${spiffeId}`, options.names].filter(Boolean).join(",")}\nextendedKeyUsage=serverAuth,clientAuth\n`,
        );
        await run("openssl", [
          ...["req", "-new", ...NEW_KEY, "-utf8", "-subj", options.subject ?? "/"],
          ...["-keyout", file("key"), "-out", file("csr")],
        ]);
        const days = options.isExpired === true ? "-1" : "1";
        await run("openssl", [
          ...["x509", "-req", "-in", file("csr"), "-CA", file("ca-cert"), "-CAkey", file("ca-key")],
          ...["-CAcreateserial", "-days", days, "-extfile", file("extensions")],
          ...["-out", file("cert")],
        ]);
        return read(file("key"), file("cert"));
      }),
  };
}

async function read(key: string, certificate: string): Promise<TestCertificate> {
  return {
    keyPem: await readFile(key, "utf8"),
    certificatePem: await readFile(certificate, "utf8"),
  };
}

async function inTempDir<T>(work: (dir: string) => Promise<T>): Promise<T> {
  const dir = await mkdtemp(join(tmpdir(), "serin-ca-"));
  try {
    return await work(dir);
  } finally {
    await rm(dir, { recursive: true });
  }
}
