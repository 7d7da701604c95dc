import type { Operator, OperatorValue } from "./format-operators.ts";
import type { AccessLogRecord, CertificateFacts, TlsFacts } from "./runtime-config.ts";

type Read = (facts: TlsFacts) => OperatorValue;

const peer =
  (read: (certificate: CertificateFacts) => OperatorValue): Read =>
  (facts) =>
    facts.peer && read(facts.peer);
const local =
  (read: (certificate: CertificateFacts) => OperatorValue): Read =>
  (facts) =>
    facts.local && read(facts.local);
const list = (values: readonly string[]): OperatorValue => values.join(",") || undefined;

const DOWNSTREAM: Readonly<Record<string, Read>> = {
  DOWNSTREAM_TLS_VERSION: (facts) => facts.version,
  DOWNSTREAM_TLS_CIPHER: (facts) => facts.cipher,
  DOWNSTREAM_PEER_ISSUER: peer((c) => c.issuer),
  DOWNSTREAM_PEER_SERIAL: peer((c) => c.serial),
  DOWNSTREAM_PEER_FINGERPRINT_1: peer((c) => c.fingerprint1),
  DOWNSTREAM_PEER_CERT: peer((c) => c.urlEncodedPem),
  DOWNSTREAM_PEER_IP_SAN: peer((c) => list(c.ips)),
  DOWNSTREAM_PEER_EMAIL_SAN: peer((c) => list(c.emails)),
  DOWNSTREAM_LOCAL_SUBJECT: local((c) => c.subject),
  DOWNSTREAM_LOCAL_URI_SAN: local((c) => list(c.uris)),
  DOWNSTREAM_LOCAL_DNS_SAN: local((c) => list(c.dnsNames)),
  DOWNSTREAM_LOCAL_IP_SAN: local((c) => list(c.ips)),
  DOWNSTREAM_LOCAL_EMAIL_SAN: local((c) => list(c.emails)),
};

/** Operators about the client's TLS, without arguments: by name. */
export const TLS_OPERATORS: Readonly<Record<string, Operator>> = Object.fromEntries(
  Object.entries(DOWNSTREAM).map(([name, read]): [string, Operator] => [
    name,
    ({ downstreamTls }: AccessLogRecord) => downstreamTls && read(downstreamTls),
  ]),
);

/** When the client's certificate begins (`V_START`) or ends (`V_END`) to be valid, milliseconds. */
export function peerValidity(
  name: string,
): ((record: AccessLogRecord) => number | undefined) | undefined {
  if (name === "DOWNSTREAM_PEER_CERT_V_START") return (r) => r.downstreamTls?.peer?.validFromMs;
  if (name === "DOWNSTREAM_PEER_CERT_V_END") return (r) => r.downstreamTls?.peer?.validToMs;
  return undefined;
}
