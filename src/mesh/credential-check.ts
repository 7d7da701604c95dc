import { createPrivateKey, X509Certificate } from "node:crypto";
import type { KubeObject } from "../api/index.ts";
import { messageOf } from "../base/index.ts";
import type { Logger } from "../runtime/index.ts";

/** Keys of Secrets for TLS: certificate chain, private key and authorities, in both spellings. */
const PAIRS = [
  ["tls.crt", "tls.key"],
  ["cert", "key"],
] as const;
const AUTHORITIES = ["ca.crt", "cacert"] as const;

/**
 * What of a Secret is for TLS and can be used; all other data is not kept in memory. A key that is not
 * the certificate's would be refused by the proxies, and hold up what else is on its port: it is
 * left out, with a warning.
 */
export function usableCredential(secret: KubeObject, logger: Logger): KubeObject {
  const data = (secret["data"] ?? {}) as Readonly<Record<string, unknown>>;
  const usable: Record<string, string> = {};
  const keep = (keys: readonly string[], check: (pems: readonly string[]) => void): void => {
    const values = keys.map((key) => data[key]).filter((value) => typeof value === "string");
    if (values.length !== keys.length) return;
    try {
      check(values.map((value) => Buffer.from(value, "base64").toString("utf8")));
      for (const [i, key] of keys.entries()) usable[key] = values[i] ?? "";
    } catch (error) {
      const { namespace, name } = secret.metadata;
      logger.warn(
        { namespace, name, keys, reason: messageOf(error) },
        "Secret is of no use for TLS",
      );
    }
  };
  for (const pair of PAIRS) keep(pair, ([chain = "", key = ""]) => checkPair(chain, key));
  for (const authority of AUTHORITIES) {
    keep([authority], ([pem = ""]) => void new X509Certificate(pem));
  }
  return { ...secret, data: usable };
}

function checkPair(chainPem: string, keyPem: string): void {
  if (!new X509Certificate(chainPem).checkPrivateKey(createPrivateKey(keyPem))) {
    throw new Error("the key is not the certificate's");
  }
}
