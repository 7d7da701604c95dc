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
