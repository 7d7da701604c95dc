import type { StringMap } from "../../../api/index.ts";
import { type MessageTypes, packAny, structFromJson } from "../../../xds/index.ts";
import type { MeshModel } from "../model.ts";
import { accessLogsOf } from "../model-access-logging.ts";

/** Istio's JSON access log; its keys are the field names that dashboards rely on. */
const JSON_FORMAT = {
  start_time: "%START_TIME%",
  method: "%REQ(:METHOD)%",
  path: "%REQ(X-ENVOY-ORIGINAL-PATH?:PATH)%",
  protocol: "%PROTOCOL%",
  response_code: "%RESPONSE_CODE%",
  response_flags: "%RESPONSE_FLAGS%",
  response_code_details: "%RESPONSE_CODE_DETAILS%",
  connection_termination_details: "%CONNECTION_TERMINATION_DETAILS%",
  upstream_transport_failure_reason: "%UPSTREAM_TRANSPORT_FAILURE_REASON%",
  bytes_received: "%BYTES_RECEIVED%",
  bytes_sent: "%BYTES_SENT%",
  duration: "%DURATION%",
  upstream_service_time: "%RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)%",
  x_forwarded_for: "%REQ(X-FORWARDED-FOR)%",
  user_agent: "%REQ(USER-AGENT)%",
  request_id: "%REQ(X-REQUEST-ID)%",
  authority: "%REQ(:AUTHORITY)%",
  upstream_host: "%UPSTREAM_HOST%",
  upstream_cluster: "%UPSTREAM_CLUSTER_RAW%",
  upstream_local_address: "%UPSTREAM_LOCAL_ADDRESS%",
  downstream_local_address: "%DOWNSTREAM_LOCAL_ADDRESS%",
  downstream_remote_address: "%DOWNSTREAM_REMOTE_ADDRESS%",
  requested_server_name: "%REQUESTED_SERVER_NAME%",
  route_name: "%ROUTE_NAME%",
};

type AccessLog = MessageTypes["envoy.config.accesslog.v3.AccessLog"];
/** The access logs of a listener. */
export type AccessLogs = readonly AccessLog[];

const FILE = "envoy.access_loggers.file";

/**
 * The access logs of a workload's proxy for one direction: by default one JSON line per request on the
 * proxy's standard output.
 */
export function accessLogsFor(
  { telemetries, settings, rootNamespace }: MeshModel,
  workload: { readonly namespace: string; readonly labels: StringMap },
  direction: "inbound" | "outbound",
  isOnByDefault: boolean,
): AccessLogs {
  return accessLogsOf(
    telemetries,
    settings.accessLogging,
    workload,
    direction,
    rootNamespace,
    isOnByDefault,
  ).map(({ path, format, omitsEmptyValues }) => ({
    name: FILE,
    typed_config: packAny("envoy.extensions.access_loggers.file.v3.FileAccessLog", {
      path,
      log_format: {
        ...(typeof format === "string"
          ? { text_format_source: { inline_string: format } }
          : { json_format: structFromJson(format ?? JSON_FORMAT) }),
        ...(omitsEmptyValues ? { omit_empty_values: true } : {}),
      },
    }),
  }));
}

/** The field `access_log` of a connection manager or TCP proxy. */
export function accessLogField(accessLogs: AccessLogs): { access_log?: AccessLog[] } {
  return accessLogs.length > 0 ? { access_log: [...accessLogs] } : {};
}
