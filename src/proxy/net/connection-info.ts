import type { Socket } from "node:net";
import type { HttpConnectionManagerConfig } from "../config/runtime-config.ts";
import type { TlsSession } from "../tls/certificate-facts.ts";
import type { PeerIdentity } from "../tls/secure-contexts.ts";
import type { Destination } from "./original-destination.ts";

/** What the listener found out about a connection before its first request. */
export interface ConnectionInfo {
  readonly isTls: boolean;
  readonly requestedServerName: string;
  readonly identity: PeerIdentity | undefined;
  /** The URIs of our own certificate, for `By=`. */
  readonly ownUris: readonly string[];
  /** Where it was going before it was redirected here. */
  readonly destination?: Destination | undefined;
  /** Undefined without TLS. */
  readonly tlsSession?: TlsSession | undefined;
}

/** What this hop says about its client in x-forwarded-client-cert; undefined without mutual TLS. */
export function clientCertElement(
  { identity, ownUris }: ConnectionInfo,
  { clientCertDetails: details }: HttpConnectionManagerConfig,
): string | undefined {
  if (identity === undefined) return undefined;
  const { uris } = identity;
  return [
    ...ownUris.map((uri) => `By=${uri}`),
    `Hash=${identity.hash}`,
    ...(details.cert ? [`Cert="${urlEncodedPem(identity.der)}"`] : []),
    ...(details.subject ? [`Subject="${identity.subject}"`] : []),
    // As Envoy: the key is there though there is no URI.
    ...(details.uri ? (uris.length === 0 ? ["URI="] : uris.map((uri) => `URI=${uri}`)) : []),
    ...(details.dns ? identity.dnsNames.map((name) => `DNS=${name}`) : []),
  ].join(";");
}

/** As Envoy: only what a PEM has that an URL may not have is encoded. */
function urlEncodedPem(der: Buffer): string {
  const lines = der.toString("base64").match(/.{1,64}/g) ?? [];
  const pem = `-----BEGIN CERTIFICATE-----\n${lines.join("\n")}\n-----END CERTIFICATE-----\n`;
  return pem.replaceAll(
    /[\n +/=]/g,
    (c) => `%${c.charCodeAt(0).toString(16).toUpperCase().padStart(2, "0")}`,
  );
}

/** Our end of a connection as its client knows it: where it was going, when it was redirected here. */
export function localAddressOf(socket: Socket, { destination }: ConnectionInfo): string {
  return formatAddress(
    destination?.address ?? socket.localAddress,
    destination?.port ?? socket.localPort,
  );
}

/** `ip:port`, an IPv6 address in brackets; "" without an address. */
export function formatAddress(address: string | undefined, port: number | undefined): string {
  if (address === undefined) return "";
  return address.includes(":") ? `[${address}]:${port ?? 0}` : `${address}:${port ?? 0}`;
}
