import type {
  AccessLogRecord,
  ClusterConfig,
  EndpointConfig,
  PeerInfo,
  TcpConnectionTelemetry,
} from "../config/runtime-config.ts";
import { Histogram } from "../core/histogram.ts";
import { PEER_METADATA_HEADER, parsePeerMetadata, UNKNOWN_PEER } from "../core/peer-metadata.ts";
import type { Series } from "./series.ts";

/** Label combinations beyond this count as one overflow series per reporter. */
const MAX_COMBINATIONS = 5000;
/** Header values remembered per proxy: one per calling workload. */
const MAX_PEERS = 1000;
/** Statuses and flags remembered per peer. */
const MAX_OUTCOMES = 200;
const UNKNOWN = "unknown";
/** Istio's metrics of requests, by name. */
export const REQUEST_METRICS = [
  "istio_requests_total",
  "istio_request_duration_milliseconds",
  "istio_request_bytes",
  "istio_response_bytes",
  "istio_request_messages_total",
  "istio_response_messages_total",
] as const;
const STATUS_LABELS: ReadonlySet<string> = new Set(["response_code", "grpc_response_status"]);
/** Messages are counted while a call goes on: how it ends is no label of theirs. */
const OUTCOME_LABELS: ReadonlySet<string> = new Set([...STATUS_LABELS, "response_flags"]);

type Labels = Readonly<Record<string, string>>;

/** The four request metrics of one label combination. */
interface RequestSeries {
  readonly labels: Labels;
  total: number;
  readonly duration: Histogram;
  readonly requestBytes: Histogram;
  readonly responseBytes: Histogram;
  /** Of gRPC only; shared by the series that differ in their status alone. */
  readonly messages: MessageSeries | undefined;
}

/** The two metrics of the messages in gRPC calls. */
interface MessageSeries {
  readonly labels: Labels;
  request: number;
  response: number;
}

/** The four TCP metrics of one label combination. */
interface TcpSeries {
  readonly labels: Labels;
  opened: number;
  closed: number;
  /** From the client. */
  receivedBytes: number;
  sentBytes: number;
}

/** What the labels of a request depend on besides its peer: status and flags. */
type ByOutcome = Map<number | string, RequestSeries>;

/** A second level of the lookup: identity of the calling side at the destination. */
interface BySource {
  readonly principals: Map<string, Map<PeerInfo, ByOutcome>>;
}

/**
 * Istio's request metrics for both reporters. In steady state a request costs lookups by object
 * identity (cluster, endpoint, peer) and two numbers; labels are built once per combination.
 * Source: Istio, "Istio Standard Metrics".
 */
export class RequestMetrics {
  readonly #self: PeerInfo;
  /** The authority: one series per distinct set of labels. */
  readonly #series = new Map<string, RequestSeries>();
  readonly #messageSeries = new Map<string, MessageSeries>();
  readonly #tcpSeries = new Map<string, TcpSeries>();
  /** The shortcut: a new endpoint or cluster object simply misses once. */
  #byCluster = new WeakMap<ClusterConfig, WeakMap<EndpointConfig | ClusterConfig, BySource>>();
  readonly #withoutCluster: BySource = { principals: new Map() };
  readonly #peers = new Map<string, PeerInfo>();

  constructor(self: PeerInfo) {
    this.#self = self;
  }

  record(record: AccessLogRecord): void {
    const series = this.#lookup(record);
    series.total += 1;
    series.duration.observe(record.durationMs);
    series.requestBytes.observe(record.bytesReceived);
    series.responseBytes.observe(record.bytesSent);
    if (series.messages === undefined || record.grpcMessages === undefined) return;
    series.messages.request += record.grpcMessages.request.count;
    series.messages.response += record.grpcMessages.response.count;
  }

  /** Counts a TCP connection, and what it will carry. */
  tcpConnectionOpened(record: AccessLogRecord): TcpConnectionTelemetry {
    const series = this.#tcpSeriesOf(record);
    series.opened += 1;
    return {
      transferred(receivedBytes, sentBytes) {
        series.receivedBytes += receivedBytes;
        series.sentBytes += sentBytes;
      },
      closed: () => {
        series.closed += 1;
      },
    };
  }

  #tcpSeriesOf(record: AccessLogRecord): TcpSeries {
    const labels: Labels = { ...this.#labels(record), request_protocol: "tcp" };
    const isFull = this.#tcpSeries.size >= MAX_COMBINATIONS;
    const bounded = isFull ? overflow(labels) : labels;
    const key = Object.values(bounded).join("\u0000");
    let series = this.#tcpSeries.get(key);
    if (series === undefined) {
      // Connections have no status.
      const named = Object.entries(bounded).filter(([name]) => !STATUS_LABELS.has(name));
      series = {
        labels: Object.fromEntries(named),
        opened: 0,
        closed: 0,
        receivedBytes: 0,
        sentBytes: 0,
      };
      this.#tcpSeries.set(key, series);
    }
    return series;
  }

  /** Every series, in the order of first use. */
  series(): readonly Series[] {
    const all = [...this.#series.values()];
    const of = (name: string, pick: (series: RequestSeries) => Histogram): Series[] =>
      all.map((s) => ({ name, labels: s.labels, kind: "histogram", histogram: pick(s) }));
    return [
      ...all.map(
        (s): Series => ({
          name: "istio_requests_total",
          labels: s.labels,
          kind: "counter",
          value: s.total,
        }),
      ),
      ...of("istio_request_duration_milliseconds", (s) => s.duration),
      ...of("istio_request_bytes", (s) => s.requestBytes),
      ...of("istio_response_bytes", (s) => s.responseBytes),
      ...this.#messageList("istio_request_messages_total", (s) => s.request),
      ...this.#messageList("istio_response_messages_total", (s) => s.response),
      ...this.#tcpList("istio_tcp_connections_opened_total", (s) => s.opened),
      ...this.#tcpList("istio_tcp_connections_closed_total", (s) => s.closed),
      ...this.#tcpList("istio_tcp_received_bytes_total", (s) => s.receivedBytes),
      ...this.#tcpList("istio_tcp_sent_bytes_total", (s) => s.sentBytes),
    ];
  }

  #messageList(name: string, pick: (series: MessageSeries) => number): Series[] {
    return [...this.#messageSeries.values()].map((series) => ({
      name,
      labels: series.labels,
      kind: "counter",
      value: pick(series),
    }));
  }

  #messagesOf(labels: Labels): MessageSeries | undefined {
    if (labels["request_protocol"] !== "grpc") return undefined;
    const named = Object.entries(labels).filter(([name]) => !OUTCOME_LABELS.has(name));
    const key = named.map(([, value]) => value).join("\u0000");
    let series = this.#messageSeries.get(key);
    if (series === undefined) {
      series = { labels: Object.fromEntries(named), request: 0, response: 0 };
      this.#messageSeries.set(key, series);
    }
    return series;
  }

  #tcpList(name: string, pick: (series: TcpSeries) => number): Series[] {
    return [...this.#tcpSeries.values()].map((series) => ({
      name,
      labels: series.labels,
      kind: "counter",
      value: pick(series),
    }));
  }

  #lookup(record: AccessLogRecord): RequestSeries {
    const outcomes = this.#outcomes(record);
    const key =
      record.responseFlags === "" && !record.isGrpc
        ? record.responseCode
        : `${record.responseCode} ${record.responseFlags} ${record.isGrpc ? grpcStatus(record) : "-"}`;
    let series = outcomes.get(key);
    if (series === undefined) {
      series = this.#seriesOf(this.#labels(record));
      // Applications choose statuses; the shortcut must not grow with them either.
      if (outcomes.size >= MAX_OUTCOMES) outcomes.clear();
      outcomes.set(key, series);
    }
    return series;
  }

  #outcomes(record: AccessLogRecord): ByOutcome {
    const source = this.#bySource(record.upstreamCluster, record.upstreamHost);
    const isInbound = record.direction === "inbound";
    const principal = isInbound
      ? `${record.isMutualTls ? 1 : 0}${record.downstreamPeerPrincipal ?? ""}`
      : "";
    let peers = source.principals.get(principal);
    if (peers === undefined) {
      // A stranger may show any number of principals; the shortcut must not grow with them.
      if (source.principals.size >= MAX_PEERS) source.principals.clear();
      peers = new Map();
      source.principals.set(principal, peers);
    }
    const peer = isInbound ? this.#peerOf(record) : this.#self;
    let outcomes = peers.get(peer);
    if (outcomes === undefined) {
      if (peers.size >= MAX_PEERS) peers.clear();
      outcomes = new Map();
      peers.set(peer, outcomes);
    }
    return outcomes;
  }

  #bySource(cluster: ClusterConfig | undefined, endpoint: EndpointConfig | undefined): BySource {
    if (cluster === undefined) return this.#withoutCluster;
    let endpoints = this.#byCluster.get(cluster);
    if (endpoints === undefined) {
      endpoints = new WeakMap();
      this.#byCluster.set(cluster, endpoints);
    }
    const key = endpoint ?? cluster;
    let source = endpoints.get(key);
    if (source === undefined) {
      source = { principals: new Map() };
      endpoints.set(key, source);
    }
    return source;
  }

  #peerOf(record: AccessLogRecord): PeerInfo {
    if (record.downstreamPeer !== undefined) return record.downstreamPeer;
    const header = record.requestHeader(PEER_METADATA_HEADER);
    if (header === undefined || header === "") return UNKNOWN_PEER;
    const known = this.#peers.get(header);
    if (known !== undefined) return known;
    const peer = parsePeerMetadata(header) ?? UNKNOWN_PEER;
    if (this.#peers.size >= MAX_PEERS) this.#peers.clear();
    this.#peers.set(header, peer);
    return peer;
  }

  #seriesOf(labels: Labels): RequestSeries {
    const isFull = this.#series.size >= MAX_COMBINATIONS;
    const bounded = isFull ? overflow(labels) : labels;
    const key = Object.values(bounded).join("\u0000");
    let series = this.#series.get(key);
    if (series === undefined) {
      series = {
        labels: bounded,
        total: 0,
        duration: new Histogram(),
        requestBytes: new Histogram(),
        responseBytes: new Histogram(),
        messages: this.#messagesOf(bounded),
      };
      this.#series.set(key, series);
    }
    return series;
  }

  #labels(record: AccessLogRecord): Labels {
    const isInbound = record.direction === "inbound";
    const source = isInbound ? this.#peerOf(record) : this.#self;
    const destination = isInbound ? this.#self : (record.upstreamHost?.peer ?? UNKNOWN_PEER);
    const cluster = record.upstreamCluster;
    const hasTls = isInbound
      ? record.isMutualTls
      : record.upstreamHost !== undefined && cluster?.tlsFor(record.upstreamHost) !== undefined;
    const self = hasTls ? this.#self.principal : UNKNOWN;
    const other = isInbound
      ? (record.downstreamPeerPrincipal ?? UNKNOWN)
      : (record.upstreamHost?.peer?.principal ?? UNKNOWN);
    const security = record.isMutualTls ? "mutual_tls" : "none";
    return {
      reporter: isInbound ? "destination" : "source",
      source_workload: source.workload,
      source_canonical_service: source.canonicalService,
      source_canonical_revision: source.canonicalRevision,
      source_workload_namespace: source.namespace,
      source_principal: isInbound ? other : self,
      source_app: source.app,
      source_version: source.version,
      source_cluster: source.cluster,
      destination_workload: destination.workload,
      destination_workload_namespace: destination.namespace,
      destination_principal: isInbound ? self : other,
      destination_app: destination.app,
      destination_version: destination.version,
      destination_service: cluster?.service?.host ?? UNKNOWN,
      destination_canonical_service: destination.canonicalService,
      destination_canonical_revision: destination.canonicalRevision,
      // Without a service the cluster's own name, as Istio does for PassthroughCluster.
      destination_service_name: cluster?.service?.name ?? cluster?.name ?? UNKNOWN,
      destination_service_namespace: cluster?.service?.namespace ?? destination.namespace,
      destination_cluster: destination.cluster,
      request_protocol: record.isGrpc ? "grpc" : "http",
      response_code: String(record.responseCode),
      grpc_response_status: record.isGrpc ? (grpcStatus(record) ?? "") : "",
      response_flags: record.responseFlags || "-",
      connection_security_policy: isInbound ? security : UNKNOWN,
    };
  }
}

function grpcStatus(record: AccessLogRecord): string | undefined {
  const status = record.responseTrailer("grpc-status") ?? record.responseHeader("grpc-status");
  // It comes from the application: anything but a number would grow the metrics without bound.
  return status !== undefined && /^\d{1,2}$/.test(status) ? status : undefined;
}

function overflow(labels: Labels): Labels {
  return Object.fromEntries(
    Object.entries(labels).map(([key, value]) => [key, key === "reporter" ? value : "overflow"]),
  );
}
