import {
  type envoy_config_core_v3_Metadata,
  type envoy_config_endpoint_v3_ClusterLoadAssignment,
  type envoy_config_endpoint_v3_LbEndpoint,
  structToJson,
} from "../../../xds/index.ts";
import type { EndpointConfig, PeerInfo } from "../runtime-config.ts";
import type { Scope } from "./scope.ts";

/** HealthStatus values that take an endpoint out: UNHEALTHY, DRAINING, TIMEOUT. */
const UNHEALTHY = new Set<number>([2, 3, 4]);

/** Compiles a ClusterLoadAssignment to its endpoints. `allowNames`: DNS names instead of addresses. */
export function compileEndpoints(
  assignment: envoy_config_endpoint_v3_ClusterLoadAssignment,
  scope: Scope,
  allowNames = false,
): readonly EndpointConfig[] {
  const endpoints: EndpointConfig[] = [];
  const seen = new Set<string>();
  for (const [i, locality] of (assignment.endpoints ?? []).entries()) {
    const listScope = scope.at("endpoints", i, "lb_endpoints");
    for (const [j, endpoint] of (locality.lb_endpoints ?? []).entries()) {
      const compiled = compileEndpoint(
        endpoint,
        locality.priority ?? 0,
        listScope.at(j),
        allowNames,
      );
      // Envoy keeps the first of two endpoints with one address.
      if (compiled === undefined || seen.has(compiled.key)) continue;
      seen.add(compiled.key);
      endpoints.push(compiled);
    }
  }
  return endpoints;
}

function compileEndpoint(
  entry: envoy_config_endpoint_v3_LbEndpoint,
  priority: number,
  scope: Scope,
  allowNames: boolean,
): EndpointConfig | undefined {
  const place = scope.at("endpoint", "address", "socket_address");
  const socket = entry.endpoint?.address?.socket_address;
  const address = socket?.address ?? "";
  const port = socket?.port_value ?? 0;
  if (!socket) {
    place.fail("is required");
    return undefined;
  }
  if (!allowNames && !isIpAddress(address)) {
    place.at("address").fail(`must be an IP address (found ${JSON.stringify(address)})`);
  }
  if (port < 1 || port > 65_535) place.at("port_value").fail(`must be 1..65535 (found ${port})`);
  const weight = entry.load_balancing_weight;
  if (weight && (weight.value ?? 0) < 1) {
    scope.at("load_balancing_weight").fail("must be at least 1");
  }
  const metadata = entry.metadata;
  return {
    key: address.includes(":") ? `[${address}]:${port}` : `${address}:${port}`,
    address,
    port,
    weight: weight?.value ?? 1,
    priority,
    isHealthy: !UNHEALTHY.has(entry.health_status ?? 0),
    transportSocketMatch: stringsOf(metadataOf(metadata, "envoy.transport_socket_match")),
    peer: peerOf(metadataOf(metadata, "istio")),
  };
}

/** Whether the text is an IPv4 or IPv6 address. */
export function isIpAddress(text: string): boolean {
  const isV4 = /^(?:(?:25[0-5]|2[0-4]\d|1?\d?\d)(?:\.(?!$)|$)){4}$/.test(text);
  return isV4 || (text.includes(":") && /^[0-9a-fA-F:.]+$/.test(text));
}

/** One key of a resource's filter metadata as plain JSON. */
export function metadataOf(
  metadata: envoy_config_core_v3_Metadata | null | undefined,
  key: string,
): Readonly<Record<string, unknown>> {
  return structToJson(metadata?.filter_metadata?.[key]);
}

function stringsOf(json: Readonly<Record<string, unknown>>): Readonly<Record<string, string>> {
  return Object.fromEntries(
    Object.entries(json).flatMap(([key, value]) =>
      typeof value === "string" ? [[key, value]] : [],
    ),
  );
}

/**
 * Istio's short form of a workload in endpoint metadata:
 * `workload;namespace;canonical-service;canonical-revision;cluster`.
 */
function peerOf(istio: Readonly<Record<string, unknown>>): PeerInfo | undefined {
  const workload = istio["workload"];
  if (typeof workload !== "string") return undefined;
  const parts = workload.split(";").map((part) => part || "unknown");
  const [name = "unknown", namespace = "unknown", service = "unknown", revision = "unknown"] =
    parts;
  return {
    workload: name,
    namespace,
    canonicalService: service,
    canonicalRevision: revision,
    app: service,
    version: revision,
    cluster: parts[4] ?? "unknown",
    principal: "unknown",
  };
}
