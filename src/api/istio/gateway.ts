import { z } from "zod";
import { name, port, stringMap, text, texts } from "../fields.ts";
import type { KubeObject } from "../meta.ts";
import { parseSpec } from "../parse-resource.ts";

const VERSIONS = ["TLS_AUTO", "TLSV1_0", "TLSV1_1", "TLSV1_2", "TLSV1_3"] as const;

const serverTls = z.strictObject({
  httpsRedirect: z.boolean().optional(),
  mode: z
    .enum([
      "PASSTHROUGH",
      "SIMPLE",
      "MUTUAL",
      "AUTO_PASSTHROUGH",
      "ISTIO_MUTUAL",
      "OPTIONAL_MUTUAL",
    ])
    .optional(),
  serverCertificate: text.optional(),
  privateKey: text.optional(),
  caCertificates: text.optional(),
  caCrl: text.optional(),
  credentialName: text.optional(),
  credentialNames: texts.optional(),
  caCertCredentialName: text.optional(),
  tlsCertificates: z
    .array(
      z.strictObject({
        serverCertificate: text.optional(),
        privateKey: text.optional(),
        caCertificates: text.optional(),
      }),
    )
    .optional(),
  subjectAltNames: texts.optional(),
  verifyCertificateSpki: texts.optional(),
  verifyCertificateHash: texts.optional(),
  minProtocolVersion: z.enum(VERSIONS).optional(),
  maxProtocolVersion: z.enum(VERSIONS).optional(),
  cipherSuites: texts.optional(),
});

/** Schema of a Gateway's spec (networking.istio.io). */
export const gatewaySpec = z.strictObject({
  selector: stringMap.optional(),
  servers: z
    .array(
      z.strictObject({
        port: z.strictObject({
          number: port,
          protocol: name,
          name: text.optional(),
          targetPort: port.optional(),
        }),
        bind: text.optional(),
        hosts: z.array(name).min(1),
        tls: serverTls.optional(),
        defaultEndpoint: text.optional(),
        name: text.optional(),
      }),
    )
    .optional(),
});
export type GatewaySpec = z.infer<typeof gatewaySpec>;

/** Reads a Gateway. Throws SERIN_INVALID_RESOURCE that lists every bad path. */
export function parseGateway(object: KubeObject): GatewaySpec {
  return parseSpec(object, gatewaySpec);
}
