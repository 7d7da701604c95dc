import { durationFromMs, type MessageTypes, packAny } from "../../../xds/index.ts";
import type { MeshModel } from "../model.ts";
import { tracingOf, type WorkloadTracing } from "../model-telemetry.ts";
import type { TracingProvider } from "../model-tracing-settings.ts";
import type { ProxyNode } from "../proxy-node.ts";
import { outboundClusterName } from "./names.ts";

type Manager =
  MessageTypes["envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"];
/** Fields of a connection manager. */
export type TracingFields = Pick<Manager, "tracing" | "request_id_extension">;
type CustomTag = MessageTypes["envoy.type.tracing.v3.CustomTag"];

/** CollectorEndpointVersion.HTTP_JSON */
const HTTP_JSON = 1;
const REPORT_TIMEOUT_MS = 10_000;

/**
 * The tracing of a proxy's connection manager; nothing where it does not trace. A collector that is no
 * service of the mesh has no cluster, so nothing is traced either.
 */
export function tracingFields(
  model: MeshModel,
  node: Pick<ProxyNode, "namespace" | "labels">,
  direction: "inbound" | "outbound",
): TracingFields {
  const { telemetries, settings, rootNamespace, serviceByHost } = model;
  const found = tracingOf(telemetries, settings.tracing, node, direction, rootNamespace);
  if (found === undefined || !serviceByHost.has(found.provider.host)) return {};
  const { provider, samplingPercent, propagates, usesRequestId } = found;
  return {
    tracing: {
      provider: providerMessage(provider, node),
      client_sampling: { value: 100 },
      random_sampling: { value: samplingPercent },
      overall_sampling: { value: 100 },
      ...(provider.maxTagLength > 0
        ? { max_path_tag_length: { value: provider.maxTagLength } }
        : {}),
      custom_tags: customTags(found),
      ...(propagates ? {} : { no_context_propagation: true }),
    },
    ...(usesRequestId
      ? {}
      : {
          request_id_extension: {
            typed_config: packAny("envoy.extensions.request_id.uuid.v3.UuidRequestIdConfig", {
              use_request_id_for_trace_sampling: { value: false },
            }),
          },
        }),
  };
}

function providerMessage(
  provider: TracingProvider,
  { labels, namespace }: Pick<ProxyNode, "namespace" | "labels">,
) {
  const { host, port, path } = provider;
  const cluster = outboundClusterName(host, port);
  if (provider.kind === "zipkin") {
    return {
      name: "envoy.tracers.zipkin",
      typed_config: packAny("envoy.config.trace.v3.ZipkinConfig", {
        collector_cluster: cluster,
        collector_hostname: `${host}:${port}`,
        collector_endpoint: path ?? "/api/v2/spans",
        collector_endpoint_version: HTTP_JSON,
        trace_id_128bit: !provider.uses64BitIds,
        shared_span_context: { value: false },
      }),
    };
  }
  const app = labels["service.istio.io/canonical-name"] ?? labels["app"] ?? "istio-proxy";
  return {
    name: "envoy.tracers.opentelemetry",
    typed_config: packAny("envoy.config.trace.v3.OpenTelemetryConfig", {
      service_name: `${app}.${namespace}`,
      ...(path === undefined
        ? { grpc_service: { envoy_grpc: { cluster_name: cluster, authority: host } } }
        : {
            http_service: {
              http_uri: {
                uri: `http://${host}:${port}${path}`,
                cluster,
                timeout: durationFromMs(REPORT_TIMEOUT_MS),
              },
            },
          }),
    }),
  };
}

function customTags({ customTags: tags }: WorkloadTracing): CustomTag[] {
  return Object.entries(tags)
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([tag, { literal, environment, header, formatter }]) => ({
      tag,
      ...(literal ? { literal } : {}),
      ...(environment
        ? { environment: { name: environment.name, default_value: environment.defaultValue } }
        : {}),
      ...(header
        ? { request_header: { name: header.name, default_value: header.defaultValue } }
        : {}),
      ...(formatter ? { value: formatter.value } : {}),
    }));
}
