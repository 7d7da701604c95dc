import { durationFromMs, type MessageTypes } from "../../../xds/index.ts";
import type { MeshModel } from "../model.ts";
import type { ProxyNode } from "../proxy-node.ts";
import type { AccessLogs } from "./access-log.ts";
import { HTTP_INSPECTOR, type InboundPort, inboundChains, TLS_INSPECTOR } from "./inbound.ts";
import { BLACK_HOLE_CLUSTER, INBOUND_PASSTHROUGH_CLUSTER, inboundClusterName } from "./names.ts";
import { ORIGINAL_DESTINATION, tcpTo, wildcardOf } from "./redirection.ts";

type FilterChain = MessageTypes["envoy.config.listener.v3.FilterChain"];
type Listener = MessageTypes["envoy.config.listener.v3.Listener"];
type ListenerFilter = MessageTypes["envoy.config.listener.v3.ListenerFilter"];
type Predicate = NonNullable<ListenerFilter["filter_disabled"]>;

/** Where `serin init` redirects inbound connections to (istio-init's -z). */
const PORT = 15_006;
/** TrafficDirection.INBOUND */
const INBOUND = 1;

/**
 * The one listener of all redirected inbound connections: a set of chains for each port of the
 * application, and one for whatever other port was asked for. Source: Istio's virtualInbound.
 */
export function virtualInboundListener(
  ports: readonly InboundPort[],
  node: ProxyNode,
  model: MeshModel,
  options: { readonly accessLogs: AccessLogs },
): Listener {
  const declared = ports.map((port) => ({
    number: port.number,
    ...inboundChains({ ...port, cluster: inboundClusterName(port.number) }, node, model, options),
  }));
  const other = inboundChains(
    { number: 0, protocol: "auto", services: [], cluster: INBOUND_PASSTHROUGH_CLUSTER },
    node,
    model,
    options,
  );
  const unlooked = (which: "inspectsTls" | "inspectsHttp"): readonly number[] =>
    declared.filter((each) => !each[which]).map(({ number }) => number);
  return {
    name: "virtualInbound",
    address: { socket_address: { address: wildcardOf(node), port_value: PORT } },
    traffic_direction: INBOUND,
    listener_filters: [
      ORIGINAL_DESTINATION,
      ...(other.inspectsTls || declared.some((each) => each.inspectsTls)
        ? [exceptFor(TLS_INSPECTOR, unlooked("inspectsTls"))]
        : []),
      ...(other.inspectsHttp || declared.some((each) => each.inspectsHttp)
        ? [exceptFor(HTTP_INSPECTOR, unlooked("inspectsHttp"))]
        : []),
    ],
    // Istio: a client that says nothing may be waiting for a server that speaks first.
    listener_filters_timeout: durationFromMs(0),
    continue_on_listener_filters_timeout: true,
    filter_chains: [
      {
        name: "virtualInbound-blackhole",
        filter_chain_match: { destination_port: { value: PORT } },
        filters: [tcpTo(BLACK_HOLE_CLUSTER, [])],
      },
      ...declared.flatMap(({ number, chains }) => chains.map((chain) => atPort(chain, number))),
      ...other.chains.map((chain) => ({ ...chain, name: "virtualInbound-catchall" })),
    ],
  };
}

function atPort(chain: FilterChain, port: number): FilterChain {
  return {
    ...chain,
    name: `0.0.0.0_${port}`,
    filter_chain_match: { ...chain.filter_chain_match, destination_port: { value: port } },
  };
}

/** A listener filter that leaves the connections to some ports alone. */
function exceptFor(filter: ListenerFilter, ports: readonly number[]): ListenerFilter {
  const rules = ports.map(
    (port): Predicate => ({ destination_port_range: { start: port, end: port + 1 } }),
  );
  const [only] = rules;
  if (only === undefined) return filter;
  return { ...filter, filter_disabled: rules.length === 1 ? only : { or_match: { rules } } };
}
