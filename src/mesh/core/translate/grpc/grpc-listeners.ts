import { type MessageTypes, packAny } from "../../../../xds/index.ts";
import type { MeshModel } from "../../model.ts";
import { mutualTlsModeOf } from "../../model-peer-authentication.ts";
import { policiesFor } from "../../model-security.ts";
import type { MeshService } from "../../model-services.ts";
import type { MeshView } from "../../model-view.ts";
import type { ProxyNode } from "../../proxy-node.ts";
import { httpAuthorization } from "../authorization.ts";
import { ADS } from "../config-source.ts";
import { inboundPorts } from "../inbound.ts";
import { outboundClusterName } from "../names.ts";
import { FAULT_FILTER } from "../route-action.ts";
import { grpcCertificates } from "./grpc-certificates.ts";
import { isForGrpc } from "./grpc-clusters.ts";

type FilterChain = MessageTypes["envoy.config.listener.v3.FilterChain"];
type HttpFilter =
  MessageTypes["envoy.extensions.filters.network.http_connection_manager.v3.HttpFilter"];
type Listener = MessageTypes["envoy.config.listener.v3.Listener"];
type RouteConfiguration = MessageTypes["envoy.config.route.v3.RouteConfiguration"];

const MANAGER = "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager";
const DOWNSTREAM_TLS = "envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext";
/** What a server asks for: `xds.istio.io/grpc/lds/inbound/0.0.0.0:7070` (Istio's bootstrap). */
const SERVER_PREFIX = "xds.istio.io/grpc/lds/inbound/";
/** TrafficDirection.INBOUND */
const INBOUND = 1;

const FAULTS: HttpFilter = {
  name: FAULT_FILTER,
  typed_config: packAny("envoy.extensions.filters.http.fault.v3.HTTPFault", {}),
};
const ROUTER: HttpFilter = {
  name: "envoy.filters.http.router",
  typed_config: packAny("envoy.extensions.filters.http.router.v3.Router", {}),
};

/**
 * What channels ask for: `host:port` of `xds:///host:port`, of every service, under each name that
 * its clients may use.
 */
export function grpcListeners(view: MeshView, namespace: string): readonly Listener[] {
  return view.services.filter(isForGrpc).flatMap((service) =>
    service.ports.flatMap(({ number }) =>
      namesOf(service, namespace).map((name): Listener => {
        const route_config_name = outboundClusterName(service.host, number);
        return {
          name: `${name}:${number}`,
          api_listener: {
            api_listener: packAny(MANAGER, {
              stat_prefix: route_config_name,
              rds: { config_source: ADS, route_config_name },
              http_filters: [FAULTS, ROUTER],
            }),
          },
        };
      }),
    ),
  );
}

function namesOf({ host, name, namespace, isEntry }: MeshService, clientNamespace: string) {
  if (isEntry) return [host];
  const names = [host, `${name}.${namespace}.svc`, `${name}.${namespace}`];
  return namespace === clientNamespace ? [...names, name] : names;
}

/**
 * What a gRPC server asks for: a listener of each port of its pod, however it names the address. It
 * takes mutual TLS where PeerAuthentication is STRICT, else plain text: gRPC cannot take both.
 */
export function grpcServerListeners(view: MeshView, node: ProxyNode): readonly Listener[] {
  const pod = view.workloads.get(`${node.namespace}/${node.name}`);
  const workload = { namespace: node.namespace, labels: pod?.labels ?? node.labels };
  return inboundPorts(view, node).flatMap(({ number }) => {
    const chain = serverChain(view, workload, number);
    return [...new Set(["0.0.0.0", "::", node.ipAddress])].map(
      (address): Listener => ({
        name: `${SERVER_PREFIX}${address.includes(":") ? `[${address}]` : address}:${number}`,
        address: { socket_address: { address, port_value: number } },
        traffic_direction: INBOUND,
        filter_chains: [chain],
      }),
    );
  });
}

function serverChain(
  model: MeshModel,
  workload: Pick<ProxyNode, "namespace" | "labels">,
  port: number,
): FilterChain {
  const { peerAuthentications, authorizationPolicies, rootNamespace, trustDomain } = model;
  const mode = mutualTlsModeOf(peerAuthentications, workload, port, rootNamespace);
  const policies = policiesFor(authorizationPolicies, workload, rootNamespace);
  const name = mode === "STRICT" ? "inbound-mtls" : "inbound-plaintext";
  const enforced = policies.filter(({ isDryRun }) => !isDryRun);
  // Each needs a name of its own. A server that does not know them refuses the listener, rather
  // than let everybody in.
  const filters = httpAuthorization(enforced, trustDomain).map((filter, i) => ({
    ...filter,
    name: `${filter.name}.${i}`,
  }));
  return {
    name,
    filters: [
      {
        name,
        typed_config: packAny(MANAGER, {
          stat_prefix: name,
          route_config: acceptAll(name),
          http_filters: [...filters, ROUTER],
        }),
      },
    ],
    ...(mode === "STRICT"
      ? {
          transport_socket: {
            name: "envoy.transport_sockets.tls",
            typed_config: packAny(DOWNSTREAM_TLS, {
              require_client_certificate: { value: true },
              common_tls_context: grpcCertificates([]),
            }),
          },
        }
      : {}),
  };
}

function acceptAll(name: string): RouteConfiguration {
  const routes = [{ match: { prefix: "/" }, non_forwarding_action: {} }];
  return { name, virtual_hosts: [{ name, domains: ["*"], routes }] };
}
