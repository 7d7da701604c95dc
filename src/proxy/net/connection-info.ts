import type { Socket } from "node:net";
import type { TlsSession } from "../tls/certificate-facts.ts";
import type { PeerIdentity } from "../tls/secure-contexts.ts";
import type { Destination } from "./original-destination.ts";

/** What the listener found out about a connection before its first request. */
export interface ConnectionInfo {
  readonly isTls: boolean;
  readonly requestedServerName: string;
  readonly identity: PeerIdentity | undefined;
  /** The URI of our own certificate, for `By=`. */
  readonly ownUri: string | undefined;
  /** Where it was going before it was redirected here. */
  readonly destination?: Destination | undefined;
  /** Undefined without TLS. */
  readonly tlsSession?: TlsSession | undefined;
}

/** What this hop says about its client in x-forwarded-client-cert; undefined without mutual TLS. */
export function clientCertElement({ identity, ownUri }: ConnectionInfo): string | undefined {
  if (identity === undefined) return undefined;
  return [
    ...(ownUri === undefined ? [] : [`By=${ownUri}`]),
    `Hash=${identity.hash}`,
    `Subject="${identity.subject.replaceAll('"', '\\"')}"`,
    `URI=${identity.principal ?? ""}`,
    ...identity.dnsNames.map((name) => `DNS=${name}`),
  ].join(";");
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
