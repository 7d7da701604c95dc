import { type MessageTypes, packAny } from "../../../xds/index.ts";
import type { ProxyNode } from "../proxy-node.ts";
import { type AccessLogs, accessLogField } from "./access-log.ts";

type Filter = MessageTypes["envoy.config.listener.v3.Filter"];
type ListenerFilter = MessageTypes["envoy.config.listener.v3.ListenerFilter"];

/** Finds out where a redirected connection was going. */
export const ORIGINAL_DESTINATION: ListenerFilter = {
  name: "envoy.filters.listener.original_dst",
  typed_config: packAny("envoy.extensions.filters.listener.original_dst.v3.OriginalDst", {}),
};

/** Every address of a pod's family. */
export function wildcardOf({ ipAddress }: Pick<ProxyNode, "ipAddress">): string {
  return ipAddress.includes(":") ? "::" : "0.0.0.0";
}

/** Whether a proxy's connections come redirected, with the destination they had. */
export function isRedirected({ role, interceptionMode }: ProxyNode): boolean {
  return role === "sidecar" && interceptionMode !== "NONE";
}

/** Passes a connection on to a cluster as it is. */
export function tcpTo(cluster: string, accessLogs: AccessLogs): Filter {
  return {
    name: "envoy.filters.network.tcp_proxy",
    typed_config: packAny("envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy", {
      stat_prefix: cluster,
      cluster,
      ...accessLogField(accessLogs),
    }),
  };
}
