/** What is taken off a request's authority before its virtual host is looked up. */
export interface HostNormalization {
  /** `matching`: only the port that the connection came to. */
  readonly stripsPort: "no" | "matching" | "any";
  /** The dot that ends a fully qualified name. */
  readonly stripsTrailingDot: boolean;
}

/**
 * An authority without what the configuration takes off it. `localPort` is the port of our end of the
 * connection. Source: Envoy's strip_trailing_host_dot (first), strip_matching_host_port and
 * strip_any_host_port.
 */
export function normalizeHost(
  authority: string,
  { stripsPort, stripsTrailingDot }: HostNormalization,
  localPort: number,
): string {
  const host = stripsTrailingDot ? withoutTrailingDot(authority) : authority;
  if (stripsPort === "no") return host;
  const colon = host.lastIndexOf(":");
  // A colon inside brackets belongs to an IPv6 address.
  if (colon < 0 || host.lastIndexOf("]") > colon) return host;
  const digits = host.slice(colon + 1);
  const port = Number(digits);
  if (!/^\d+$/.test(digits) || port > 0xffff_ffff) return host;
  return stripsPort === "any" || port === localPort ? host.slice(0, colon) : host;
}

function withoutTrailingDot(authority: string): string {
  const dot = authority.lastIndexOf(".");
  if (dot < 0) return authority;
  if (dot === authority.length - 1) return authority.slice(0, dot);
  return authority[dot + 1] === ":"
    ? authority.slice(0, dot) + authority.slice(dot + 1)
    : authority;
}
