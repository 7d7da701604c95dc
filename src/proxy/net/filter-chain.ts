import type { FilterChainConfig, ListenerConfig } from "../config/runtime-config.ts";
import type { CidrRange } from "../core/cidr.ts";

/** What is known of a connection when its chain is chosen. */
export interface ConnectionFacts {
  readonly destinationPort: number;
  readonly transportProtocol: "tls" | "raw_buffer";
  /** Lower case; "" = none. */
  readonly serverName: string;
  readonly applicationProtocols: readonly string[];
  /** Where it goes and where it comes from; "" when not known. */
  readonly destinationAddress?: string;
  readonly sourceAddress?: string;
  readonly sourcePort?: number;
}

/**
 * The filter chain for a connection, or undefined. As Envoy: criteria are tried in a fixed order, at
 * each the most specific value that matches wins, and there is no way back from it.
 * Source: envoy.config.listener.v3.FilterChainMatch.
 */
export function matchFilterChain(
  listener: ListenerConfig,
  facts: ConnectionFacts,
): FilterChainConfig | undefined {
  let chains = listener.chains;
  chains = narrow(
    chains,
    (match) => match.destinationPort === facts.destinationPort,
    (match) => match.destinationPort === undefined,
  );
  chains = narrowByRange(chains, facts.destinationAddress, (m) => m.destinationPrefixes);
  chains = narrowByServerName(chains, facts.serverName);
  chains = narrow(
    chains,
    (match) => match.transportProtocol === facts.transportProtocol,
    (match) => match.transportProtocol === "",
  );
  chains = narrow(
    chains,
    (match) => match.applicationProtocols.some((name) => facts.applicationProtocols.includes(name)),
    (match) => match.applicationProtocols.length === 0,
  );
  const isLocal = isLocalSource(facts);
  chains = narrow(
    chains,
    ({ sourceType = "any" }) => sourceType === (isLocal ? "local" : "external"),
    ({ sourceType = "any" }) => sourceType === "any",
  );
  chains = narrowByRange(chains, facts.sourceAddress, (m) => m.sourcePrefixes);
  chains = narrow(
    chains,
    ({ sourcePorts = [] }) => sourcePorts.includes(facts.sourcePort ?? 0),
    ({ sourcePorts = [] }) => sourcePorts.length === 0,
  );
  return chains[0] ?? listener.defaultChain;
}

/** Envoy's SAME_IP_OR_LOOPBACK. */
function isLocalSource({ sourceAddress = "", destinationAddress }: ConnectionFacts): boolean {
  const isLoopback = /^(?:::ffff:)?127\.|^::1$/.test(sourceAddress);
  return isLoopback || (sourceAddress !== "" && sourceAddress === destinationAddress);
}

/** The longest range that holds the address wins; chains without ranges take what no range does. */
function narrowByRange(
  chains: readonly FilterChainConfig[],
  address: string | undefined,
  rangesOf: (match: Match) => readonly CidrRange[] | undefined,
): readonly FilterChainConfig[] {
  // The usual listener has no ranges at all.
  if (chains.every(({ match }) => (rangesOf(match) ?? []).length === 0)) return chains;
  const longest = (match: Match): number => {
    let bits = -1;
    for (const range of rangesOf(match) ?? []) {
      if (range.contains(address ?? "")) bits = Math.max(bits, range.prefixBits);
    }
    return bits;
  };
  const best = Math.max(...chains.map(({ match }) => longest(match)));
  if (best < 0) return chains.filter(({ match }) => (rangesOf(match) ?? []).length === 0);
  return chains.filter(({ match }) => longest(match) === best);
}

type Match = FilterChainConfig["match"];

function narrow(
  chains: readonly FilterChainConfig[],
  isSpecific: (match: Match) => boolean,
  isGeneral: (match: Match) => boolean,
): readonly FilterChainConfig[] {
  const specific = chains.filter((chain) => isSpecific(chain.match));
  return specific.length > 0 ? specific : chains.filter((chain) => isGeneral(chain.match));
}

function narrowByServerName(
  chains: readonly FilterChainConfig[],
  serverName: string,
): readonly FilterChainConfig[] {
  // a.b.c: then *.b.c, then *.c, then chains without names.
  for (let name = serverName; name !== ""; ) {
    const found = chains.filter((chain) => chain.match.serverNames.includes(name));
    if (found.length > 0) return found;
    const dot = name.indexOf(".", name.startsWith("*") ? 2 : 0);
    if (dot < 0) break;
    name = `*${name.slice(dot)}`;
  }
  return chains.filter((chain) => chain.match.serverNames.length === 0);
}
