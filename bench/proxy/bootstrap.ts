import type { Certificates } from "./certificates.ts";

const TYPE = "type.googleapis.com/";
const NETWORK = `${TYPE}envoy.extensions.filters.network`;
const UNLIMITED = 2 ** 32 - 1;

/** One proxy of a scenario; Serin and Envoy get the same text. */
export interface ProxyPlan {
  readonly port: number;
  readonly admin: number;
  readonly upstreams: readonly number[];
  readonly kind: "http" | "tcp";
  /** What the upstreams are spoken to in. */
  readonly upstreamProtocol: "http1" | "http2";
  /** Mutual TLS towards the clients, towards the upstreams, or only a server certificate. */
  readonly downstreamTls: "none" | "server" | "mutual";
  readonly upstreamTls: boolean;
  readonly certificates: Certificates | undefined;
  /** Every filter a sidecar of a busy mesh has, a JSON access log and tracing of one request in a hundred. */
  readonly hasAllFeatures: boolean;
}

/** A bootstrap with one listener; HTTP is split 90/10 where there are two upstreams. Stats on, access log off. */
export function bootstrapOf(plan: ProxyPlan): object {
  const names = plan.upstreams.map((_, i) => (i === 0 ? "primary" : "canary"));
  const network =
    plan.kind === "http" ? httpConnectionManager(names, plan.hasAllFeatures) : tcpProxy();
  return {
    node: { id: "bench", cluster: "bench" },
    admin: { address: address(plan.admin) },
    static_resources: {
      listeners: [
        {
          name: "main",
          address: address(plan.port),
          filter_chains: [
            {
              filters: [{ name: "network", typed_config: network }],
              ...(plan.downstreamTls === "none" ? {} : { transport_socket: downstreamTls(plan) }),
            },
          ],
        },
      ],
      clusters: plan.upstreams.map((port, i) => cluster(names[i] ?? "", port, plan)),
    },
  };
}

function httpConnectionManager(clusters: readonly string[], hasAllFeatures: boolean): object {
  const target =
    clusters.length === 1
      ? { cluster: clusters[0] }
      : {
          weighted_clusters: {
            clusters: clusters.map((name, i) => ({ name, weight: i === 0 ? 90 : 10 })),
          },
        };
  return {
    "@type": `${NETWORK}.http_connection_manager.v3.HttpConnectionManager`,
    stat_prefix: "main",
    http2_protocol_options: { max_concurrent_streams: 1000 },
    // openssl s_time, which counts handshakes, asks in HTTP/1.0.
    http_protocol_options: { accept_http_10: true, default_host_for_http_10: "bench" },
    route_config: {
      name: "main",
      virtual_hosts: [
        {
          name: "all",
          domains: ["*"],
          routes: [{ match: { prefix: "/" }, route: { ...target, timeout: "0s" } }],
        },
      ],
    },
    ...(hasAllFeatures ? { access_log: [accessLog()], tracing: tracing() } : {}),
    http_filters: [
      ...(hasAllFeatures ? filters() : []),
      {
        name: "envoy.filters.http.router",
        typed_config: { "@type": `${TYPE}envoy.extensions.filters.http.router.v3.Router` },
      },
    ],
  };
}

function filters(): readonly object[] {
  const http = `${TYPE}envoy.extensions.filters.http`;
  const percentage = { numerator: 0 };
  const bucket = { max_tokens: 1_000_000_000, tokens_per_fill: 1_000_000_000, fill_interval: "1s" };
  const always = { default_value: { numerator: 100 }, runtime_key: "bench" };
  const anyone = { permissions: [{ any: true }], principals: [{ any: true }] };
  const nobody = { header: { name: "x-blocked", present_match: true } };
  const denied = { permissions: [nobody], principals: [{ any: true }] };
  return [
    { name: "envoy.filters.http.cors", typed_config: { "@type": `${http}.cors.v3.Cors` } },
    {
      name: "deny",
      typed_config: {
        "@type": `${http}.rbac.v3.RBAC`,
        rules: { action: "DENY", policies: { denied } },
      },
    },
    {
      name: "allow",
      typed_config: {
        "@type": `${http}.rbac.v3.RBAC`,
        rules: { action: "ALLOW", policies: { anyone } },
      },
    },
    {
      name: "envoy.filters.http.local_ratelimit",
      typed_config: {
        "@type": `${http}.local_ratelimit.v3.LocalRateLimit`,
        stat_prefix: "bench",
        token_bucket: bucket,
        filter_enabled: always,
        filter_enforced: always,
      },
    },
    {
      name: "envoy.filters.http.fault",
      typed_config: {
        "@type": `${http}.fault.v3.HTTPFault`,
        abort: { http_status: 500, percentage },
      },
    },
  ];
}

/** The fields of the textbook's access log. */
function accessLog(): object {
  const json_format = {
    start_time: "%START_TIME%",
    method: "%REQ(:METHOD)%",
    path: "%REQ(X-ENVOY-ORIGINAL-PATH?:PATH)%",
    protocol: "%PROTOCOL%",
    response_code: "%RESPONSE_CODE%",
    response_flags: "%RESPONSE_FLAGS%",
    bytes_received: "%BYTES_RECEIVED%",
    bytes_sent: "%BYTES_SENT%",
    duration: "%DURATION%",
    request_id: "%REQ(X-REQUEST-ID)%",
    authority: "%REQ(:AUTHORITY)%",
    upstream_host: "%UPSTREAM_HOST%",
    upstream_cluster: "%UPSTREAM_CLUSTER%",
    user_agent: "%REQ(USER-AGENT)%",
  };
  return {
    name: "json",
    typed_config: {
      "@type": `${TYPE}envoy.extensions.access_loggers.file.v3.FileAccessLog`,
      path: "/dev/null",
      log_format: { json_format },
    },
  };
}

function tracing(): object {
  return {
    random_sampling: { value: 1 },
    provider: {
      name: "envoy.tracers.zipkin",
      typed_config: {
        "@type": `${TYPE}envoy.config.trace.v3.ZipkinConfig`,
        collector_cluster: "primary",
        collector_endpoint: "/1k",
        collector_endpoint_version: "HTTP_JSON",
      },
    },
  };
}

function tcpProxy(): object {
  return {
    "@type": `${NETWORK}.tcp_proxy.v3.TcpProxy`,
    stat_prefix: "main",
    cluster: "primary",
  };
}

function cluster(name: string, port: number, plan: ProxyPlan): object {
  const http2 = {
    typed_extension_protocol_options: {
      "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
        "@type": `${TYPE}envoy.extensions.upstreams.http.v3.HttpProtocolOptions`,
        explicit_http_config: { http2_protocol_options: { max_concurrent_streams: 1000 } },
      },
    },
  };
  return {
    name,
    type: "STATIC",
    connect_timeout: "5s",
    lb_policy: "LEAST_REQUEST",
    circuit_breakers: {
      thresholds: [
        {
          max_connections: UNLIMITED,
          max_pending_requests: UNLIMITED,
          max_requests: UNLIMITED,
          max_retries: 3,
        },
      ],
    },
    load_assignment: {
      cluster_name: name,
      endpoints: [{ lb_endpoints: [{ endpoint: { address: address(port) } }] }],
    },
    ...(plan.upstreamProtocol === "http2" ? http2 : {}),
    ...(plan.upstreamTls ? { transport_socket: upstreamTls(plan) } : {}),
  };
}

function commonTls({ certificates, upstreamProtocol }: ProxyPlan, isVerifying: boolean): object {
  const inline = (text: string | undefined) => ({ inline_string: text ?? "" });
  return {
    alpn_protocols: upstreamProtocol === "http2" ? ["h2"] : ["h2", "http/1.1"],
    tls_certificates: [
      {
        certificate_chain: inline(certificates?.certificate),
        private_key: inline(certificates?.key),
      },
    ],
    ...(isVerifying ? { validation_context: { trusted_ca: inline(certificates?.ca) } } : {}),
  };
}

function downstreamTls(plan: ProxyPlan): object {
  const isMutual = plan.downstreamTls === "mutual";
  return {
    name: "envoy.transport_sockets.tls",
    typed_config: {
      "@type": `${TYPE}envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext`,
      require_client_certificate: isMutual,
      common_tls_context: commonTls({ ...plan, upstreamProtocol: "http1" }, isMutual),
    },
  };
}

function upstreamTls(plan: ProxyPlan): object {
  const common = commonTls(plan, true);
  const alpn = plan.upstreamProtocol === "http2" ? ["h2"] : ["http/1.1"];
  return {
    name: "envoy.transport_sockets.tls",
    typed_config: {
      "@type": `${TYPE}envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext`,
      common_tls_context: { ...common, alpn_protocols: alpn },
    },
  };
}

function address(port: number): object {
  return { socket_address: { address: "127.0.0.1", port_value: port } };
}
