import { ipRange } from "./ip-range.ts";

/** An address and port written as `1.2.3.4:80` or `[::1]:80`; undefined when it is none. */
export function parseHostPort(
  text: string,
): { readonly address: string; readonly port: number } | undefined {
  const match = /^(?:\[([^\]]+)\]|([^:]+)):(\d{1,5})$/.exec(text);
  const address = match?.[1] ?? match?.[2];
  const port = Number(match?.[3]);
  if (address === undefined || port > 65_535 || ipRange(address, 0) === undefined) return undefined;
  return { address, port };
}

/**
 * Where a request for this authority goes: `host`, `host:port`, an address or a name; without a port
 * it is `defaultPort`. Undefined when it is none. Source: Envoy's dynamic forward proxy.
 */
export function requestedDestination(
  authority: string,
  defaultPort: number,
): { readonly address: string; readonly port: number } | undefined {
  const match = /^(?:\[([0-9a-fA-F:.]+)\]|([-_A-Za-z0-9.]+))(?::(\d{1,5}))?$/.exec(authority);
  const address = match?.[1] ?? match?.[2];
  const port = match?.[3] === undefined ? defaultPort : Number(match[3]);
  if (address === undefined || port < 1 || port > 65_535) return undefined;
  return { address, port };
}
