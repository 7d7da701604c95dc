import { z } from "zod";
import { name, port, stringMap, text, texts } from "../fields.ts";
import type { KubeObject } from "../meta.ts";
import { parseSpec } from "../parse-resource.ts";
import { type Problem, rules } from "../rules.ts";

const VERSIONS = ["TLS_AUTO", "TLSV1_0", "TLSV1_1", "TLSV1_2", "TLSV1_3"] as const;

/** Protocols of Istio's that a server may speak, in lower case. */
const HTTP_PROTOCOLS = ["http", "http2", "http_proxy", "grpc", "grpc-web"];
const TLS_PROTOCOLS = ["https", "tls"];
const OTHER_PROTOCOLS = ["tcp", "udp", "mongo", "redis", "mysql", "hbone", "double-hbone"];
const PROTOCOLS = [...HTTP_PROTOCOLS, ...TLS_PROTOCOLS, ...OTHER_PROTOCOLS];

/** Istio's ServerTLSSettings. */
export const serverTls = z.strictObject({
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

const server = z
  .strictObject({
    port: z.strictObject({
      number: port,
      protocol: name.refine((protocol) => PROTOCOLS.includes(protocol.toLowerCase()), {
        error: `must be one of ${PROTOCOLS.join(", ").toUpperCase()}`,
      }),
      name,
      targetPort: z.literal(0, "has no effect on gateways").optional(),
    }),
    bind: text.optional(),
    hosts: z.array(name).min(1),
    tls: serverTls.superRefine(rules(certificateProblems)).optional(),
    defaultEndpoint: text.optional(),
    name: text.optional(),
  })
  .superRefine(
    rules(function* ({ port: { protocol }, tls }) {
      const spoken = protocol.toLowerCase();
      if (TLS_PROTOCOLS.includes(spoken)) {
        if (tls === undefined) yield [["tls"], `is required for protocol ${protocol}`];
        return;
      }
      if (tls === undefined) return;
      // On a port of plain HTTP it may only say that clients are sent to HTTPS.
      if (
        !HTTP_PROTOCOLS.includes(spoken) ||
        hasMode(tls, ["SIMPLE", "MUTUAL", "OPTIONAL_MUTUAL", "ISTIO_MUTUAL"])
      ) {
        yield [["tls"], `cannot be set for protocol ${protocol}, only for HTTPS and TLS`];
      }
    }),
  );

type ServerTls = z.infer<typeof serverTls>;

function hasMode(tls: ServerTls, modes: readonly ServerTls["mode"][]): boolean {
  return modes.includes(tls.mode ?? "PASSTHROUGH");
}

/** What the mode of a server needs, and does not take. */
function* certificateProblems(tls: ServerTls): Generator<Problem> {
  if (tls.mode === "ISTIO_MUTUAL") {
    for (const field of [
      "serverCertificate",
      "privateKey",
      "caCertificates",
      "credentialName",
    ] as const) {
      if (tls[field]) yield [[field], "cannot be set with mode ISTIO_MUTUAL"];
    }
    return;
  }
  const elsewhere =
    tls.credentialName || tls.credentialNames?.length || tls.tlsCertificates?.length;
  if (elsewhere || !hasMode(tls, ["SIMPLE", "MUTUAL", "OPTIONAL_MUTUAL"])) return;
  const needed = ["serverCertificate", "privateKey"] as const;
  for (const field of tls.mode === "SIMPLE" ? needed : [...needed, "caCertificates" as const]) {
    if (!tls[field]) yield [[field], `mode ${tls.mode} needs it, or credentialName`];
  }
}

/** Schema of a Gateway's spec (networking.istio.io). */
export const gatewaySpec = z.strictObject({
  selector: stringMap.optional(),
  servers: z
    .array(server)
    .min(1)
    .superRefine(
      rules(function* (servers) {
        const seen = new Set<string>();
        for (const [index, { port: at }] of servers.entries()) {
          if (seen.has(at.name)) {
            yield [[index, "port", "name"], `duplicate port name ${at.name}`];
          }
          seen.add(at.name);
        }
      }),
    ),
});
export type GatewaySpec = z.infer<typeof gatewaySpec>;

/** Reads a Gateway. Throws SERIN_INVALID_RESOURCE that lists every bad path. */
export function parseGateway(object: KubeObject): GatewaySpec {
  return parseSpec(object, gatewaySpec);
}
