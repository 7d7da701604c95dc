import type { PeerIdentity } from "../tls/secure-contexts.ts";

/** What the listener found out about a connection before its first request. */
export interface ConnectionInfo {
  readonly isTls: boolean;
  readonly requestedServerName: string;
  readonly identity: PeerIdentity | undefined;
  /** The URI of our own certificate, for `By=`. */
  readonly ownUri: string | undefined;
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

/** `ip:port`, an IPv6 address in brackets; "" without an address. */
export function formatAddress(address: string | undefined, port: number | undefined): string {
  if (address === undefined) return "";
  return address.includes(":") ? `[${address}]:${port ?? 0}` : `${address}:${port ?? 0}`;
}
