import { connect, type Socket } from "node:net";
import { type ConnectionOptions, connect as connectTls } from "node:tls";
import type { TcpProxyConfig } from "../config/runtime-config.ts";
import type { ProxyContext } from "../context.ts";
import { pickWeighted } from "../core/route.ts";
import type { Destination } from "../net/original-destination.ts";
import { clientTlsOptions } from "../tls/client-options.ts";
import { localEnd } from "../upstream/upstream-socket.ts";

/**
 * Joins a client's connection to one of a host of the configured cluster: raw bytes both ways, each
 * side's FIN passed on by itself, each side read only as fast as the other takes it. `downstream`
 * must allow half-open connections. `destination`: where it was going, for clusters that pass it on.
 */
export function proxyTcp(
  context: ProxyContext,
  config: TcpProxyConfig,
  downstream: Socket,
  destination?: Destination,
): void {
  const total = config.clusters.reduce((sum, cluster) => sum + cluster.weight, 0);
  const choice = pickWeighted(config.clusters, total, context.random());
  const clusterConfig = choice === undefined ? undefined : context.config.cluster(choice.cluster);
  if (clusterConfig === undefined) {
    downstream.destroy();
    return;
  }
  const cluster = context.clusters.get(context, clusterConfig);
  const host =
    clusterConfig.originalDst === undefined
      ? cluster.pick(undefined, 0)
      : destination && cluster.hostAt(destination);
  if (host === undefined || !cluster.circuit.canConnect) {
    if (host !== undefined) cluster.stats.pendingOverflow.add(1);
    downstream.destroy();
    return;
  }
  const { address, port } = host.endpoint;
  const tls = clusterConfig.tlsFor(host.endpoint);
  const local = localEnd(clusterConfig);
  let upstream: Socket;
  if (tls === undefined) {
    upstream = connect({ host: address, port, allowHalfOpen: true, ...local });
  } else {
    const options: ConnectionOptions & { readonly allowHalfOpen: boolean } = {
      host: address,
      port,
      allowHalfOpen: true,
      ...local,
      ...clientTlsOptions(context.secureContexts, tls, tls.alpnProtocols),
    };
    upstream = connectTls(options);
  }
  cluster.circuit.connections += 1;
  host.activeRequests += 1;
  cluster.stats.connectionsTotal.add(1);
  cluster.stats.connectionsActive.add(1);
  let isConnected = false;
  const cancelConnectTimeout = context.clock.schedule(clusterConfig.connectTimeoutMs, () => {
    if (!isConnected) upstream.destroy();
  });
  upstream.once(tls === undefined ? "connect" : "secureConnect", () => {
    isConnected = true;
    cancelConnectTimeout();
  });
  upstream.once("close", () => {
    cancelConnectTimeout();
    cluster.circuit.connections -= 1;
    host.activeRequests -= 1;
    cluster.stats.connectionsActive.add(-1);
    if (!isConnected) cluster.stats.connectFail.add(1);
  });
  join(downstream, upstream, config.idleTimeoutMs);
}

function join(downstream: Socket, upstream: Socket, idleTimeoutMs: number): void {
  for (const [from, to] of [
    [downstream, upstream],
    [upstream, downstream],
  ] as const) {
    from.setNoDelay(true);
    // `pipe` waits for `drain` and passes on the end; a broken side takes the other with it.
    from.pipe(to);
    from.once("error", () => from.destroy());
    from.once("close", () => {
      if (from.readableEnded) to.destroySoon();
      else to.destroy();
    });
    if (idleTimeoutMs > 0) from.setTimeout(idleTimeoutMs, () => from.destroy());
  }
}
