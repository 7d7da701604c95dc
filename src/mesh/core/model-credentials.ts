import type { KubeObject } from "../../api/index.ts";
import { objectOf, textOf } from "./model-object.ts";

/** What a Secret holds for TLS; a part that it has not is undefined. */
export interface MeshCredential {
  readonly certificateChain: Uint8Array | undefined;
  readonly privateKey: Uint8Array | undefined;
  readonly trustedCa: Uint8Array | undefined;
}

/** Secrets by `namespace/name`. */
export type Credentials = ReadonlyMap<string, MeshCredential>;

/** Istio's suffix of the Secret that holds only the certificate authorities of a credential. */
const CA_SUFFIX = "-cacert";

/**
 * The Secrets that TLS could use: `tls.crt`, `tls.key` and `ca.crt`, or Istio's older `cert`, `key`
 * and `cacert`. Others are left out, as is what is no PEM.
 */
export function credentialsFrom(secrets: readonly KubeObject[]): Credentials {
  const found = new Map<string, MeshCredential>();
  for (const secret of secrets) {
    const data = objectOf(secret["data"]);
    const read = (...keys: readonly string[]): Uint8Array | undefined => {
      for (const key of keys) {
        const text = textOf(data[key]);
        if (text === undefined) continue;
        const bytes = decoded(text);
        if (bytes !== undefined) return bytes;
      }
      return undefined;
    };
    const credential = {
      certificateChain: read("tls.crt", "cert"),
      privateKey: read("tls.key", "key"),
      trustedCa: read("ca.crt", "cacert"),
    };
    if (Object.values(credential).every((part) => part === undefined)) continue;
    const { namespace = "default", name } = secret.metadata;
    found.set(`${namespace}/${name}`, credential);
  }
  return found;
}

/** The PEM behind base64; undefined when it is none. */
function decoded(text: string): Uint8Array | undefined {
  try {
    const bytes = Uint8Array.fromBase64(text);
    return new TextDecoder().decode(bytes).includes("-----BEGIN ") ? bytes : undefined;
  } catch {
    // Not base64: the caller says what is missing.
    return undefined;
  }
}

/** The certificate and key of a credential name; undefined without both. */
export function keyPairOf(
  credentials: Credentials,
  namespace: string,
  name: string,
): Pick<MeshCredential, "certificateChain" | "privateKey"> | undefined {
  const found = credentials.get(`${namespace}/${name}`);
  return found?.certificateChain !== undefined && found.privateKey !== undefined
    ? found
    : undefined;
}

/** The certificate authorities of a credential name: its Secret's, else those of `<name>-cacert`. */
export function trustedCaOf(
  credentials: Credentials,
  namespace: string,
  name: string,
): Uint8Array | undefined {
  return (
    credentials.get(`${namespace}/${name}${CA_SUFFIX}`)?.trustedCa ??
    credentials.get(`${namespace}/${name}`)?.trustedCa
  );
}
