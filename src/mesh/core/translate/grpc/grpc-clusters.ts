import { tryParseDurationMs } from "../../../../base/index.ts";
import { durationFromMs, type MessageTypes, packAny } from "../../../../xds/index.ts";
import type { MeshDestinationRule } from "../../model-destination-rules.ts";
import type { OutlierDetection, PolicyBlocks, Subset } from "../../model-istio.ts";
import type { MeshService, ServicePort } from "../../model-services.ts";
import type { MeshView } from "../../model-view.ts";
import { ADS } from "../config-source.ts";
import { hashingFields } from "../consistent-hash.ts";
import { localityPolicy } from "../locality.ts";
import { outboundClusterName, spiffeId } from "../names.ts";
import { assignmentOf, type OutboundCluster, subsetEndpoints } from "../outbound-clusters.ts";
import { policyFields, policyFor } from "../traffic-policy.ts";
import { grpcCertificates } from "./grpc-certificates.ts";

type Cluster = MessageTypes["envoy.config.cluster.v3.Cluster"];

/** Cluster.DiscoveryType */
const TYPE = { LOGICAL_DNS: 2, EDS: 3 } as const;
/** Cluster.LbPolicy */
const ROUND_ROBIN = 0;
const RING_HASH = 2;
const UPSTREAM_TLS = "envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext";
/** Envoy's default of `failure_percentage_threshold`, percent. */
const FAILURE_PERCENT = 85;
/** Istio's default of `consecutive5xxErrors`. */
const DEFAULT_ERRORS = 5;

/**
 * The clusters of one service as gRPC clients take them: balanced by round robin or a ring (they know
 * no other), limited in requests only, and reported on by LRS. Services without endpoints of their
 * own, whose clients decide where to go, have none.
 */
export function grpcClusters(
  service: MeshService,
  rule: MeshDestinationRule | undefined,
  view: MeshView,
): readonly OutboundCluster[] {
  if (!isForGrpc(service)) return [];
  return service.ports.flatMap((port) =>
    [undefined, ...(rule?.subsets ?? [])].map((subset) =>
      grpcCluster(service, port, rule, subset, view),
    ),
  );
}

/** Whether a client without a proxy can find the service's endpoints. */
export function isForGrpc({ resolution, host }: MeshService): boolean {
  return resolution !== "original" && resolution !== "requested" && !host.startsWith("*");
}

/** A cluster that leads nowhere: calls end with UNAVAILABLE. */
export function emptyGrpcCluster(name: string): OutboundCluster {
  return { name, cluster: edsCluster(name, {}), assignment: { cluster_name: name } };
}

function grpcCluster(
  service: MeshService,
  port: ServicePort,
  rule: MeshDestinationRule | undefined,
  subset: Subset | undefined,
  view: MeshView,
): OutboundCluster {
  const name = outboundClusterName(service.host, port.number, subset?.name);
  const policy = policyFor(rule, subset, port.number);
  const mode = policy.tls?.mode ?? "DISABLE";
  // They take certificates from their own bootstrap only. Never in plain text what was to be
  // encrypted.
  if (mode !== "DISABLE" && mode !== "ISTIO_MUTUAL") return emptyGrpcCluster(name);
  const common: Cluster = {
    ...policyOf(policy),
    ...(mode === "ISTIO_MUTUAL" ? { transport_socket: meshTls(policy, service, view) } : {}),
  };
  const endpoints = subsetEndpoints(port, subset);
  const [first] = endpoints;
  if (service.resolution === "endpoints" || first === undefined) {
    const localities = localityPolicy(policy, view.settings.localityLbSetting, view.client);
    // An address that is listed twice makes them refuse the whole list.
    const distinct = new Map(endpoints.map((each) => [`${each.address} ${each.port}`, each]));
    const assignment = assignmentOf(name, [...distinct.values()], localities, view.client);
    return { name, cluster: edsCluster(name, common), assignment };
  }
  const { address, port: number } = first;
  const endpoint = { address: { socket_address: { address, port_value: number } } };
  const cluster: Cluster = {
    name,
    type: TYPE.LOGICAL_DNS,
    ...common,
    load_assignment: { cluster_name: name, endpoints: [{ lb_endpoints: [{ endpoint }] }] },
  };
  return { name, cluster, assignment: undefined };
}

function edsCluster(name: string, common: Cluster): Cluster {
  return {
    name,
    type: TYPE.EDS,
    eds_cluster_config: { eds_config: ADS, service_name: name },
    ...common,
  };
}

function policyOf(policy: PolicyBlocks): Cluster {
  const { connect_timeout, circuit_breakers } = policyFields(policy, true);
  const limit = circuit_breakers?.thresholds?.[0]?.max_requests;
  const { lb_policy, ring_hash_lb_config: ring } = hashingFields(policy);
  const isHashed = lb_policy !== undefined;
  return {
    ...(connect_timeout ? { connect_timeout } : {}),
    // Maglev is unknown to them: a ring keeps the same promise.
    lb_policy: isHashed ? RING_HASH : ROUND_ROBIN,
    ...(isHashed && ring ? { ring_hash_lb_config: ring } : {}),
    ...(limit ? { circuit_breakers: { thresholds: [{ max_requests: limit }] } } : {}),
    ...outlierFields(policy.outlierDetection),
    // What they report of their calls goes to the control plane. Not where hosts may be ejected: the
    // one that reports hides its connections from the one that ejects (grpc-js-xds 1.14).
    ...(policy.outlierDetection === undefined ? { lrs_server: { self: {} } } : {}),
  };
}

/**
 * gRPC clients do not count errors in a row (gRFC A50): "n errors in a row" becomes "of at least n
 * calls in an interval more than 85 % failed".
 */
function outlierFields(outlier: OutlierDetection | undefined): Cluster {
  if (outlier === undefined) return {};
  const errors =
    outlier.consecutive5xxErrors ??
    outlier.consecutiveErrors ??
    outlier.consecutiveGatewayErrors ??
    DEFAULT_ERRORS;
  if (errors <= 0) return {};
  const interval = tryParseDurationMs(outlier.interval ?? "");
  const ejection = tryParseDurationMs(outlier.baseEjectionTime ?? "");
  const maxPercent = outlier.maxEjectionPercent ?? 0;
  return {
    outlier_detection: {
      ...(interval === undefined ? {} : { interval: durationFromMs(interval) }),
      ...(ejection === undefined ? {} : { base_ejection_time: durationFromMs(ejection) }),
      ...(maxPercent > 0 ? { max_ejection_percent: { value: maxPercent } } : {}),
      // Istio never ejects by success rate.
      enforcing_success_rate: { value: 0 },
      enforcing_failure_percentage: { value: 100 },
      failure_percentage_threshold: { value: FAILURE_PERCENT },
      failure_percentage_minimum_hosts: { value: 1 },
      failure_percentage_request_volume: { value: errors },
    },
  };
}

function meshTls({ tls }: PolicyBlocks, service: MeshService, view: MeshView) {
  const given = tls?.subjectAltNames ?? [];
  const accounts = service.serviceAccounts.map((each) => spiffeId(view.trustDomain, each));
  return {
    name: "envoy.transport_sockets.tls",
    typed_config: packAny(UPSTREAM_TLS, {
      common_tls_context: grpcCertificates(given.length > 0 ? given : accounts),
    }),
  };
}
