import type { MessageTypes } from "../../../xds/index.ts";
import type { MeshModel } from "../model.ts";
import type { ProxyNode } from "../proxy-node.ts";
import type { AccessLogs } from "./access-log.ts";
import { connectionManager } from "./connection-manager.ts";
import { HTTP_PROXY_ROUTE } from "./names.ts";
import { tracingFields } from "./tracing.ts";

type Listener = MessageTypes["envoy.config.listener.v3.Listener"];

/** TrafficDirection.OUTBOUND */
const OUTBOUND = 2;

/**
 * The outbound HTTP proxy of a pod, `<pod IP>_15001`: it takes absolute-form requests (and plain
 * ones by their Host) and routes them by `http_proxy`.
 */
export function httpProxyListener(
  node: ProxyNode,
  port: number,
  options: { readonly accessLogs: AccessLogs },
  model: MeshModel,
): Listener {
  return {
    name: `${node.ipAddress}_${port}`,
    address: { socket_address: { address: node.ipAddress, port_value: port } },
    traffic_direction: OUTBOUND,
    filter_chains: [
      {
        filters: [
          connectionManager({
            statPrefix: `outbound_${node.ipAddress}_${port}`,
            direction: "outbound",
            routes: HTTP_PROXY_ROUTE,
            accessLogs: options.accessLogs,
            tracing: tracingFields(model, node, "outbound"),
            takesAnyHost: true,
            pathNormalization: model.settings.pathNormalization,
          }),
        ],
      },
    ],
  };
}
