import {
  durationToMs,
  type envoy_config_core_v3_HealthCheck as HealthCheck,
  type envoy_config_core_v3_HealthCheck_HttpHealthCheck as HttpHealthCheck,
  type envoy_type_v3_Int64Range as Int64Range,
  type envoy_config_core_v3_HealthCheck_Payload as Payload,
} from "../../../xds/index.ts";
import type { HealthCheckConfig, HttpProbeConfig } from "../health-check.ts";
import { compileHeaderMutation } from "./header-mutation.ts";
import type { Scope } from "./scope.ts";
import { compileStringMatcher } from "./string-matcher.ts";

const DEFAULT_NO_TRAFFIC_INTERVAL_MS = 60_000;
const DEFAULT_BODY_LIMIT_BYTES = 1024;
/** RequestMethod by number; 0 = GET, CONNECT is not allowed. */
const METHODS = ["GET", "GET", "HEAD", "POST", "PUT", "DELETE", "", "OPTIONS", "TRACE", "PATCH"];

/** Compiles a cluster's health_checks; Envoy allows one. Undefined when there is none. */
export function compileHealthCheck(
  checks: readonly HealthCheck[],
  scope: Scope,
): HealthCheckConfig | undefined {
  const [check] = checks;
  if (check === undefined) return undefined;
  if (checks.length > 1) scope.at(1).fail("only one health check per cluster is supported");
  const place = scope.at(0);
  const durations = compileDurations(check, place);
  const threshold = (field: "healthy_threshold" | "unhealthy_threshold"): number => {
    if (!check[field]) place.at(field).fail("is required");
    return check[field]?.value ?? 0;
  };
  if (check.transport_socket_match_criteria) {
    place.at("transport_socket_match_criteria").fail("is not supported");
  }
  return {
    ...durations,
    intervalJitterPercent: check.interval_jitter_percent ?? 0,
    unhealthyThreshold: threshold("unhealthy_threshold"),
    healthyThreshold: threshold("healthy_threshold"),
    reusesConnection: check.reuse_connection ? (check.reuse_connection.value ?? false) : true,
    altPort: check.alt_port?.value ?? undefined,
    alpnProtocols: check.tls_options?.alpn_protocols ?? [],
    probe: compileProbe(check, place),
  };
}

type Durations = Pick<
  HealthCheckConfig,
  Exclude<Extract<keyof HealthCheckConfig, `${string}Ms`>, never>
>;

function compileDurations(check: HealthCheck, scope: Scope): Durations {
  const positive = (field: DurationField, otherwise: number): number => {
    const value = durationToMs(check[field]);
    if (value !== undefined && value <= 0) scope.at(field).fail("must be more than 0");
    return value ?? otherwise;
  };
  const required = (field: DurationField): number => {
    if (!check[field]) scope.at(field).fail("is required");
    return positive(field, 1000);
  };
  const intervalMs = required("interval");
  const unhealthyIntervalMs = positive("unhealthy_interval", intervalMs);
  const noTrafficIntervalMs = positive("no_traffic_interval", DEFAULT_NO_TRAFFIC_INTERVAL_MS);
  return {
    timeoutMs: required("timeout"),
    intervalMs,
    healthyEdgeIntervalMs: positive("healthy_edge_interval", intervalMs),
    unhealthyIntervalMs,
    unhealthyEdgeIntervalMs: positive("unhealthy_edge_interval", unhealthyIntervalMs),
    noTrafficIntervalMs,
    noTrafficHealthyIntervalMs: positive("no_traffic_healthy_interval", noTrafficIntervalMs),
    initialJitterMs: durationToMs(check.initial_jitter) ?? 0,
    intervalJitterMs: durationToMs(check.interval_jitter) ?? 0,
  };
}

type DurationField =
  | "timeout"
  | "interval"
  | "unhealthy_interval"
  | "unhealthy_edge_interval"
  | "healthy_edge_interval"
  | "no_traffic_interval"
  | "no_traffic_healthy_interval";

function compileProbe(check: HealthCheck, scope: Scope): HealthCheckConfig["probe"] {
  if (check.http_health_check) {
    return compileHttp(check.http_health_check, scope.at("http_health_check"));
  }
  if (check.tcp_health_check) {
    const place = scope.at("tcp_health_check");
    const { send, receive } = check.tcp_health_check;
    return {
      kind: "tcp",
      send: send ? payload(send, place.at("send")) : undefined,
      receive: (receive ?? []).map((each, i) => payload(each, place.at("receive", i))),
    };
  }
  if (check.grpc_health_check) {
    const { service_name, authority, initial_metadata } = check.grpc_health_check;
    const place = scope.at("grpc_health_check");
    return {
      kind: "grpc",
      serviceName: service_name ?? "",
      authority: authority ?? "",
      headers: compileHeaders(initial_metadata, "initial_metadata", place),
    };
  }
  if (check.custom_health_check) scope.at("custom_health_check").fail("is not supported");
  else scope.fail("must set one of http_health_check, tcp_health_check, grpc_health_check");
  return { kind: "tcp", send: undefined, receive: [] };
}

function compileHttp(check: HttpHealthCheck, scope: Scope): HttpProbeConfig {
  if (!check.path) scope.at("path").fail("must not be empty");
  if (check.send) scope.at("send").fail("is not supported");
  // CodecClientType: 0 HTTP1, 1 HTTP2
  if ((check.codec_client_type ?? 0) > 1) {
    scope.at("codec_client_type").fail("must be HTTP1 or HTTP2");
  }
  const method = METHODS[check.method ?? 0] ?? "";
  if (method === "") scope.at("method").fail("must not be CONNECT");
  const expected = ranges(check.expected_statuses, scope.at("expected_statuses"));
  const retriable = ranges(check.retriable_statuses, scope.at("retriable_statuses"));
  return {
    kind: "http",
    method,
    path: check.path ?? "/",
    host: check.host ?? "",
    headers: compileHeaders(check.request_headers_to_add, "request_headers_to_add", scope),
    removedHeaders: new Set((check.request_headers_to_remove ?? []).map((n) => n.toLowerCase())),
    isExpected: expected === undefined ? (status) => status === 200 : expected,
    isRetriable: retriable ?? (() => false),
    receive: (check.receive ?? []).map((each, i) => payload(each, scope.at("receive", i))),
    isHttp2: check.codec_client_type === 1,
    isService: check.service_name_matcher
      ? compileStringMatcher(check.service_name_matcher, scope.at("service_name_matcher"))
      : undefined,
    bodyLimitBytes: check.response_buffer_size?.value ?? DEFAULT_BODY_LIMIT_BYTES,
  };
}

/** A check has no request that operators could tell of: they are refused. */
const NO_REQUEST = { timeOriginMs: 0, environment: () => undefined };

function compileHeaders(
  add: HttpHealthCheck["request_headers_to_add"],
  addField: string,
  scope: Scope,
): HttpProbeConfig["headers"] {
  const level = { add, scope, addField, removeField: "" };
  const edits = (compileHeaderMutation([level], NO_REQUEST) ?? []).flatMap((each) => each.edits);
  return edits.flatMap(({ name, value }) => {
    if (typeof value === "string") return [[name, value] as const];
    scope.at(addField).fail("command operators are not supported in health checks");
    return [];
  });
}

/** Half-open ranges of statuses; undefined without any. */
function ranges(
  list: readonly Int64Range[] | null | undefined,
  scope: Scope,
): ((status: number) => boolean) | undefined {
  if (!list || list.length === 0) return undefined;
  const pairs = list.map(({ start, end }, i) => {
    const [from, to] = [Number(start ?? 0), Number(end ?? 0)];
    if (from >= to) scope.at(i).fail(`must not be empty (found ${from}..${to})`);
    if (from < 100 || to > 600) scope.at(i).fail("must be within 100..600");
    return [from, to] as const;
  });
  return (status) => pairs.some(([from, to]) => status >= from && status < to);
}

/** Envoy's payloads are hexadecimal text, or bytes. */
function payload({ text, binary }: Payload, scope: Scope): Buffer {
  if (binary && binary.length > 0) return Buffer.from(binary);
  if (!text) scope.fail("must set one of text, binary");
  else if (text.length % 2 !== 0 || !/^[0-9A-Fa-f]*$/.test(text)) {
    scope.at("text").fail(`must be hexadecimal (found ${JSON.stringify(text)})`);
  }
  return Buffer.from(text ?? "", "hex");
}
