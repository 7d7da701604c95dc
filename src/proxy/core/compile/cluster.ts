import {
  durationToMs,
  type envoy_config_cluster_v3_Cluster,
  type envoy_extensions_upstreams_http_v3_HttpProtocolOptions,
  structToJson,
  unpackAny,
} from "../../../xds/index.ts";
import type { ClusterConfig, LoadAssignment } from "../runtime-config.ts";
import { compileCircuitBreaker } from "./circuit-breaker.ts";
import type { CompileContext } from "./data-source.ts";
import { compileEndpoints, isIpAddress, metadataOf, NO_ENDPOINTS } from "./endpoint.ts";
import { compileHealthCheck } from "./health-check.ts";
import { compileUpstreamProtocol } from "./http2-options.ts";
import { compileLbPolicy } from "./lb-policy.ts";
import { compileOutlierDetection } from "./outlier-detection.ts";
import type { Scope } from "./scope.ts";
import { compileTransportSocket, type SecretMaterial, type TlsSpec } from "./tls.ts";

const DEFAULT_CONNECT_TIMEOUT_MS = 5000;
const DEFAULT_IDLE_TIMEOUT_MS = 3_600_000;
const HTTP_OPTIONS = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions";
const FORWARD_PROXY = "envoy.extensions.clusters.dynamic_forward_proxy.v3.ClusterConfig";
const DEFAULT_INITIAL_FETCH_TIMEOUT_MS = 15_000;
/** Cluster.DiscoveryType */
const TYPE = { STATIC: 0, STRICT_DNS: 1, LOGICAL_DNS: 2, EDS: 3, ORIGINAL_DST: 4 } as const;

/** A Cluster before its endpoints and secrets have arrived. */
export interface ClusterSpec {
  readonly name: string;
  /** Name of the ClusterLoadAssignment to wait for; undefined = the endpoints are inline. */
  readonly edsName: string | undefined;
  readonly initialFetchTimeoutMs: number;
  readonly secretNames: readonly string[];
  readonly tls: TlsSpec | undefined;
  readonly localEndpoints: LoadAssignment;
  build(
    assignment: LoadAssignment,
    secrets: (name: string) => SecretMaterial | undefined,
  ): ClusterConfig;
}

/** Compiles a Cluster. Problems go to `scope`. */
export function compileCluster(
  cluster: envoy_config_cluster_v3_Cluster,
  context: CompileContext,
  scope: Scope,
): ClusterSpec {
  const name = cluster.name ?? "";
  if (name === "") scope.at("name").fail("must not be empty");
  const type = cluster.type ?? TYPE.STATIC;
  if (type === TYPE.ORIGINAL_DST && cluster.load_assignment) {
    scope.at("load_assignment").fail("is not allowed on a cluster of type ORIGINAL_DST");
  }
  const isEds = type === TYPE.EDS;
  const edsSource = cluster.eds_cluster_config?.eds_config;
  if (isEds && !edsSource) scope.at("eds_cluster_config", "eds_config").fail("is required");
  if (edsSource && !edsSource.ads) {
    scope.at("eds_cluster_config", "eds_config").fail("only ads is supported");
  }
  if (isEds && cluster.load_assignment) {
    scope.at("load_assignment").fail("is not allowed on a cluster of type EDS");
  }
  compileClusterType(cluster, scope.at("cluster_type"));
  refuseUnsupported(cluster, scope);
  const options = httpOptions(cluster, scope);
  const localEndpoints = cluster.load_assignment
    ? compileEndpoints(
        cluster.load_assignment,
        scope.at("load_assignment"),
        type === TYPE.STRICT_DNS || type === TYPE.LOGICAL_DNS,
      )
    : NO_ENDPOINTS;
  const tls = compileTransportSocket(
    cluster.transport_socket,
    "upstream",
    context,
    scope.at("transport_socket"),
  );
  const matches = compileSocketMatches(cluster, context, scope.at("transport_socket_matches"));
  const fixed = fixedPart(cluster, name, options, scope);
  const specs = [tls, ...matches.map((match) => match.tls)];
  return {
    name,
    edsName: isEds ? cluster.eds_cluster_config?.service_name || name : undefined,
    initialFetchTimeoutMs:
      durationToMs(edsSource?.initial_fetch_timeout) ?? DEFAULT_INITIAL_FETCH_TIMEOUT_MS,
    secretNames: [...new Set(specs.flatMap((spec) => spec?.secretNames ?? []))],
    tls,
    localEndpoints,
    build(assignment, secrets) {
      const defaultTls = tls?.build(secrets);
      const matched = matches.map((m) => ({ criteria: m.criteria, tls: m.tls?.build(secrets) }));
      return {
        ...fixed,
        ...assignment,
        tlsFor(endpoint) {
          for (const match of matched) {
            if (fits(match.criteria, endpoint.transportSocketMatch)) return match.tls;
          }
          return defaultTls;
        },
      };
    },
  };
}

/** Whether the hosts are what requests ask for. */
function isForwardProxy({ cluster_type }: envoy_config_cluster_v3_Cluster): boolean {
  return unpackAny(FORWARD_PROXY, cluster_type?.typed_config) !== undefined;
}

/** The port of a request that names none. */
function tlsPort({ transport_socket: socket }: envoy_config_cluster_v3_Cluster): number {
  return socket && !socket.typed_config?.type_url?.endsWith(".RawBuffer") ? 443 : 80;
}

function compileClusterType(
  { cluster_type: custom, load_assignment }: envoy_config_cluster_v3_Cluster,
  scope: Scope,
): void {
  if (!custom) return;
  const forward = unpackAny(FORWARD_PROXY, custom.typed_config);
  const place = scope.at("typed_config");
  if (forward === undefined) {
    const found = custom.typed_config?.type_url ?? custom.name ?? "";
    place.fail(`cluster type ${found} is not supported`);
  } else if (forward.sub_clusters_config) {
    place.at("sub_clusters_config").fail("is not supported");
  } else if (!forward.dns_cache_config?.name) {
    place.at("dns_cache_config", "name").fail("must not be empty");
  }
  if (load_assignment) place.fail("goes without a load_assignment");
}

function refuseUnsupported(cluster: envoy_config_cluster_v3_Cluster, scope: Scope): void {
  const common = cluster.common_lb_config;
  for (const field of [
    "ignore_new_hosts_until_first_hc",
    "close_connections_on_host_set_change",
  ] as const) {
    if (common?.[field]) scope.at("common_lb_config", field).fail("is not supported");
  }
  if ((cluster.lb_subset_config?.subset_selectors ?? []).length > 0) {
    scope.at("lb_subset_config", "subset_selectors").fail("is not supported");
  }
}

interface SocketMatch {
  readonly criteria: Readonly<Record<string, unknown>>;
  readonly tls: TlsSpec | undefined;
}

function compileSocketMatches(
  cluster: envoy_config_cluster_v3_Cluster,
  context: CompileContext,
  scope: Scope,
): SocketMatch[] {
  return (cluster.transport_socket_matches ?? []).map((match, i) => ({
    criteria: structToJson(match.match),
    tls: compileTransportSocket(
      match.transport_socket,
      "upstream",
      context,
      scope.at(i, "transport_socket"),
    ),
  }));
}

/** Every criterion must be in the endpoint's metadata with the same value; no criteria fit any. */
function fits(
  criteria: Readonly<Record<string, unknown>>,
  metadata: Readonly<Record<string, string>>,
): boolean {
  for (const key in criteria) if (metadata[key] !== criteria[key]) return false;
  return true;
}

function fixedPart(
  cluster: envoy_config_cluster_v3_Cluster,
  name: string,
  options: envoy_extensions_upstreams_http_v3_HttpProtocolOptions | undefined,
  scope: Scope,
): Omit<ClusterConfig, keyof LoadAssignment | "tlsFor"> {
  const connectTimeoutMs = durationToMs(cluster.connect_timeout) ?? DEFAULT_CONNECT_TIMEOUT_MS;
  if (connectTimeoutMs <= 0) scope.at("connect_timeout").fail("must be more than 0");
  const common = options?.common_http_protocol_options;
  if (cluster.lrs_server) scope.at("lrs_server").warn("has no effect: loads are not reported");
  const panic = cluster.common_lb_config?.healthy_panic_threshold;
  return {
    name,
    altStatName: cluster.alt_stat_name || name,
    connectTimeoutMs,
    ...compileLbPolicy(cluster, scope),
    originalDst: isForwardProxy(cluster)
      ? { header: undefined, port: undefined, requestedPort: tlsPort(cluster) }
      : compileOriginalDst(cluster),
    bindAddress: compileBindAddress(cluster, scope.at("upstream_bind_config", "source_address")),
    keepAliveMs: compileKeepAlive(
      cluster,
      scope.at("upstream_connection_options", "tcp_keepalive"),
    ),
    ...compileCircuitBreaker(cluster.circuit_breakers, scope.at("circuit_breakers")),
    ...compileUpstreamProtocol(cluster, options, scope),
    maxRequestsPerConnection: common?.max_requests_per_connection?.value ?? 0,
    maxConnectionDurationMs: durationToMs(common?.max_connection_duration) ?? 0,
    idleTimeoutMs: durationToMs(common?.idle_timeout) ?? DEFAULT_IDLE_TIMEOUT_MS,
    healthyPanicThresholdPercent: Math.trunc(panic ? (panic.value ?? 0) : 50),
    healthCheck: compileHealthCheck(cluster.health_checks ?? [], scope.at("health_checks")),
    ignoreHealthOnHostRemoval: cluster.ignore_health_on_host_removal ?? false,
    outlierDetection: compileOutlierDetection(
      cluster.outlier_detection,
      scope.at("outlier_detection"),
    ),
    metadata: cluster.metadata ?? undefined,
    service: serviceOf(metadataOf(cluster.metadata, "istio")),
  };
}

/** The system's default where none is said: two hours (Linux). */
const DEFAULT_KEEPALIVE_S = 7200;

/** When a connection that says nothing is first asked whether it is still there. */
function compileKeepAlive(
  cluster: envoy_config_cluster_v3_Cluster,
  scope: Scope,
): number | undefined {
  const keepalive = cluster.upstream_connection_options?.tcp_keepalive;
  if (!keepalive) return undefined;
  for (const field of ["keepalive_probes", "keepalive_interval"] as const) {
    if (keepalive[field]) scope.at(field).warn("is ignored, the system's own counts");
  }
  return (keepalive.keepalive_time?.value ?? DEFAULT_KEEPALIVE_S) * 1000;
}

function compileBindAddress(
  cluster: envoy_config_cluster_v3_Cluster,
  scope: Scope,
): string | undefined {
  const source = cluster.upstream_bind_config?.source_address;
  if (!source) return undefined;
  const address = source.address ?? "";
  if (!isIpAddress(address)) scope.at("address").fail("must be an IP address");
  if ((source.port_value ?? 0) !== 0) scope.at("port_value").fail("must be 0");
  return address;
}

function compileOriginalDst(
  cluster: envoy_config_cluster_v3_Cluster,
): ClusterConfig["originalDst"] {
  if (cluster.type !== TYPE.ORIGINAL_DST) return undefined;
  const config = cluster.original_dst_lb_config;
  const header = config?.http_header_name?.toLowerCase() || "x-envoy-original-dst-host";
  return {
    header: config?.use_http_header ? header : undefined,
    port: config?.upstream_port_override?.value ?? undefined,
  };
}

function httpOptions(
  cluster: envoy_config_cluster_v3_Cluster,
  scope: Scope,
): envoy_extensions_upstreams_http_v3_HttpProtocolOptions | undefined {
  const entries = Object.entries(cluster.typed_extension_protocol_options ?? {});
  let options: envoy_extensions_upstreams_http_v3_HttpProtocolOptions | undefined;
  for (const [name, any] of entries) {
    const unpacked = unpackAny(HTTP_OPTIONS, any);
    if (unpacked === undefined) {
      scope.at("typed_extension_protocol_options", name).fail("is not supported");
    } else options = unpacked;
  }
  return options;
}

/** Istio puts the service a cluster stands for into the metadata: `services: [{host,name,namespace}]`. */
function serviceOf(istio: Readonly<Record<string, unknown>>): ClusterConfig["service"] {
  const services = istio["services"];
  if (!Array.isArray(services)) return undefined;
  const first: unknown = services[0];
  if (typeof first !== "object" || first === null) return undefined;
  const fields = first as Readonly<Record<string, unknown>>;
  const text = (key: string): string => {
    const value = fields[key];
    return typeof value === "string" && value !== "" ? value : "unknown";
  };
  return { host: text("host"), name: text("name"), namespace: text("namespace") };
}
