import { durationFromMs, type MessageTypes, packAny } from "../../../xds/index.ts";
import type { MeshSettings } from "../model-settings.ts";
import { type AccessLogs, accessLogField } from "./access-log.ts";
import { ADS } from "./config-source.ts";
import { CORS_FILTER } from "./cors.ts";
import { DNS_CACHE } from "./dns-cache.ts";
import { FAULT_FILTER } from "./route-action.ts";
import type { TracingFields } from "./tracing.ts";

type Filter = MessageTypes["envoy.config.listener.v3.Filter"];
type HttpFilter =
  MessageTypes["envoy.extensions.filters.network.http_connection_manager.v3.HttpFilter"];
type RouteConfiguration = MessageTypes["envoy.config.route.v3.RouteConfiguration"];

const MANAGER = "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager";
/** ForwardClientCertDetails */
const FORWARD_CERT = { SANITIZE: 0, APPEND_FORWARD: 2, SANITIZE_SET: 3 } as const;

export interface ConnectionManagerOptions {
  readonly statPrefix: string;
  /** `gateway`: clients outside the mesh, whose headers are not believed. */
  readonly direction: "inbound" | "outbound" | "gateway";
  /** The routes, or the name to ask for by RDS. */
  readonly routes: RouteConfiguration | string;
  readonly accessLogs: AccessLogs;
  readonly tracing?: TracingFields;
  /** Before all others: who is asking, and whether they may. */
  readonly securityFilters?: readonly HttpFilter[];
  /** How paths are made one before anybody looks at them; BASE by default (Istio). */
  readonly pathNormalization?: MeshSettings["pathNormalization"];
  /** Whether routes may lead to the host that a request asks for. */
  readonly takesAnyHost?: boolean;
}

const FORWARD_PROXY: HttpFilter = {
  name: "envoy.filters.http.dynamic_forward_proxy",
  typed_config: packAny("envoy.extensions.filters.http.dynamic_forward_proxy.v3.FilterConfig", {
    dns_cache_config: DNS_CACHE,
  }),
};

/** An HTTP connection manager with Istio's settings, as network filter. */
export function connectionManager(options: ConnectionManagerOptions): Filter {
  const { direction, routes } = options;
  return {
    name: "envoy.filters.network.http_connection_manager",
    typed_config: packAny(MANAGER, {
      stat_prefix: options.statPrefix,
      ...(typeof routes === "string"
        ? { rds: { config_source: ADS, route_config_name: routes } }
        : { route_config: routes }),
      http_filters: [
        ...(options.securityFilters ?? []),
        // A route names its faults and its CORS policy; without its word these filters do nothing.
        {
          name: FAULT_FILTER,
          typed_config: packAny("envoy.extensions.filters.http.fault.v3.HTTPFault", {}),
        },
        {
          name: CORS_FILTER,
          typed_config: packAny("envoy.extensions.filters.http.cors.v3.Cors", {}),
        },
        ...(options.takesAnyHost === true ? [FORWARD_PROXY] : []),
        {
          name: "envoy.filters.http.router",
          typed_config: packAny("envoy.extensions.filters.http.router.v3.Router", {}),
        },
      ],
      server_name: "istio-envoy",
      // A proxy of the mesh and the own application are believed when they name the client.
      use_remote_address: { value: direction === "gateway" },
      generate_request_id: { value: true },
      ...pathFields(options.pathNormalization ?? "BASE"),
      stream_idle_timeout: durationFromMs(0),
      upgrade_configs: [{ upgrade_type: "websocket" }],
      ...clientCertificateFields(direction),
      ...options.tracing,
      ...accessLogField(options.accessLogs),
    }),
  };
}

/** PathWithEscapedSlashesAction.UNESCAPE_AND_FORWARD */
const UNESCAPE = 4;

/** Source: Istio's MeshConfig.ProxyPathNormalization.NormalizationType. */
export function pathFields(normalization: MeshSettings["pathNormalization"]) {
  if (normalization === "NONE") return {};
  const merges = normalization === "MERGE_SLASHES" || normalization === "DECODE_AND_MERGE_SLASHES";
  return {
    normalize_path: { value: true },
    ...(merges ? { merge_slashes: true } : {}),
    ...(normalization === "DECODE_AND_MERGE_SLASHES"
      ? { path_with_escaped_slashes_action: UNESCAPE as 4 }
      : {}),
  };
}

function clientCertificateFields(direction: ConnectionManagerOptions["direction"]) {
  if (direction === "outbound") return { forward_client_cert_details: FORWARD_CERT.SANITIZE };
  const details = direction === "inbound" ? FORWARD_CERT.APPEND_FORWARD : FORWARD_CERT.SANITIZE_SET;
  return {
    forward_client_cert_details: details,
    set_current_client_cert_details: { subject: { value: true }, dns: true, uri: true },
  };
}
