import { connect, type Socket } from "node:net";
import { connect as connectTls } from "node:tls";
import type { ClusterConfig, EndpointConfig } from "../../config/runtime-config.ts";
import type { ProxyContext } from "../../context.ts";
import type { HealthCheckConfig, ProbeResult } from "../../core/health-check.ts";
import { clientTlsOptions } from "../../tls/client-options.ts";
import { isHttp2Protocol } from "../upstream-socket.ts";

/** Asks one host how it is, one question at a time. */
export interface Probe {
  /** `onResult` is called once, later, unless `abandon` or `close` comes first. */
  check(onResult: (result: ProbeResult) => void): void;
  /** Time is up: the connection is given up. */
  abandon(): void;
  close(): void;
}

/** What a probe needs to reach its host. */
export interface ProbeTarget {
  readonly context: ProxyContext;
  readonly cluster: ClusterConfig;
  readonly endpoint: EndpointConfig;
  readonly config: HealthCheckConfig;
}

/** Opens a connection as requests would have it. Throws for unusable TLS material. */
export function connectProbe(
  target: ProbeTarget,
  onConnected: () => void,
  http: "http1" | "http2" = "http1",
): Socket {
  const { context, cluster, endpoint, config } = target;
  const port = config.altPort ?? endpoint.healthCheck?.port ?? endpoint.port;
  const place = { host: endpoint.address, port };
  const tls = cluster.tlsFor(endpoint);
  if (tls === undefined) return connect(place, onConnected);
  const offered = config.alpnProtocols.length > 0 ? config.alpnProtocols : tls.alpnProtocols;
  const wanted = offered.filter((name) => isHttp2Protocol(name) === (http === "http2"));
  const protocols = http === "http2" && wanted.length === 0 ? ["h2"] : wanted;
  const options = clientTlsOptions(context.secureContexts, tls, protocols);
  return connectTls({ ...place, ...options }, onConnected);
}
