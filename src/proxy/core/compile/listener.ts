import {
  durationToMs,
  type envoy_config_core_v3_CidrRange,
  type envoy_config_core_v3_SocketAddress,
  type envoy_config_listener_v3_Filter,
  type envoy_config_listener_v3_FilterChain,
  type envoy_config_listener_v3_FilterChainMatch,
  type envoy_config_listener_v3_Listener,
  type envoy_extensions_filters_network_tcp_proxy_v3_TcpProxy,
  unpackAny,
} from "../../../xds/index.ts";
import { type CidrRange, parseCidr } from "../cidr.ts";
import type {
  FilterChainConfig,
  ListenerConfig,
  RouteTable,
  TcpProxyConfig,
} from "../runtime-config.ts";
import { compileAccessLogs, compileFlushInterval } from "./access-log.ts";
import { CONCURRENT_LIMIT, compileConcurrentLimits } from "./concurrent-limit.ts";
import { CONNECTION_LIMIT, compileConnectionLimits } from "./connection-limit.ts";
import type { CompileContext } from "./data-source.ts";
import { isIpAddress } from "./endpoint.ts";
import { compileHttpConnectionManager, type HttpSpec } from "./http-connection-manager.ts";
import { compileListenerFilters } from "./listener-filters.ts";
import { compileRbac } from "./rbac.ts";
import type { Scope } from "./scope.ts";
import { compileTransportSocket, type SecretMaterial, type TlsSpec } from "./tls.ts";

const HTTP =
  "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager" as const;
const NETWORK_RBAC = "envoy.extensions.filters.network.rbac.v3.RBAC" as const;
const TCP = "envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy" as const;
const DIRECTIONS = ["unspecified", "inbound", "outbound"] as const;
const DEFAULT_TCP_IDLE_TIMEOUT_MS = 3_600_000;
const SOURCE_TYPES = ["any", "local", "external"] as const;

/** Envoy's default listener_filters_timeout. */
const DEFAULT_INSPECTION_MS = 15_000;

/** A Listener before its routes and secrets have arrived. */
export interface ListenerSpec {
  readonly name: string;
  readonly rdsNames: readonly string[];
  readonly secretNames: readonly string[];
  build(
    routes: (name: string) => RouteTable | undefined,
    secrets: (name: string) => SecretMaterial | undefined,
  ): ListenerConfig;
}

interface ChainSpec {
  readonly name: string;
  readonly match: FilterChainConfig["match"];
  readonly tls: TlsSpec | undefined;
  readonly connectionLimits: FilterChainConfig["connectionLimits"];
  readonly concurrentLimits: FilterChainConfig["concurrentLimits"];
  readonly authorization: FilterChainConfig["authorization"];
  readonly network: HttpSpec | TcpProxyConfig;
}

/** Compiles a Listener. Problems go to `scope`. */
export function compileListener(
  listener: envoy_config_listener_v3_Listener,
  context: CompileContext,
  scope: Scope,
): ListenerSpec {
  const direction = DIRECTIONS[listener.traffic_direction ?? 0] ?? "unspecified";
  if (listener.api_listener) scope.at("api_listener").fail("is for clients without a proxy");
  const address = compileAddress(listener.address?.socket_address, scope.at("address"));
  const filters = compileListenerFilters(listener, scope.at("listener_filters"));
  const chains = (listener.filter_chains ?? []).map((chain, i) =>
    compileChain(chain, direction, context, scope.at("filter_chains", i)),
  );
  checkDistinct(chains, scope.at("filter_chains"));
  const defaultChain =
    listener.default_filter_chain &&
    compileChain(
      listener.default_filter_chain,
      direction,
      context,
      scope.at("default_filter_chain"),
    );
  if (chains.length === 0 && !defaultChain) {
    scope.at("filter_chains").fail("no filter chains specified");
  }
  const all = defaultChain ? [...chains, defaultChain] : chains;
  const accessLogs = compileAccessLogs(listener.access_log ?? [], context, scope.at("access_log"));
  const name = listener.name || `${address.address}_${address.port}`;
  return {
    name,
    rdsNames: distinct(all.map((c) => ("rdsName" in c.network ? c.network.rdsName : undefined))),
    secretNames: distinct(all.flatMap((c) => c.tls?.secretNames ?? [])),
    build(routes, secrets) {
      const build = (chain: ChainSpec): FilterChainConfig => ({
        name: chain.name,
        match: chain.match,
        tls: chain.tls?.build(secrets),
        connectionLimits: chain.connectionLimits,
        concurrentLimits: chain.concurrentLimits,
        authorization: chain.authorization,
        network: "build" in chain.network ? chain.network.build(routes) : chain.network,
      });
      return {
        name,
        ...address,
        ...filters,
        inspection: {
          timeoutMs: durationToMs(listener.listener_filters_timeout) ?? DEFAULT_INSPECTION_MS,
          continuesOnTimeout: listener.continue_on_listener_filters_timeout ?? false,
        },
        chains: chains.map(build),
        defaultChain: defaultChain ? build(defaultChain) : undefined,
        accessLogs,
        bindToPort: listener.bind_to_port ? (listener.bind_to_port.value ?? false) : true,
      };
    },
  };
}

function distinct(names: readonly (string | undefined)[]): readonly string[] {
  return [...new Set(names.filter((name) => name !== undefined))];
}

function compileAddress(
  socket: envoy_config_core_v3_SocketAddress | null | undefined,
  scope: Scope,
): { readonly address: string; readonly port: number } {
  const place = scope.at("socket_address");
  if (!socket) place.fail("is required");
  const address = socket?.address ?? "";
  const port = socket?.port_value ?? 0;
  if (socket && !isIpAddress(address)) {
    place.at("address").fail(`must be an IP address (found ${JSON.stringify(address)})`);
  }
  if (port > 65_535) place.at("port_value").fail(`must be 0..65535 (found ${port})`);
  if (socket?.protocol === 1) place.at("protocol").fail("UDP is not supported");
  return { address, port };
}

function compileChain(
  chain: envoy_config_listener_v3_FilterChain,
  direction: (typeof DIRECTIONS)[number],
  context: CompileContext,
  scope: Scope,
): ChainSpec {
  return {
    name: chain.name ?? "",
    match: compileMatch(chain.filter_chain_match ?? {}, scope.at("filter_chain_match")),
    tls: compileTransportSocket(
      chain.transport_socket,
      "downstream",
      context,
      scope.at("transport_socket"),
    ),
    connectionLimits: compileConnectionLimits(chain.filters ?? [], scope.at("filters")),
    concurrentLimits: compileConcurrentLimits(chain.filters ?? [], scope.at("filters")),
    authorization: compileAuthorization(chain.filters ?? [], scope.at("filters")),
    network: compileNetwork(chain.filters ?? [], direction, context, scope.at("filters")),
  };
}

function compileMatch(
  match: envoy_config_listener_v3_FilterChainMatch,
  scope: Scope,
): FilterChainConfig["match"] {
  if ((match.direct_source_prefix_ranges ?? []).length > 0) {
    scope.at("direct_source_prefix_ranges").fail("is not supported");
  }
  const transport = match.transport_protocol ?? "";
  if (transport !== "" && transport !== "tls" && transport !== "raw_buffer") {
    scope.at("transport_protocol").fail(`must be tls or raw_buffer (found ${transport})`);
  }
  for (const [i, name] of (match.server_names ?? []).entries()) {
    if (name.indexOf("*") > 0) {
      scope.at("server_names", i).fail("partial wildcards are not supported in server_names");
    }
  }
  return {
    transportProtocol: transport === "tls" || transport === "raw_buffer" ? transport : "",
    applicationProtocols: match.application_protocols ?? [],
    serverNames: (match.server_names ?? []).map((name) => name.toLowerCase()),
    destinationPort: match.destination_port ? (match.destination_port.value ?? 0) : undefined,
    destinationPrefixes: compileRanges(match.prefix_ranges ?? [], scope.at("prefix_ranges")),
    sourceType: SOURCE_TYPES[match.source_type ?? 0] ?? "any",
    sourcePrefixes: compileRanges(
      match.source_prefix_ranges ?? [],
      scope.at("source_prefix_ranges"),
    ),
    sourcePorts: match.source_ports ?? [],
  };
}

function compileRanges(
  ranges: readonly envoy_config_core_v3_CidrRange[],
  scope: Scope,
): readonly CidrRange[] {
  return ranges.flatMap(({ address_prefix: address, prefix_len: length }, i) => {
    const range = parseCidr(address ?? "", length?.value ?? 0);
    if (range !== undefined) return [range];
    scope.at(i).fail(`must be a range of IP addresses (found ${address}/${length?.value ?? 0})`);
    return [];
  });
}

/** Envoy refuses two chains that match the same connections. */
function checkDistinct(chains: readonly ChainSpec[], scope: Scope): void {
  const seen = new Map<string, number>();
  for (const [i, chain] of chains.entries()) {
    const key = JSON.stringify(chain.match);
    const first = seen.get(key);
    if (first !== undefined) {
      scope.at(i).fail(`has the same matching rules defined as filter_chains[${first}]`);
    } else seen.set(key, i);
  }
}

function compileAuthorization(
  filters: readonly envoy_config_listener_v3_Filter[],
  scope: Scope,
): FilterChainConfig["authorization"] {
  return filters.slice(0, -1).flatMap((filter, i) => {
    const rbac = unpackAny(NETWORK_RBAC, filter.typed_config);
    if (rbac === undefined) return [];
    const place = scope.at(i, "typed_config");
    if (!rbac.stat_prefix) place.at("stat_prefix").fail("must not be empty");
    return [{ statPrefix: rbac.stat_prefix ?? "", rbac: compileRbac(rbac, place) }];
  });
}

function compileNetwork(
  filters: readonly envoy_config_listener_v3_Filter[],
  direction: (typeof DIRECTIONS)[number],
  context: CompileContext,
  scope: Scope,
): HttpSpec | TcpProxyConfig {
  const nothing: TcpProxyConfig = {
    kind: "tcp",
    statPrefix: "",
    clusters: [],
    idleTimeoutMs: DEFAULT_TCP_IDLE_TIMEOUT_MS,
    maxConnectAttempts: 1,
    accessLogs: [],
    direction,
  };
  for (const [i, filter] of filters.slice(0, -1).entries()) {
    if (unpackAny(NETWORK_RBAC, filter.typed_config) !== undefined) continue;
    if (unpackAny(CONNECTION_LIMIT, filter.typed_config) !== undefined) continue;
    if (unpackAny(CONCURRENT_LIMIT, filter.typed_config) !== undefined) continue;
    scope.at(i).fail(`network filter ${filter.name ?? ""} is not supported`);
  }
  const last = filters.at(-1);
  if (last === undefined) {
    scope.fail("must end with http_connection_manager or tcp_proxy");
    return nothing;
  }
  const place = scope.at(filters.length - 1, "typed_config");
  const manager = unpackAny(HTTP, last.typed_config);
  if (manager !== undefined)
    return compileHttpConnectionManager(manager, direction, context, place);
  const tcp = unpackAny(TCP, last.typed_config);
  if (tcp !== undefined) return compileTcpProxy(tcp, direction, context, place);
  place.fail(
    `network filter ${last.name ?? ""} (${last.typed_config?.type_url ?? ""}) is not supported`,
  );
  return nothing;
}

function compileTcpProxy(
  proxy: envoy_extensions_filters_network_tcp_proxy_v3_TcpProxy,
  direction: TcpProxyConfig["direction"],
  context: CompileContext,
  scope: Scope,
): TcpProxyConfig {
  if (!proxy.stat_prefix) scope.at("stat_prefix").fail("must not be empty");
  const weighted = (proxy.weighted_clusters?.clusters ?? []).map((entry) => ({
    cluster: entry.name ?? "",
    weight: entry.weight ?? 0,
  }));
  const clusters =
    typeof proxy.cluster === "string" ? [{ cluster: proxy.cluster, weight: 1 }] : weighted;
  if (clusters.length === 0 || clusters.some((entry) => entry.cluster === "")) {
    scope.fail("must set one of cluster, weighted_clusters");
  }
  return {
    kind: "tcp",
    statPrefix: proxy.stat_prefix ?? "",
    clusters,
    idleTimeoutMs: durationToMs(proxy.idle_timeout) ?? DEFAULT_TCP_IDLE_TIMEOUT_MS,
    maxConnectAttempts: proxy.max_connect_attempts?.value ?? 1,
    accessLogs: compileAccessLogs(proxy.access_log ?? [], context, scope.at("access_log")),
    accessLogTimes: proxy.access_log_options
      ? {
          atStart: proxy.access_log_options.flush_access_log_on_connected ?? false,
          intervalMs: compileFlushInterval(
            proxy.access_log_options.access_log_flush_interval,
            scope.at("access_log_options"),
          ),
        }
      : undefined,
    direction,
  };
}
