import { execFileSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";

/** PEM texts of one authority and one workload certificate that both ends of a pair use. */
export interface Certificates {
  readonly ca: string;
  readonly certificate: string;
  readonly key: string;
}

/** Makes an authority and an ECDSA P-256 certificate with a SPIFFE name, as sidecars have, by openssl. */
export function makeCertificates(dir: string): Certificates {
  const file = (name: string): string => join(dir, name);
  const openssl = (...args: readonly string[]): void => {
    execFileSync("openssl", args, { stdio: "pipe" });
  };
  const newKey = ["ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out"];
  openssl(...newKey, file("ca.key"));
  openssl(
    ...["req", "-x509", "-new", "-key", file("ca.key"), "-days", "30", "-out", file("ca.pem")],
    ...["-subj", "/O=bench", "-addext", "basicConstraints=critical,CA:TRUE"],
  );
  openssl(...newKey, file("own.key"));
  openssl("req", "-new", "-key", file("own.key"), "-subj", "/O=bench", "-out", file("own.csr"));
  writeFileSync(file("own.ext"), "subjectAltName=URI:spiffe://cluster.local/ns/bench/sa/app\n");
  openssl(
    ...["x509", "-req", "-in", file("own.csr"), "-CA", file("ca.pem"), "-CAkey", file("ca.key")],
    ...["-CAcreateserial", "-days", "30", "-extfile", file("own.ext"), "-out", file("own.pem")],
  );
  const read = (name: string): string => readFileSync(file(name), "utf8");
  return { ca: read("ca.pem"), certificate: read("own.pem"), key: read("own.key") };
}
