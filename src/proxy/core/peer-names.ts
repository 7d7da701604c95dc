/** The kinds of subject alternative names that a configuration can ask for. */
export type NameKind = "email" | "dns" | "uri" | "ip";

/** One subject alternative name of a certificate. */
export interface PeerName {
  readonly kind: NameKind;
  readonly value: string;
}

/** What a peer's name must be. */
export interface NameMatcher {
  /** Undefined: any kind will do. */
  readonly kind?: NameKind | undefined;
  matches(name: string): boolean;
}

const PREFIXES: readonly (readonly [prefix: string, kind: NameKind])[] = [
  ["URI:", "uri"],
  ["DNS:", "dns"],
  ["IP Address:", "ip"],
  ["email:", "email"],
];

/**
 * The names in Node's text of a certificate's subject alternative names, in order. Splitting is safe:
 * Node writes a name with a comma as a JSON string, the comma escaped in it.
 */
export function peerNames(text: string | undefined): readonly PeerName[] {
  const names: PeerName[] = [];
  for (const part of (text ?? "").split(", ")) {
    for (const [prefix, kind] of PREFIXES) {
      if (!part.startsWith(prefix)) continue;
      const raw = part.slice(prefix.length);
      const value = raw[0] === '"' ? String(JSON.parse(raw)) : raw;
      names.push({ kind, value: kind === "ip" ? shortAddress(value) : value });
      break;
    }
  }
  return names;
}

/** As inet_ntop writes it, which is what Envoy compares. */
function shortAddress(address: string): string {
  if (!address.includes(":")) return address;
  const url = URL.parse(`http://[${address}]/`);
  return url === null ? address : url.hostname.slice(1, -1);
}

/** Whether one of the names is what one of the matchers asks for. */
export function matchesNames(
  matchers: readonly NameMatcher[],
  names: readonly PeerName[],
): boolean {
  return matchers.some((matcher) =>
    names.some(
      ({ kind, value }) =>
        (matcher.kind === undefined || matcher.kind === kind) && matcher.matches(value),
    ),
  );
}

/**
 * Whether a DNS name of a certificate covers a host: `*.example.com` stands for one label in front.
 * Source: Envoy's Utility::dnsNameMatch.
 */
export function dnsNameCovers(pattern: string, host: string): boolean {
  const [wanted, name] = [host.toLowerCase(), pattern.toLowerCase()];
  if (wanted === name) return true;
  if (!name.startsWith("*.")) return false;
  const dot = wanted.indexOf(".");
  return dot > 0 && wanted.slice(dot) === name.slice(1);
}
