import {
  durationToMs,
  type envoy_extensions_filters_network_http_connection_manager_v3_HttpConnectionManager as HttpConnectionManager,
} from "../../../xds/index.ts";
import type { HostNormalization } from "../host-normalization.ts";
import { ipRange } from "../ip-range.ts";
import type { PathNormalization } from "../path-normalization.ts";
import type { HttpConnectionManagerConfig, RouteTable } from "../runtime-config.ts";
import { compileAccessLogs, compileFlushInterval } from "./access-log.ts";
import type { CompileContext } from "./data-source.ts";
import { compileHttpFilters, startsChildSpan } from "./http-filters.ts";
import { compileHttp2Options, SERVER_HTTP2_DEFAULTS } from "./http2-options.ts";
import { compileRouteTable } from "./route.ts";
import type { Scope } from "./scope.ts";
import { compileRequestId, compileTracing } from "./tracing.ts";
import { compileUpgrades } from "./upgrade.ts";

const FORWARD_CLIENT_CERT = [
  "sanitize",
  "forward_only",
  "append_forward",
  "sanitize_set",
  "always_forward_only",
] as const;
const CODECS: readonly HttpConnectionManagerConfig["codec"][] = ["auto", "http1", "http2"];
/** PathWithEscapedSlashesAction: 0 = the default, which is to keep them. */
const ESCAPED_SLASHES = ["keep", "keep", "reject", "redirect", "decode"] as const;
const DEFAULT_STREAM_IDLE_TIMEOUT_MS = 300_000;
const DEFAULT_IDLE_TIMEOUT_MS = 3_600_000;
const DEFAULT_MAX_HEADERS_KB = 60;
const DEFAULT_MAX_HEADERS_COUNT = 100;

/** An HTTP connection manager before its RDS route has arrived. */
export interface HttpSpec {
  readonly rdsName: string | undefined;
  build(routes: (name: string) => RouteTable | undefined): HttpConnectionManagerConfig;
}

/** Compiles an HttpConnectionManager. Problems go to `scope`. */
export function compileHttpConnectionManager(
  manager: HttpConnectionManager,
  direction: HttpConnectionManagerConfig["direction"],
  context: CompileContext,
  scope: Scope,
): HttpSpec {
  if (!manager.stat_prefix) scope.at("stat_prefix").fail("must not be empty");
  // CodecType: 0 AUTO, 1 HTTP1, 2 HTTP2, 3 HTTP3
  if ((manager.codec_type ?? 0) > 2) scope.at("codec_type").fail("must be AUTO, HTTP1 or HTTP2");
  const filters = compileHttpFilters(manager.http_filters ?? [], context, scope.at("http_filters"));
  const inline =
    manager.route_config &&
    compileRouteTable(manager.route_config, context, scope.at("route_config"));
  const rdsName = manager.rds?.route_config_name ?? undefined;
  if (!inline && !manager.rds) scope.fail("must set one of rds, route_config");
  if (manager.rds && !rdsName) scope.at("rds", "route_config_name").fail("must not be empty");
  if (manager.rds && !manager.rds.config_source?.ads) {
    scope.at("rds", "config_source").fail("only ads is supported");
  }
  const fixed = fixedPart(manager, direction, context, scope);
  return {
    rdsName,
    build: (routes) => ({
      ...fixed,
      filters,
      routeTable: () => inline ?? (rdsName === undefined ? undefined : routes(rdsName)),
    }),
  };
}

function fixedPart(
  manager: HttpConnectionManager,
  direction: HttpConnectionManagerConfig["direction"],
  context: CompileContext,
  scope: Scope,
): Omit<HttpConnectionManagerConfig, "routeTable" | "filters"> {
  const common = manager.common_http_protocol_options;
  const headersKb = manager.max_request_headers_kb;
  return {
    kind: "http",
    codec: CODECS[manager.codec_type ?? 0] ?? "auto",
    http2: compileHttp2Options(
      manager.http2_protocol_options,
      SERVER_HTTP2_DEFAULTS,
      scope.at("http2_protocol_options"),
    ),
    statPrefix: manager.stat_prefix ?? "",
    useRemoteAddress: manager.use_remote_address?.value ?? false,
    xffTrustedHops: manager.xff_num_trusted_hops ?? 0,
    skipXffAppend: manager.skip_xff_append ?? false,
    generateRequestId: manager.generate_request_id
      ? (manager.generate_request_id.value ?? false)
      : true,
    preserveExternalRequestId: manager.preserve_external_request_id ?? false,
    alwaysSetRequestIdInResponse: manager.always_set_request_id_in_response ?? false,
    requestId: compileRequestId(manager.request_id_extension, scope.at("request_id_extension")),
    tracing: compileTracing(
      manager.tracing,
      { direction, startsChildSpan: startsChildSpan(manager.http_filters ?? []) },
      context,
      scope.at("tracing"),
    ),
    clientCertDetails: compileClientCertDetails(manager, scope),
    forwardClientCert: FORWARD_CLIENT_CERT[manager.forward_client_cert_details ?? 0] ?? "sanitize",
    serverName: manager.server_name || "envoy",
    maxRequestHeadersBytes: (headersKb?.value ?? DEFAULT_MAX_HEADERS_KB) * 1024,
    maxHeadersCount: common?.max_headers_count?.value ?? DEFAULT_MAX_HEADERS_COUNT,
    idleTimeoutMs: durationToMs(common?.idle_timeout) ?? DEFAULT_IDLE_TIMEOUT_MS,
    streamIdleTimeoutMs:
      durationToMs(manager.stream_idle_timeout) ?? DEFAULT_STREAM_IDLE_TIMEOUT_MS,
    maxStreamDurationMs: durationToMs(common?.max_stream_duration) ?? 0,
    requestTimeoutMs: durationToMs(manager.request_timeout) ?? 0,
    isInternalAddress: compileInternalAddresses(manager, scope.at("internal_address_config")),
    requestHeadersTimeoutMs: durationToMs(manager.request_headers_timeout) ?? 0,
    http10: manager.http_protocol_options?.accept_http_10
      ? { defaultHost: manager.http_protocol_options.default_host_for_http_10 || undefined }
      : undefined,
    http1Trailers: manager.http_protocol_options?.enable_trailers ?? false,
    upgrades: compileUpgrades(manager.upgrade_configs, scope.at("upgrade_configs")),
    paths: compilePaths(manager),
    hosts: compileHosts(manager, scope),
    accessLogs: compileAccessLogs(manager.access_log ?? [], context, scope.at("access_log")),
    accessLogTimes: compileAccessLogTimes(manager, scope),
    direction,
  };
}

function compileClientCertDetails(
  { set_current_client_cert_details: details }: HttpConnectionManager,
  scope: Scope,
): HttpConnectionManagerConfig["clientCertDetails"] {
  if (details?.chain) scope.at("set_current_client_cert_details", "chain").fail("is not supported");
  return {
    cert: details?.cert ?? false,
    subject: details?.subject?.value ?? false,
    uri: details?.uri ?? false,
    dns: details?.dns ?? false,
  };
}

/** The options, or the deprecated fields that said the same. */
function compileAccessLogTimes(
  manager: HttpConnectionManager,
  scope: Scope,
): HttpConnectionManagerConfig["accessLogTimes"] {
  const { access_log_options: options } = manager;
  for (const field of ["access_log_flush_interval", "flush_access_log_on_new_request"] as const) {
    if (options && manager[field]) scope.at(field).fail("access_log_options says this too");
  }
  const interval = options ? options.access_log_flush_interval : manager.access_log_flush_interval;
  const intervalMs = compileFlushInterval(
    interval,
    options ? scope.at("access_log_options") : scope,
  );
  const atStart = options
    ? (options.flush_access_log_on_new_request ?? false)
    : (manager.flush_access_log_on_new_request ?? false);
  const atTunnel = options?.flush_log_on_tunnel_successfully_established ?? false;
  if (!atStart && !atTunnel && intervalMs === 0) return undefined;
  return { atStart, atTunnel, intervalMs };
}

/** How a manager brings paths into one form; undefined = it leaves them as they are. */
export function compilePaths(
  manager: Pick<
    HttpConnectionManager,
    "normalize_path" | "merge_slashes" | "path_with_escaped_slashes_action"
  >,
): PathNormalization | undefined {
  const paths: PathNormalization = {
    isNormalized: manager.normalize_path?.value ?? false,
    mergesSlashes: manager.merge_slashes ?? false,
    escapedSlashes: ESCAPED_SLASHES[manager.path_with_escaped_slashes_action ?? 0] ?? "keep",
  };
  const isAsSent = !paths.isNormalized && !paths.mergesSlashes && paths.escapedSlashes === "keep";
  return isAsSent ? undefined : paths;
}

function compileHosts(manager: HttpConnectionManager, scope: Scope): HostNormalization | undefined {
  const stripsAny = manager.strip_any_host_port ?? false;
  const stripsMatching = manager.strip_matching_host_port ?? false;
  if (stripsAny && stripsMatching) {
    scope
      .at("strip_matching_host_port")
      .fail("only one of strip_matching_host_port and strip_any_host_port can be set");
  }
  const stripsTrailingDot = manager.strip_trailing_host_dot ?? false;
  if (!stripsAny && !stripsMatching && !stripsTrailingDot) return undefined;
  return { stripsPort: stripsAny ? "any" : stripsMatching ? "matching" : "no", stripsTrailingDot };
}

/** Without ranges nobody is internal, as in Envoy since 1.33. */
function compileInternalAddresses(
  { internal_address_config: config }: HttpConnectionManager,
  scope: Scope,
): HttpConnectionManagerConfig["isInternalAddress"] {
  const ranges = (config?.cidr_ranges ?? []).flatMap((range, i) => {
    const test = ipRange(range.address_prefix ?? "", range.prefix_len?.value ?? 0);
    if (test === undefined) scope.at("cidr_ranges", i).fail("must be an address with its length");
    return test ?? [];
  });
  return ranges.length === 0 ? undefined : (ip) => ranges.some((contains) => contains(ip));
}
