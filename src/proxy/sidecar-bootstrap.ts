import { readFileSync } from "node:fs";
import { SerinError } from "../base/index.ts";
import { packAny, structFromJson } from "../xds/index.ts";
import { type Bootstrap, invalid } from "./config/bootstrap.ts";

const DEFAULT_XDS_ADDRESS = "127.0.0.1:15010";
const ADMIN_PORT = 15000;
const XDS_CLUSTER = "xds-grpc";

type Env = Readonly<Record<string, string | undefined>>;

/**
 * The bootstrap of an injected pod, from its environment: POD_NAME, POD_NAMESPACE, POD_IP,
 * SERVICE_ACCOUNT, ISTIO_META_* (node metadata, JSON where it parses as an object or list),
 * SERIN_XDS_ADDRESS (host:port), SERIN_XDS_CA_PATH (TLS, and which authorities it believes; without it
 * plaintext), SERIN_TOKEN_PATH, and SERIN_PROXY_ROLE (`sidecar` or `router`).
 * Throws SERIN_INVALID_BOOTSTRAP naming the variables that are missing or wrong.
 */
export function sidecarBootstrap(env: Env): Bootstrap {
  const pod = podOf(env);
  const xds = addressOf(env["SERIN_XDS_ADDRESS"] || DEFAULT_XDS_ADDRESS);
  const metadata = nodeMetadata(env, pod);
  const app = (metadata["LABELS"] as Readonly<Record<string, unknown>>)["app"];
  const role = env["SERIN_PROXY_ROLE"] || "sidecar";
  const domain = `${pod.namespace}.svc.cluster.local`;
  const grpcService = {
    envoy_grpc: { cluster_name: XDS_CLUSTER },
    initial_metadata: authorization(env["SERIN_TOKEN_PATH"]),
  };
  const ads = { ads: {}, resource_api_version: 2 } as const;
  return {
    node: {
      id: `${role}~${pod.ip}~${pod.name}.${pod.namespace}~${domain}`,
      cluster: `${typeof app === "string" ? app : pod.name}.${pod.namespace}`,
      metadata: structFromJson(metadata),
    },
    admin: { address: { socket_address: { address: adminAddress(pod), port_value: ADMIN_PORT } } },
    dynamic_resources: {
      ads_config: { api_type: 3, transport_api_version: 2, grpc_services: [grpcService] },
      cds_config: ads,
      lds_config: ads,
    },
    static_resources: { clusters: [xdsCluster(xds, env["SERIN_XDS_CA_PATH"])] },
    stats_sinks: [
      {
        name: "envoy.stat_sinks.metrics_service",
        typed_config: packAny("envoy.config.metrics.v3.MetricsServiceConfig", {
          grpc_service: grpcService,
          transport_api_version: 2,
          emit_tags_as_labels: true,
        }),
      },
    ],
    stats_flush_interval: { seconds: 1 },
  };
}

interface Pod {
  readonly name: string;
  readonly namespace: string;
  readonly ip: string;
}

function podOf(env: Env): Pod {
  const issues = (["POD_NAME", "POD_NAMESPACE", "POD_IP"] as const)
    .filter((name) => !env[name])
    .map((name) => ({ path: name, message: "the environment variable is not set" }));
  if (issues.length > 0) throw invalid(issues);
  return {
    name: env["POD_NAME"] ?? "",
    namespace: env["POD_NAMESPACE"] ?? "",
    ip: env["POD_IP"] ?? "",
  };
}

/**
 * The admin interface is for the pod alone: on its loopback, which on a loopback network, where many
 * pods share it, is the pod's own address.
 */
function adminAddress({ ip }: Pod): string {
  if (ip.startsWith("127.")) return ip;
  return ip.includes(":") ? "::1" : "127.0.0.1";
}

/** Istio's node metadata: what the control plane scopes configuration by, and telemetry labels. */
function nodeMetadata(env: Env, pod: Pod): Readonly<Record<string, unknown>> {
  const extra: Record<string, unknown> = {};
  for (const [name, value] of Object.entries(env)) {
    if (!name.startsWith("ISTIO_META_") || value === undefined) continue;
    extra[name.slice("ISTIO_META_".length)] = jsonOrText(value);
  }
  const labels = extra["LABELS"];
  return {
    NAME: pod.name,
    NAMESPACE: pod.namespace,
    INSTANCE_IPS: pod.ip,
    SERVICE_ACCOUNT: env["SERVICE_ACCOUNT"] || "default",
    WORKLOAD_NAME: workloadOf(pod.name),
    CLUSTER_ID: "Kubernetes",
    INTERCEPTION_MODE: "NONE",
    HTTP_PROXY_PORT: "15001",
    ...extra,
    LABELS: typeof labels === "object" && labels !== null ? labels : {},
  };
}

/** Objects and lists are JSON; anything else (`15001`, `true`) stays text, as Istio's metadata is. */
function jsonOrText(value: string): unknown {
  if (!/^\s*[[{]/.test(value)) return value;
  try {
    return JSON.parse(value);
  } catch {
    return value;
  }
}

/** `reviews-v1-7d5b8c-x2x9z` is a pod of the Deployment `reviews-v1`. */
function workloadOf(podName: string): string {
  return /^(.+)-[a-z0-9]{6,10}-[a-z0-9]{5}$/.exec(podName)?.[1] ?? podName;
}

function addressOf(text: string): { readonly host: string; readonly port: number } {
  const match = /^(.+):(\d{1,5})$/.exec(text);
  const port = Number(match?.[2]);
  if (match === null || port < 1 || port > 65_535) {
    throw invalid([{ path: "SERIN_XDS_ADDRESS", message: `must be host:port (found ${text})` }]);
  }
  return { host: (match[1] ?? "").replace(/^\[|\]$/g, ""), port };
}

/**
 * The pod's token as a bearer. The value is an accessor: a projected token is rotated by the
 * kubelet, and every new stream must send the one that is valid then.
 */
function authorization(path: string | undefined) {
  if (!path) return [];
  const read = (): string => {
    try {
      return `Bearer ${readFileSync(path, "utf8").trim()}`;
    } catch (error) {
      throw new SerinError("SERIN_INVALID_BOOTSTRAP", `SERIN_TOKEN_PATH: cannot read ${path}`, {
        source: "caller",
        cause: error,
      });
    }
  };
  // Fails early when the path is wrong.
  read();
  return [
    {
      key: "authorization",
      get value() {
        return read();
      },
    },
  ];
}

function xdsCluster(
  xds: { readonly host: string; readonly port: number },
  caPath: string | undefined,
) {
  const isIp = /^[\d.]+$/.test(xds.host) || xds.host.includes(":");
  const address = { socket_address: { address: xds.host, port_value: xds.port } };
  return {
    name: XDS_CLUSTER,
    // Cluster.DiscoveryType: 0 STATIC, 1 STRICT_DNS
    type: isIp ? (0 as const) : (1 as const),
    connect_timeout: { seconds: 1 },
    ...(caPath ? { transport_socket: tlsSocket(isIp ? "" : xds.host, caPath) } : {}),
    typed_extension_protocol_options: {
      "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": packAny(
        "envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
        { explicit_http_config: { http2_protocol_options: {} } },
      ),
    },
    load_assignment: {
      cluster_name: XDS_CLUSTER,
      endpoints: [{ lb_endpoints: [{ endpoint: { address } }] }],
    },
  };
}

/** TLS to a server that these authorities know, by the name it is reached under. */
function tlsSocket(sni: string, caPath: string) {
  return {
    name: "envoy.transport_sockets.tls",
    typed_config: packAny("envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext", {
      sni,
      common_tls_context: {
        alpn_protocols: ["h2"],
        validation_context: { trusted_ca: { filename: caPath } },
      },
    }),
  };
}
