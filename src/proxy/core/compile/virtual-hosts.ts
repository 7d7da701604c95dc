import type { VirtualHostConfig } from "../runtime-config.ts";
import type { Scope } from "./scope.ts";

/** A virtual host with its domains and its place in the resource. */
export interface DomainEntry {
  readonly virtualHost: VirtualHostConfig;
  readonly domain: string;
  readonly scope: Scope;
}

interface WildcardBucket {
  /** Length of every key in `hosts`. */
  readonly length: number;
  readonly hosts: Map<string, VirtualHostConfig>;
}

/**
 * Host lookup in Envoy's order: exact, longest suffix wildcard (`*.foo.com`, `*-bar.foo.com`),
 * longest prefix wildcard (`foo.*`), then `*`. A wildcard stands for at least one character.
 * Source: envoy.config.route.v3.VirtualHost.domains.
 */
export function compileVirtualHosts(
  routeName: string,
  entries: readonly DomainEntry[],
  ignorePort: boolean,
): (authority: string) => VirtualHostConfig | undefined {
  const exact = new Map<string, VirtualHostConfig>();
  const suffixes = new Map<number, WildcardBucket>();
  const prefixes = new Map<number, WildcardBucket>();
  let fallback: VirtualHostConfig | undefined;
  const seen = new Set<string>();
  for (const { virtualHost, domain, scope } of entries) {
    const lower = domain.toLowerCase();
    if (lower === "") {
      scope.fail("must not be empty");
      continue;
    }
    if (seen.has(lower)) {
      scope.fail(
        lower === "*"
          ? `Only a single wildcard domain is permitted in route ${routeName}`
          : `Only unique values for domains are permitted. Duplicate entry of domain ${domain} in route ${routeName}`,
      );
      continue;
    }
    seen.add(lower);
    if (lower === "*") fallback = virtualHost;
    else if (lower.startsWith("*"))
      bucket(suffixes, lower.slice(1)).set(lower.slice(1), virtualHost);
    else if (lower.endsWith("*"))
      bucket(prefixes, lower.slice(0, -1)).set(lower.slice(0, -1), virtualHost);
    else exact.set(lower, virtualHost);
  }
  const bySuffix = longestFirst(suffixes);
  const byPrefix = longestFirst(prefixes);
  return (authority) => {
    const asIs = exact.get(authority);
    if (asIs !== undefined && !ignorePort) return asIs;
    const host = (ignorePort ? withoutPort(authority) : authority).toLowerCase();
    const found = exact.get(host);
    if (found !== undefined) return found;
    for (const { length, hosts } of bySuffix) {
      if (host.length <= length) continue;
      const match = hosts.get(host.slice(host.length - length));
      if (match !== undefined) return match;
    }
    for (const { length, hosts } of byPrefix) {
      if (host.length <= length) continue;
      const match = hosts.get(host.slice(0, length));
      if (match !== undefined) return match;
    }
    return fallback;
  };
}

function bucket(buckets: Map<number, WildcardBucket>, key: string): Map<string, VirtualHostConfig> {
  let entry = buckets.get(key.length);
  if (entry === undefined) {
    entry = { length: key.length, hosts: new Map() };
    buckets.set(key.length, entry);
  }
  return entry.hosts;
}

function longestFirst(buckets: ReadonlyMap<number, WildcardBucket>): readonly WildcardBucket[] {
  return [...buckets.values()].sort((a, b) => b.length - a.length);
}

function withoutPort(authority: string): string {
  const colon = authority.lastIndexOf(":");
  const isPort = colon > authority.lastIndexOf("]") && /^\d+$/.test(authority.slice(colon + 1));
  return isPort ? authority.slice(0, colon) : authority;
}
