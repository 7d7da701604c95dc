import { assertNever } from "../../../base/index.ts";
import { type MessageTypes, packAny, structFromJson } from "../../../xds/index.ts";
import type { MeshModel } from "../model.ts";
import { keyPairOf, trustedCaOf } from "../model-credentials.ts";
import type { MeshDestinationRule } from "../model-destination-rules.ts";
import type { MeshEndpoint } from "../model-endpoint.ts";
import type { PolicyBlocks, Subset } from "../model-istio.ts";
import type { MeshService, ServicePort } from "../model-services.ts";
import type { MeshView } from "../model-view.ts";
import type { Workload } from "../model-workloads.ts";
import { ADS } from "./config-source.ts";
import { hashingFields } from "./consistent-hash.ts";
import { DNS_CACHE } from "./dns-cache.ts";
import { serviceTags, workloadTags } from "./envoy-stats.ts";
import {
  type ClientPlace,
  type LocalityPolicy,
  localityGroups,
  localityPolicy,
} from "./locality.ts";
import {
  configPath,
  meshServerName,
  outboundClusterName,
  PASSTHROUGH_CLUSTER,
  spiffeId,
} from "./names.ts";
import { policyFields, policyFor } from "./traffic-policy.ts";
import { upstreamTransport } from "./upstream-tls.ts";

type Cluster = MessageTypes["envoy.config.cluster.v3.Cluster"];
type Assignment = MessageTypes["envoy.config.endpoint.v3.ClusterLoadAssignment"];
type LbEndpoint = MessageTypes["envoy.config.endpoint.v3.LbEndpoint"];

/** Cluster.DiscoveryType */
const TYPE = { STATIC: 0, STRICT_DNS: 1, LOGICAL_DNS: 2, EDS: 3, ORIGINAL_DST: 4 } as const;
/** LbPolicy.CLUSTER_PROVIDED */
const CLUSTER_PROVIDED = 6;
const FORWARD_PROXY = "envoy.extensions.clusters.dynamic_forward_proxy.v3.ClusterConfig";
/** Istio's mesh-wide default. */
const DNS_REFRESH = { seconds: 60 };
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

/**
 * The clusters of one service: each port whole, and once per subset of the DestinationRule.
 * `isBound`: connections are not redirected, so that there is no original destination.
 */
export function outboundClusters(
  service: MeshService,
  rule: MeshDestinationRule | undefined,
  model: MeshView,
  isBound: boolean,
): readonly OutboundCluster[] {
  return service.ports.flatMap((port) =>
    [undefined, ...(rule?.subsets ?? [])].map((subset) =>
      outboundCluster(service, port, rule, subset, model, isBound),
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
  model: MeshView,
  isBound: boolean,
): OutboundCluster {
  const name = outboundClusterName(service.host, port.number, subset?.name);
  const policy = policyFor(rule, subset, port.number);
  const common: Cluster = {
    name,
    ...policyFields(policy, port.protocol === "http2"),
    ...hashingFields(policy),
    ...localityFields(policy, model),
    metadata: metadataOf(service, rule, subset, model.client.isEnvoy === true),
  };
  const tls = service.isExternal ? (policy.tls ?? DISABLED) : policy.tls;
  // Never in plain text what was to be encrypted.
  if (lacksCredential(policy.tls, rule, model)) {
    return { name, cluster: emptyCluster(name), assignment: undefined };
  }
  const localities = localityPolicy(policy, model.settings.localityLbSetting, model.client);
  const transport = upstreamTransport(tls, peerOf(service, port, subset, model));
  const endpoints = subsetEndpoints(port, subset);
  switch (service.resolution) {
    case "original":
    case "requested":
      return {
        name,
        cluster: {
          ...common,
          ...passthroughFields(isBound || service.resolution === "requested"),
          ...transport,
        },
        assignment: undefined,
      };
    case "dns":
    case "dnsRoundRobin": {
      const cluster: Cluster = {
        ...common,
        type: service.resolution === "dns" ? TYPE.STRICT_DNS : TYPE.LOGICAL_DNS,
        dns_lookup_family: V4_PREFERRED,
        dns_refresh_rate: DNS_REFRESH,
        respect_dns_ttl: true,
        load_assignment: assignmentOf(name, endpoints, localities, model.client),
        ...transport,
      };
      return { name, cluster, assignment: undefined };
    }
    case "endpoints": {
      if (policy.loadBalancer?.simple === "PASSTHROUGH" && !isBound) {
        return {
          name,
          cluster: { ...common, ...passthroughFields(false), ...transport },
          assignment: undefined,
        };
      }
      const cluster: Cluster = {
        ...common,
        type: TYPE.EDS,
        eds_cluster_config: { eds_config: ADS, service_name: name },
        ...transport,
      };
      return { name, cluster, assignment: assignmentOf(name, endpoints, localities, model.client) };
    }
    default:
      return assertNever(service.resolution);
  }
}

/** Whether a rule's credential is not there for this client: sidecars need a rule that selects them. */
function lacksCredential(
  tls: PolicyBlocks["tls"],
  rule: MeshDestinationRule | undefined,
  { client, credentials }: MeshView,
): boolean {
  const name = tls?.credentialName;
  if (!name || (tls?.mode !== "SIMPLE" && tls?.mode !== "MUTUAL")) return false;
  if (client.role === "sidecar" && rule?.workloadSelector === undefined) return true;
  const needsCa = tls.insecureSkipVerify !== true;
  return (
    (tls.mode === "MUTUAL" && keyPairOf(credentials, client.namespace, name) === undefined) ||
    (needsCa && trustedCaOf(credentials, client.namespace, name) === undefined)
  );
}

const DISABLED = { mode: "DISABLE" } as const;

/** Where traffic goes on to where its client wanted it to. */
function passthroughFields(isByRequest: boolean): Cluster {
  if (!isByRequest) return { type: TYPE.ORIGINAL_DST, lb_policy: CLUSTER_PROVIDED };
  return {
    lb_policy: CLUSTER_PROVIDED,
    cluster_type: {
      name: "envoy.clusters.dynamic_forward_proxy",
      typed_config: packAny(FORWARD_PROXY, { dns_cache_config: DNS_CACHE }),
    },
  };
}

/** What clients get that ask for a host nobody knows, where that is allowed. */
export function passthroughCluster(isBound: boolean): Cluster {
  return {
    name: PASSTHROUGH_CLUSTER,
    connect_timeout: { seconds: 10 },
    ...policyFields({}, false),
    ...passthroughFields(isBound),
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
    host: service.host,
    identities: [
      ...service.serviceAccounts.map((account) => spiffeId(model.trustDomain, account)),
      ...service.subjectAltNames,
    ],
    names: service.subjectAltNames,
    protocol: port.protocol,
  };
}

function metadataOf(
  service: MeshService,
  rule: MeshDestinationRule | undefined,
  subset: Subset | undefined,
  isEnvoy: boolean,
): NonNullable<Cluster["metadata"]> {
  const { host, name, namespace } = service;
  return {
    filter_metadata: {
      istio: structFromJson({
        ...(rule === undefined ? {} : { config: configPath("destination-rule", rule) }),
        services: [{ host, name, namespace }],
        ...(isEnvoy ? serviceTags({ host, name, namespace }) : {}),
        ...(subset === undefined ? {} : { subset: subset.name }),
      }),
    },
  };
}

/** The endpoints of a port that are of a subset, or all of them. */
export function subsetEndpoints(
  port: ServicePort,
  subset: Subset | undefined,
): readonly MeshEndpoint[] {
  return port.endpoints.filter((endpoint) => isOf(subset, endpoint));
}

/** Whether an endpoint has the labels of the subset; an address without labels is in no subset. */
function isOf(subset: Subset | undefined, endpoint: MeshEndpoint): boolean {
  if (subset === undefined) return true;
  const wanted = Object.entries(subset.labels ?? {});
  return wanted.every(([key, value]) => endpoint.labels[key] === value);
}

/** Localities are weighed only where that was asked for: it gets in the way of other balancers. */
function localityFields(policy: PolicyBlocks, view: MeshView): Partial<Cluster> {
  const { kind } = localityPolicy(policy, view.settings.localityLbSetting, view.client);
  if (kind === "none") return {};
  const { common_lb_config } = policyFields(policy, false);
  return { common_lb_config: { ...common_lb_config, locality_weighted_lb_config: {} } };
}

/** Only what is ready; an empty assignment says that there is nothing, and requests get 503 UH. */
export function assignmentOf(
  name: string,
  endpoints: readonly MeshEndpoint[],
  localities: LocalityPolicy,
  place: ClientPlace,
): Assignment {
  const ready = endpoints.filter((endpoint) => endpoint.isReady);
  if (ready.length === 0) return { cluster_name: name };
  return {
    cluster_name: name,
    endpoints: localityGroups(ready, localities, place).map((group) => ({
      locality: {
        ...(group.locality.region === "" ? {} : { region: group.locality.region }),
        ...(group.locality.zone === "" ? {} : { zone: group.locality.zone }),
        ...(group.locality.subZone === "" ? {} : { sub_zone: group.locality.subZone }),
      },
      ...(group.priority === 0 ? {} : { priority: group.priority }),
      load_balancing_weight: { value: group.weight },
      lb_endpoints: group.endpoints.map((each) => lbEndpoint(each, place.isEnvoy === true)),
    })),
  };
}

function lbEndpoint(
  { address, port, workload, weight, takesMutualTls }: MeshEndpoint,
  isEnvoy: boolean,
): LbEndpoint {
  return {
    endpoint: { address: { socket_address: { address, port_value: port } } },
    load_balancing_weight: { value: weight },
    ...(workload === undefined && !takesMutualTls
      ? {}
      : {
          metadata: {
            filter_metadata: {
              ...(takesMutualTls
                ? { "envoy.transport_socket_match": structFromJson({ tlsMode: "istio" }) }
                : {}),
              ...(workload === undefined
                ? {}
                : {
                    istio: structFromJson({
                      ...workloadOf(workload),
                      ...(isEnvoy ? workloadTags(workload) : {}),
                    }),
                  }),
            },
          },
        }),
  };
}

/** A workload in Istio's short form, for the metrics of who calls it. */
function workloadOf(workload: Workload): { readonly workload: string } {
  return {
    workload: [
      workload.workloadName,
      workload.namespace,
      workload.canonicalService,
      workload.canonicalRevision,
      CLUSTER_ID,
    ].join(";"),
  };
}
