import { X509Certificate } from "node:crypto";
import type { ConfigStore } from "../xds/config-store.ts";

/** Envoy's /certs: what is in use, with its dates and names; never a key. */
export function certs(store: ConfigStore, nowMs: number): unknown {
  return {
    certificates: [...store.secrets.values()].map(({ spec }) => ({
      ca_cert: describe(spec.trustedCaPem, nowMs),
      cert_chain: describe(spec.certificateChainPem, nowMs),
    })),
  };
}

function describe(pem: string | undefined, nowMs: number): unknown[] {
  const blocks = pem?.match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g) ?? [];
  return blocks.map((block) => {
    const certificate = new X509Certificate(block);
    const expiresMs = Date.parse(certificate.validTo);
    return {
      path: "<inline>",
      serial_number: certificate.serialNumber.toLowerCase(),
      subject_alt_names: (certificate.subjectAltName ?? "")
        .split(", ")
        .filter((name) => name !== "")
        .map((name) =>
          name.startsWith("URI:") ? { uri: name.slice(4) } : { dns: name.replace(/^DNS:/, "") },
        ),
      days_until_expiration: String(Math.max(0, Math.floor((expiresMs - nowMs) / 86_400_000))),
      valid_from: new Date(certificate.validFrom).toISOString(),
      expiration_time: new Date(certificate.validTo).toISOString(),
    };
  });
}
