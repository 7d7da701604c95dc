/** What is negotiated with a peer, in OpenSSL's words; undefined = OpenSSL's own choice. */
export interface TlsParameters {
  readonly minVersion: "TLSv1.2" | "TLSv1.3";
  readonly maxVersion: "TLSv1.2" | "TLSv1.3";
  /** Joined with colons. */
  readonly ciphers: string | undefined;
  /** Joined with colons, the preferred one first. */
  readonly ecdhCurve: string | undefined;
  /** Joined with colons. */
  readonly sigalgs: string | undefined;
}

export const DEFAULT_TLS_PARAMETERS: TlsParameters = {
  minVersion: "TLSv1.2",
  maxVersion: "TLSv1.3",
  ciphers: undefined,
  ecdhCurve: undefined,
  sigalgs: undefined,
};

/** The suites of TLS 1.3, which Envoy's `cipher_suites` does not speak of. */
export const TLS13_SUITES =
  "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256";

/** The suites that Envoy knows by its documentation of `cipher_suites`. */
export const CIPHER_SUITES: ReadonlySet<string> = new Set([
  "ECDHE-ECDSA-AES128-GCM-SHA256",
  "ECDHE-ECDSA-CHACHA20-POLY1305",
  "ECDHE-RSA-AES128-GCM-SHA256",
  "ECDHE-RSA-CHACHA20-POLY1305",
  "ECDHE-ECDSA-AES128-SHA",
  "ECDHE-RSA-AES128-SHA",
  "AES128-GCM-SHA256",
  "AES128-SHA",
  "ECDHE-ECDSA-AES256-GCM-SHA384",
  "ECDHE-RSA-AES256-GCM-SHA384",
  "ECDHE-ECDSA-AES256-SHA",
  "ECDHE-RSA-AES256-SHA",
  "AES256-GCM-SHA384",
  "AES256-SHA",
]);

/** Groups for the key exchange, as Envoy and OpenSSL both call them. */
export const ECDH_CURVES: ReadonlySet<string> = new Set([
  "X25519",
  "P-256",
  "P-384",
  "P-521",
  "X25519MLKEM768",
]);

/** Signature algorithms that Envoy documents. */
export const SIGNATURE_ALGORITHMS: ReadonlySet<string> = new Set([
  "rsa_pkcs1_sha256",
  "rsa_pkcs1_sha384",
  "rsa_pkcs1_sha512",
  "ecdsa_secp256r1_sha256",
  "ecdsa_secp384r1_sha384",
  "ecdsa_secp521r1_sha512",
  "rsa_pss_rsae_sha256",
  "rsa_pss_rsae_sha384",
  "rsa_pss_rsae_sha512",
  "ed25519",
]);
