import { type MessageTypes, packAny, unpackAny } from "../../../xds/index.ts";
import type { Workload } from "../model-workloads.ts";

type AccessLog = MessageTypes["envoy.config.accesslog.v3.AccessLog"];
type Filter = MessageTypes["envoy.config.listener.v3.Filter"];
type FilterChain = MessageTypes["envoy.config.listener.v3.FilterChain"];
type Listener = MessageTypes["envoy.config.listener.v3.Listener"];
type Tag = MessageTypes["envoy.extensions.access_loggers.stats.v3.Config.Tag"];

const MANAGER = "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager";
const TCP = "envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy";
const STATS = "envoy.extensions.access_loggers.stats.v3.Config";
/** Histogram.Unit */
const UNIT = { BYTES: 1, MILLISECONDS: 3 } as const;
/** TrafficDirection.INBOUND */
const INBOUND = 1;
/** The cluster id of Istio's single-cluster installations. */
const CLUSTER_ID = "Kubernetes";

/** Labels that say who a workload is, without `source_` or `destination_` before them. */
export interface WorkloadTags {
  readonly workload_name: string;
  readonly workload_namespace: string;
  readonly canonical_service: string;
  readonly canonical_revision: string;
  readonly app: string;
  readonly version: string;
}

/** What an endpoint's metadata says of its workload, a key for each label. */
export function workloadTags(workload: Workload): WorkloadTags {
  return {
    workload_name: workload.workloadName,
    workload_namespace: workload.namespace,
    canonical_service: workload.canonicalService,
    canonical_revision: workload.canonicalRevision,
    app: workload.labels["app"] ?? workload.canonicalService,
    version: workload.labels["version"] ?? workload.canonicalRevision,
  };
}

/** What a cluster's metadata says of its service, a key for each label. */
export function serviceTags(service: {
  readonly host: string;
  readonly name: string;
  readonly namespace: string;
}): Readonly<Record<"host" | "service_name" | "service_namespace", string>> {
  const { host, name, namespace } = service;
  return { host, service_name: name, service_namespace: namespace };
}

/**
 * Lets a stock Envoy make Istio's metrics (`envoy_istio_requests_total`, …) of what passes a listener:
 * by access loggers that count, labelled with the own workload, and with what clusters and endpoints
 * say of the other side. What a stock Envoy cannot know (who calls, inbound) stays empty.
 * Source: Envoy, "Stats logger"; Istio, "Standard metrics".
 */
export function withEnvoyStats(listener: Listener, own: Workload | undefined): Listener {
  const side = listener.traffic_direction === INBOUND ? "destination" : "source";
  const tags = side === "destination" ? inboundTags(own) : outboundTags(own);
  const change = (chain: FilterChain): FilterChain => ({
    ...chain,
    filters: (chain.filters ?? []).map((filter) => counted(filter, side, tags)),
  });
  const last = listener.default_filter_chain;
  return {
    ...listener,
    filter_chains: (listener.filter_chains ?? []).map(change),
    ...(last ? { default_filter_chain: change(last) } : {}),
  };
}

type Tags = Readonly<Record<string, string>>;

function counted(filter: Filter, reporter: string, tags: Tags): Filter {
  const manager = unpackAny(MANAGER, filter.typed_config);
  if (manager) {
    const loggers = ["http", "grpc"].map((protocol) => httpStats(reporter, protocol, tags));
    const access_log = [...(manager.access_log ?? []), ...loggers];
    return { ...filter, typed_config: packAny(MANAGER, { ...manager, access_log }) };
  }
  const tcp = unpackAny(TCP, filter.typed_config);
  if (!tcp) return filter;
  const access_log = [...(tcp.access_log ?? []), tcpStats(reporter, tags)];
  return { ...filter, typed_config: packAny(TCP, { ...tcp, access_log }) };
}

function httpStats(reporter: string, protocol: string, tags: Tags): AccessLog {
  const all = tagsOf({
    reporter,
    request_protocol: protocol,
    response_code: "%RESPONSE_CODE%",
    ...(protocol === "grpc" ? { grpc_response_status: "%GRPC_STATUS_NUMBER%" } : {}),
    response_flags: "%RESPONSE_FLAGS%",
    ...tags,
  });
  const stat = (name: string) => ({ name, tags: all });
  const histogram = (name: string, unit: 1 | 3, value_format: string) => ({
    stat: stat(name),
    unit,
    value_format,
  });
  return {
    name: "envoy.access_loggers.stats",
    filter: {
      header_filter: {
        header: {
          name: "content-type",
          string_match: { prefix: "application/grpc" },
          invert_match: protocol !== "grpc",
          treat_missing_header_as_empty: true,
        },
      },
    },
    typed_config: packAny(STATS, {
      stat_prefix: "istio",
      counters: [{ stat: stat("requests_total"), value_fixed: { value: 1 } }],
      histograms: [
        histogram("request_duration_milliseconds", UNIT.MILLISECONDS, "%DURATION%"),
        histogram("request_bytes", UNIT.BYTES, "%BYTES_RECEIVED%"),
        histogram("response_bytes", UNIT.BYTES, "%BYTES_SENT%"),
      ],
    }),
  };
}

/** Counted when a connection ends. */
function tcpStats(reporter: string, tags: Tags): AccessLog {
  const all = tagsOf({
    reporter,
    request_protocol: "tcp",
    response_flags: "%RESPONSE_FLAGS%",
    ...tags,
  });
  const stat = (name: string) => ({ name, tags: all });
  const one = { value_fixed: { value: 1 } };
  return {
    name: "envoy.access_loggers.stats",
    typed_config: packAny(STATS, {
      stat_prefix: "istio",
      counters: [
        { stat: stat("tcp_connections_opened_total"), ...one },
        { stat: stat("tcp_connections_closed_total"), ...one },
        { stat: stat("tcp_sent_bytes_total"), value_format: "%BYTES_SENT%" },
        { stat: stat("tcp_received_bytes_total"), value_format: "%BYTES_RECEIVED%" },
      ],
    }),
  };
}

/** Who calls is this workload; who is called, the endpoint that was chosen says. */
function outboundTags(own: Workload | undefined): Tags {
  const upstream = (key: keyof WorkloadTags): string => `%UPSTREAM_METADATA(istio:${key})%`;
  const service = (key: string): string => `%CLUSTER_METADATA(istio:${key})%`;
  return {
    ...sideTags("source", own === undefined ? undefined : workloadTags(own)),
    source_principal: "%UPSTREAM_LOCAL_URI_SAN%",
    ...sideTags("destination", {
      workload_name: upstream("workload_name"),
      workload_namespace: upstream("workload_namespace"),
      canonical_service: upstream("canonical_service"),
      canonical_revision: upstream("canonical_revision"),
      app: upstream("app"),
      version: upstream("version"),
    }),
    destination_principal: "%UPSTREAM_PEER_URI_SAN%",
    destination_service: service("host"),
    destination_service_name: service("service_name"),
    destination_service_namespace: service("service_namespace"),
    connection_security_policy: "unknown",
  };
}

/** Who is called is this workload; who calls shows only its certificate. */
function inboundTags(own: Workload | undefined): Tags {
  return {
    source_principal: "%DOWNSTREAM_PEER_URI_SAN%",
    ...sideTags("destination", own === undefined ? undefined : workloadTags(own)),
    destination_principal: "%DOWNSTREAM_LOCAL_URI_SAN%",
    destination_service_name: own?.canonicalService ?? "",
    destination_service_namespace: own?.namespace ?? "",
  };
}

function sideTags(side: "source" | "destination", who: WorkloadTags | undefined): Tags {
  if (who === undefined) return {};
  return {
    [`${side}_workload`]: who.workload_name,
    [`${side}_workload_namespace`]: who.workload_namespace,
    [`${side}_canonical_service`]: who.canonical_service,
    [`${side}_canonical_revision`]: who.canonical_revision,
    [`${side}_app`]: who.app,
    [`${side}_version`]: who.version,
    [`${side}_cluster`]: CLUSTER_ID,
  };
}

/** Envoy takes no tag whose format is empty. */
function tagsOf(tags: Tags): Tag[] {
  return Object.entries(tags).flatMap(([name, value_format]) =>
    value_format === "" ? [] : [{ name, value_format }],
  );
}
