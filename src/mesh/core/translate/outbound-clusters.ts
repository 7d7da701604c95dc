import { type MessageTypes, structFromJson } from "../../../xds/index.ts";
import type { MeshModel } from "../model.ts";
import type { MeshDestinationRule } from "../model-destination-rules.ts";
import type { Subset } from "../model-istio.ts";
import type { MeshEndpoint, MeshService, ServicePort } from "../model-services.ts";
import { ADS } from "./config-source.ts";
import { hashingFields } from "./consistent-hash.ts";
import { configPath, meshServerName, outboundClusterName, spiffeId } from "./names.ts";
import { policyFields, policyFor } from "./traffic-policy.ts";
import { upstreamTransport } from "./upstream-tls.ts";

type Cluster = MessageTypes["envoy.config.cluster.v3.Cluster"];
type Assignment = MessageTypes["envoy.config.endpoint.v3.ClusterLoadAssignment"];
type LbEndpoint = MessageTypes["envoy.config.endpoint.v3.LbEndpoint"];

/** Cluster.DiscoveryType */
const TYPE = { STATIC: 0, STRICT_DNS: 1, EDS: 3 } as const;
/** Cluster.DnsLookupFamily */
const V4_PREFERRED = 3;
/** The cluster id of Istio's single-cluster installations. */
const CLUSTER_ID = "Kubernetes";

/** A cluster with the endpoints it asks EDS for; none when they are inline. */
export interface OutboundCluster {
  readonly name: string;
  readonly cluster: Cluster;
  readonly assignment: Assignment | undefined;
}

/** The clusters of one service: each port whole, and once per subset of the DestinationRule. */
export function outboundClusters(
  service: MeshService,
  rule: MeshDestinationRule | undefined,
  model: MeshModel,
): readonly OutboundCluster[] {
  return service.ports.flatMap((port) =>
    [undefined, ...(rule?.subsets ?? [])].map((subset) =>
      outboundCluster(service, port, rule, subset, model),
    ),
  );
}

/** A cluster that leads nowhere: requests get 503 `no healthy upstream`. */
export function emptyCluster(name: string): Cluster {
  return {
    name,
    type: TYPE.STATIC,
    connect_timeout: { seconds: 10 },
    load_assignment: { cluster_name: name },
  };
}

function outboundCluster(
  service: MeshService,
  port: ServicePort,
  rule: MeshDestinationRule | undefined,
  subset: Subset | undefined,
  model: MeshModel,
): OutboundCluster {
  const name = outboundClusterName(service.host, port.number, subset?.name);
  const policy = policyFor(rule, subset, port.number);
  const common: Cluster = {
    name,
    ...policyFields(policy, port.protocol === "http2"),
    ...hashingFields(policy),
    metadata: metadataOf(service, rule, subset),
  };
  if (service.externalName !== undefined) {
    return {
      name,
      cluster: {
        ...common,
        ...dnsFields(name, service.externalName, port.number),
        // Nobody out there has a sidecar: TLS only as the rule says.
        ...(policy.tls === undefined
          ? {}
          : upstreamTransport(policy.tls, peerOf(service, port, subset, model))),
      },
      assignment: undefined,
    };
  }
  return {
    name,
    cluster: {
      ...common,
      type: TYPE.EDS,
      eds_cluster_config: { eds_config: ADS, service_name: name },
      ...upstreamTransport(policy.tls, peerOf(service, port, subset, model)),
    },
    assignment: assignmentOf(
      name,
      port.endpoints.filter((endpoint) => isOf(subset, endpoint)),
    ),
  };
}

function peerOf(
  service: MeshService,
  port: ServicePort,
  subset: Subset | undefined,
  model: MeshModel,
) {
  return {
    sni: meshServerName(service.host, port.number, subset?.name),
    identities: service.serviceAccounts.map((account) => spiffeId(model.trustDomain, account)),
    protocol: port.protocol,
  };
}

function metadataOf(
  service: MeshService,
  rule: MeshDestinationRule | undefined,
  subset: Subset | undefined,
): NonNullable<Cluster["metadata"]> {
  const { host, name, namespace } = service;
  return {
    filter_metadata: {
      istio: structFromJson({
        ...(rule === undefined ? {} : { config: configPath("destination-rule", rule) }),
        services: [{ host, name, namespace }],
        ...(subset === undefined ? {} : { subset: subset.name }),
      }),
    },
  };
}

function dnsFields(name: string, address: string, port: number): Cluster {
  return {
    type: TYPE.STRICT_DNS,
    dns_lookup_family: V4_PREFERRED,
    load_assignment: {
      cluster_name: name,
      endpoints: [
        {
          lb_endpoints: [
            { endpoint: { address: { socket_address: { address, port_value: port } } } },
          ],
        },
      ],
    },
  };
}

/** Whether an endpoint has the labels of the subset; an address without a pod is in no subset. */
function isOf(subset: Subset | undefined, endpoint: MeshEndpoint): boolean {
  if (subset === undefined) return true;
  const labels = endpoint.workload?.labels;
  const wanted = Object.entries(subset.labels ?? {});
  return wanted.every(([key, value]) => labels?.[key] === value);
}

/** Only what is ready; an empty assignment says that there is nothing, and requests get 503 UH. */
function assignmentOf(name: string, endpoints: readonly MeshEndpoint[]): Assignment {
  const ready = endpoints.filter((endpoint) => endpoint.isReady);
  if (ready.length === 0) return { cluster_name: name };
  return {
    cluster_name: name,
    endpoints: [
      {
        locality: {},
        load_balancing_weight: { value: ready.length },
        lb_endpoints: ready.map(lbEndpoint),
      },
    ],
  };
}

function lbEndpoint({ address, port, workload }: MeshEndpoint): LbEndpoint {
  return {
    endpoint: { address: { socket_address: { address, port_value: port } } },
    load_balancing_weight: { value: 1 },
    ...(workload === undefined
      ? {}
      : {
          metadata: {
            filter_metadata: {
              ...(workload.hasSidecar
                ? { "envoy.transport_socket_match": structFromJson({ tlsMode: "istio" }) }
                : {}),
              istio: structFromJson({
                workload: [
                  workload.workloadName,
                  workload.namespace,
                  workload.canonicalService,
                  workload.canonicalRevision,
                  CLUSTER_ID,
                ].join(";"),
              }),
            },
          },
        }),
  };
}
