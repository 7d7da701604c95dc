import type {
  envoy_config_cluster_v3_Cluster as Cluster,
  envoy_config_core_v3_Http2ProtocolOptions as Http2ProtocolOptions,
  envoy_extensions_upstreams_http_v3_HttpProtocolOptions as HttpProtocolOptions,
} from "../../../xds/index.ts";
import type { ClusterConfig, Http2Options } from "../runtime-config.ts";
import type { Scope } from "./scope.ts";

/**
 * Where the configuration says nothing. Envoy's windows of 16 and 24 MiB let each stream buffer
 * that much; these fill any path inside a data centre and bound what a slow reader costs.
 */
export const SERVER_HTTP2_DEFAULTS: Http2Options = {
  maxConcurrentStreams: 1024,
  initialStreamWindowBytes: 262_144,
  initialConnectionWindowBytes: 4_194_304,
};

const UPSTREAM_HTTP2_DEFAULTS: Http2Options = SERVER_HTTP2_DEFAULTS;

const MIN_WINDOW_BYTES = 65_535;
const MAX_WINDOW_BYTES = 2_147_483_647;

/** Compiles Http2ProtocolOptions. Problems go to `scope`. */
export function compileHttp2Options(
  options: Http2ProtocolOptions | null | undefined,
  defaults: Http2Options,
  scope: Scope,
): Http2Options {
  if (!options) return defaults;
  const streams = options.max_concurrent_streams?.value ?? defaults.maxConcurrentStreams;
  if (streams < 1 || streams > MAX_WINDOW_BYTES) {
    scope.at("max_concurrent_streams").fail(`must be 1 to ${MAX_WINDOW_BYTES} (found ${streams})`);
  }
  const window = (
    field: "initial_stream_window_size" | "initial_connection_window_size",
    or: number,
  ): number => {
    const bytes = options[field]?.value;
    if (bytes === undefined || bytes === null) return or;
    if (bytes < MIN_WINDOW_BYTES || bytes > MAX_WINDOW_BYTES) {
      scope.at(field).fail(`must be ${MIN_WINDOW_BYTES} to ${MAX_WINDOW_BYTES} (found ${bytes})`);
    }
    return bytes;
  };
  return {
    maxConcurrentStreams: streams,
    initialStreamWindowBytes: window(
      "initial_stream_window_size",
      defaults.initialStreamWindowBytes,
    ),
    initialConnectionWindowBytes: window(
      "initial_connection_window_size",
      defaults.initialConnectionWindowBytes,
    ),
    allowsConnect: options.allow_connect ?? false,
  };
}

/** Which HTTP a cluster's upstreams are spoken to in. Problems go to `scope`. */
export function compileUpstreamProtocol(
  cluster: Cluster,
  options: HttpProtocolOptions | undefined,
  scope: Scope,
): Pick<ClusterConfig, "protocol" | "http1Trailers" | "http2"> {
  const explicit = options?.explicit_http_config;
  const downstream = options?.use_downstream_protocol_config;
  const auto = options?.auto_config;
  let protocol: ClusterConfig["protocol"] = "http1";
  if (explicit?.http2_protocol_options) protocol = "http2";
  else if (downstream) protocol = "downstream";
  else if (auto) protocol = "auto";
  else if (options === undefined && cluster.http2_protocol_options) protocol = "http2";
  const chosen =
    explicit?.http2_protocol_options ??
    downstream?.http2_protocol_options ??
    auto?.http2_protocol_options ??
    cluster.http2_protocol_options;
  const http1 =
    explicit?.http_protocol_options ??
    downstream?.http_protocol_options ??
    auto?.http_protocol_options;
  return {
    protocol,
    http1Trailers: http1?.enable_trailers ?? false,
    http2: compileHttp2Options(chosen, UPSTREAM_HTTP2_DEFAULTS, scope),
  };
}
