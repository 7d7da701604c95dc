import { canonicalIp } from "./ip-range.ts";

interface ForwardedForSettings {
  readonly useRemoteAddress: boolean;
  /** Proxies in front of this one that are trusted to have told the truth. */
  readonly xffTrustedHops: number;
}

/**
 * Whether a request comes from inside, so that its `x-envoy-` headers are heeded: one address vouches
 * for it, and that is an internal one. Source: Envoy, "x-envoy-internal".
 */
export function isInternalRequest(
  peer: string,
  forwardedFor: string | undefined,
  settings: ForwardedForSettings,
  isInternalAddress: (ip: string) => boolean,
): boolean {
  const isSingle = settings.useRemoteAddress
    ? forwardedFor === undefined
    : forwardedFor !== undefined && !forwardedFor.includes(",");
  return isSingle && isInternalAddress(trustedRemoteIp(peer, forwardedFor, settings));
}

/**
 * The client's address as far as x-forwarded-for is trusted (Envoy: use_remote_address and
 * xff_num_trusted_hops). `peer` is the connection's own, `forwardedFor` the field as received.
 */
export function trustedRemoteIp(
  peer: string,
  forwardedFor: string | undefined,
  { useRemoteAddress, xffTrustedHops }: ForwardedForSettings,
): string {
  if (useRemoteAddress && xffTrustedHops === 0) return peer;
  if (forwardedFor === undefined) return peer;
  const addresses = forwardedFor.split(",").map((address) => address.trim());
  const back = useRemoteAddress ? xffTrustedHops : xffTrustedHops + 1;
  const address = addresses[addresses.length - back];
  // What is no address (one with a port, too) says nothing: rules would not know it.
  return (address === undefined ? undefined : canonicalIp(address)) ?? peer;
}
