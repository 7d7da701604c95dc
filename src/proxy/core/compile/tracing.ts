import {
  durationToMs,
  type envoy_config_route_v3_Decorator,
  type envoy_config_route_v3_Tracing,
  type envoy_type_v3_FractionalPercent,
  type envoy_type_v3_Percent,
  type envoy_config_core_v3_HttpService as HttpService,
  type envoy_config_trace_v3_OpenTelemetryConfig as OpenTelemetryConfig,
  type envoy_config_trace_v3_Tracing_Http as Provider,
  type envoy_extensions_filters_network_http_connection_manager_v3_RequestIDExtension as RequestIdExtension,
  type envoy_extensions_filters_network_http_connection_manager_v3_HttpConnectionManager_Tracing as Tracing,
  unpackAny,
  type envoy_config_trace_v3_ZipkinConfig as ZipkinConfig,
} from "../../../xds/index.ts";
import type {
  Decorator,
  RequestIdConfig,
  RouteTracing,
  SpanNames,
  TracingConfig,
} from "../tracing/config.ts";
import type { Share } from "../tracing/sampling.ts";
import { compileText, type TextFormat } from "../tracing/text-format.ts";
import type {
  Collector,
  OpenTelemetryTracer,
  TracerConfig,
  ZipkinTracer,
} from "../tracing/tracer.ts";
import { compileCustomTags } from "./custom-tags.ts";
import type { CompileContext } from "./data-source.ts";
import type { Scope } from "./scope.ts";

const ZIPKIN = "envoy.config.trace.v3.ZipkinConfig";
const OPEN_TELEMETRY = "envoy.config.trace.v3.OpenTelemetryConfig";
const UUID = "envoy.extensions.request_id.uuid.v3.UuidRequestIdConfig";
/** CollectorEndpointVersion */
const HTTP_JSON = 1;
const USE_B3_WITH_W3C = 1;
const OTLP_METHOD = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";
const DEFAULT_SERVICE_NAME = "unknown_service:envoy";
const DEFAULT_PATH_TAG_LENGTH = 256;
const DEFAULT_MAX_BUFFERED = 1024;
/** Envoy's runtime default for Zipkin. */
const REPORT_TIMEOUT_MS = 5000;
const DENOMINATORS = [100, 10_000, 1_000_000] as const;

/** What decides about the kinds of spans, beside the `tracing` block. */
export interface TracingPlace {
  readonly direction: "inbound" | "outbound" | "unspecified";
  /** The router's `start_child_span`. */
  readonly startsChildSpan: boolean;
}

/** Compiles a connection manager's `tracing`; undefined where nothing is traced. */
export function compileTracing(
  tracing: Tracing | null | undefined,
  place: TracingPlace,
  context: CompileContext,
  scope: Scope,
): TracingConfig | undefined {
  if (!tracing) return undefined;
  const tracer = compileProvider(tracing.provider, scope.at("provider"));
  if (tracer === undefined) return undefined;
  const spawns = tracing.spawn_upstream_span?.value ?? false;
  const splits = tracer.kind === "zipkin" && tracer.splitsSpans;
  const isEgress = place.direction === "outbound";
  return {
    ...compileNames(tracing, context, scope),
    tracer,
    sampling: {
      client: percentShare(tracing.client_sampling),
      random: percentShare(tracing.random_sampling),
      overall: percentShare(tracing.overall_sampling),
    },
    isVerbose: tracing.verbose ?? false,
    maxPathTagLength: tracing.max_path_tag_length?.value ?? DEFAULT_PATH_TAG_LENGTH,
    customTags: compileCustomTags(tracing.custom_tags, context, scope.at("custom_tags")),
    spawnsUpstreamSpan: spawns || place.startsChildSpan,
    // As Envoy: a Zipkin tracer that knows of no tries takes them for the request.
    tryKind: tracer.kind === "zipkin" && !isEgress && !spawns && !splits ? "server" : "client",
    isServer: !isEgress || spawns || splits,
    isEgress,
    propagates: !(tracing.no_context_propagation ?? false),
  };
}

function compileNames(
  { operation, upstream_operation: upstream }: Pick<Tracing, "operation" | "upstream_operation">,
  context: CompileContext,
  scope: Scope,
): SpanNames {
  const text = (format: string | null | undefined, place: Scope): TextFormat | undefined =>
    format ? compileText(format, context, (message) => place.fail(message)) : undefined;
  return {
    operation: text(operation, scope.at("operation")),
    upstreamOperation: text(upstream, scope.at("upstream_operation")),
  };
}

/** Envoy keeps two digits behind the point. */
function percentShare(percent: envoy_type_v3_Percent | null | undefined): Share {
  const value = percent ? (percent.value ?? 0) : 100;
  return { numerator: Math.trunc(value * 100), denominator: 10_000 };
}

/** Compiles a route's `tracing`. */
export function compileRouteTracing(
  tracing: envoy_config_route_v3_Tracing | null | undefined,
  context: CompileContext,
  scope: Scope,
): RouteTracing | undefined {
  if (!tracing) return undefined;
  return {
    ...compileNames(tracing, context, scope),
    sampling: {
      client: fractionShare(tracing.client_sampling),
      random: fractionShare(tracing.random_sampling),
      overall: fractionShare(tracing.overall_sampling),
    },
    customTags: compileCustomTags(tracing.custom_tags, context, scope.at("custom_tags")),
  };
}

function fractionShare(fraction: envoy_type_v3_FractionalPercent | null | undefined): Share {
  if (!fraction) return { numerator: 100, denominator: 100 };
  return {
    numerator: fraction.numerator ?? 0,
    denominator: DENOMINATORS[fraction.denominator ?? 0] ?? 100,
  };
}

/** Compiles a route's decorator. */
export function compileDecorator(
  decorator: envoy_config_route_v3_Decorator | null | undefined,
  scope: Scope,
): Decorator | undefined {
  if (!decorator) return undefined;
  if (!decorator.operation) scope.at("operation").fail("must not be empty");
  return {
    operation: decorator.operation ?? "",
    propagates: decorator.propagate ? (decorator.propagate.value ?? false) : true,
  };
}

/** Compiles `request_id_extension`; only UUIDs exist. */
export function compileRequestId(
  extension: RequestIdExtension | null | undefined,
  scope: Scope,
): RequestIdConfig {
  const config = extension?.typed_config;
  const uuid = config ? unpackAny(UUID, config) : {};
  if (uuid === undefined) {
    scope.at("typed_config").fail(`request id ${config?.type_url ?? ""} is not supported`);
  }
  return {
    packsTraceReason: uuid?.pack_trace_reason?.value ?? !uuid?.pack_trace_reason,
    decidesSampling:
      uuid?.use_request_id_for_trace_sampling?.value ?? !uuid?.use_request_id_for_trace_sampling,
  };
}

function compileProvider(
  provider: Provider | null | undefined,
  scope: Scope,
): TracerConfig | undefined {
  if (!provider) {
    // A bootstrap's tracing block would count; there is none here.
    scope.fail("is required");
    return undefined;
  }
  const place = scope.at("typed_config");
  const zipkin = unpackAny(ZIPKIN, provider.typed_config);
  if (zipkin !== undefined) return compileZipkin(zipkin, place);
  const openTelemetry = unpackAny(OPEN_TELEMETRY, provider.typed_config);
  if (openTelemetry !== undefined) return compileOpenTelemetry(openTelemetry, place);
  const url = provider.typed_config?.type_url ?? "";
  place.fail(`tracer ${provider.name ?? ""} (${url}) is not supported`);
  return undefined;
}

function compileZipkin(config: ZipkinConfig, scope: Scope): ZipkinTracer {
  if (config.collector_endpoint_version !== HTTP_JSON) {
    scope.at("collector_endpoint_version").fail("must be HTTP_JSON");
  }
  if (config.timestamp_trace_ids) scope.at("timestamp_trace_ids").fail("is not supported");
  const collector = config.collector_service
    ? httpCollector(config.collector_service, scope.at("collector_service"))
    : legacyCollector(config, scope);
  const fields = {
    kind: "zipkin",
    // Envoy has a runtime key for this timeout, and no field.
    collector: { ...collector, timeoutMs: REPORT_TIMEOUT_MS },
    has128BitIds: config.trace_id_128bit ?? false,
    sharesContext: config.shared_span_context ? (config.shared_span_context.value ?? false) : true,
    splitsSpans: config.split_spans_for_request ?? false,
    usesW3c: config.trace_context_option === USE_B3_WITH_W3C,
  } as const;
  return { ...fields, key: JSON.stringify(fields) };
}

function legacyCollector(config: ZipkinConfig, scope: Scope): Collector {
  const { collector_cluster: cluster, collector_endpoint: target } = config;
  if (!cluster) scope.at("collector_cluster").fail("must not be empty");
  if (!target) scope.at("collector_endpoint").fail("must not be empty");
  return {
    cluster: cluster ?? "",
    protocol: "http",
    target: target ?? "",
    authority: config.collector_hostname || cluster || "",
    timeoutMs: REPORT_TIMEOUT_MS,
    headers: [],
  };
}

function httpCollector(service: HttpService, scope: Scope): Collector {
  const { uri, cluster, timeout } = service.http_uri ?? {};
  const place = scope.at("http_uri");
  if (!uri) place.at("uri").fail("must not be empty");
  if (!cluster) place.at("cluster").fail("must not be empty");
  if (!timeout) place.at("timeout").fail("is required");
  const parts = /^(?:[a-z]+:\/\/(?<host>[^/]*))?(?<path>.*)$/i.exec(uri ?? "")?.groups;
  return {
    cluster: cluster ?? "",
    protocol: "http",
    target: parts?.["path"] || "/",
    authority: parts?.["host"] || cluster || "",
    timeoutMs: durationToMs(timeout) ?? 0,
    headers: collectorHeaders(service, scope.at("request_headers_to_add")),
  };
}

function collectorHeaders(service: HttpService, scope: Scope): Collector["headers"] {
  return (service.request_headers_to_add ?? []).map(({ header }, i) => {
    const name = (header?.key ?? "").toLowerCase();
    const value = header?.value ?? "";
    if (!/^[!#$%&'*+.^_`|~0-9a-z-]+$/.test(name)) {
      scope.at(i, "header", "key").fail(`must be a header name (found ${JSON.stringify(name)})`);
    }
    if (/[\r\n\0%]/.test(value)) {
      scope.at(i, "header", "value").fail("must not contain line breaks, NUL or %");
    }
    return [name, value] as const;
  });
}

function compileOpenTelemetry(config: OpenTelemetryConfig, scope: Scope): OpenTelemetryTracer {
  if (config.grpc_service && config.http_service) {
    scope.fail("only one of grpc_service, http_service can be set");
  }
  if ((config.resource_detectors ?? []).length > 0) {
    scope.at("resource_detectors").fail("is not supported");
  }
  if (config.sampler) scope.at("sampler").fail("is not supported");
  if (config.exporter) scope.at("exporter").fail("is not supported");
  const isSet = (flag: OpenTelemetryConfig["set_instrumentation_scope"]): boolean =>
    flag ? (flag.value ?? false) : true;
  const fields = {
    kind: "opentelemetry",
    collector: config.http_service
      ? httpCollector(config.http_service, scope.at("http_service"))
      : grpcCollector(config, scope.at("grpc_service")),
    serviceName: config.service_name || DEFAULT_SERVICE_NAME,
    setsServiceName: isSet(config.set_service_name_resource_attribute),
    setsSdkAttributes: isSet(config.set_telemetry_sdk_resource_attributes),
    setsScope: isSet(config.set_instrumentation_scope),
    maxBuffered: config.max_cache_size?.value ?? DEFAULT_MAX_BUFFERED,
  } as const;
  return { ...fields, key: JSON.stringify(fields) };
}

function grpcCollector({ grpc_service: service }: OpenTelemetryConfig, scope: Scope) {
  if (!service) return undefined;
  const cluster = service.envoy_grpc?.cluster_name ?? "";
  if (cluster === "") scope.at("envoy_grpc", "cluster_name").fail("must not be empty");
  return {
    cluster,
    protocol: "grpc",
    target: OTLP_METHOD,
    authority: service.envoy_grpc?.authority || cluster,
    timeoutMs: durationToMs(service.timeout) ?? 0,
    headers: (service.initial_metadata ?? []).map(
      ({ key, value }) => [(key ?? "").toLowerCase(), value ?? ""] as const,
    ),
  } as const;
}
