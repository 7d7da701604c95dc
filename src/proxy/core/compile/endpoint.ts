import {
  type envoy_config_core_v3_Metadata,
  type envoy_config_endpoint_v3_ClusterLoadAssignment,
  type envoy_config_endpoint_v3_LbEndpoint,
  structToJson,
} from "../../../xds/index.ts";
import type {
  EdsHealth,
  EndpointConfig,
  LoadAssignment,
  LocalityConfig,
  PeerInfo,
} from "../runtime-config.ts";
import type { Scope } from "./scope.ts";

/** HealthStatus by number. */
const HEALTH: readonly EdsHealth[] = [
  "UNKNOWN",
  "HEALTHY",
  "UNHEALTHY",
  "DRAINING",
  "TIMEOUT",
  "DEGRADED",
];
const MAX_PRIORITY = 128;
const DEFAULT_OVERPROVISIONING_FACTOR = 140;

/** A cluster of which no endpoints are known. */
export const NO_ENDPOINTS: LoadAssignment = {
  endpoints: [],
  overprovisioningFactor: DEFAULT_OVERPROVISIONING_FACTOR,
};

/** Compiles a ClusterLoadAssignment. `allowNames`: DNS names instead of addresses. */
export function compileEndpoints(
  assignment: envoy_config_endpoint_v3_ClusterLoadAssignment,
  scope: Scope,
  allowNames = false,
): LoadAssignment {
  const endpoints: EndpointConfig[] = [];
  const seen = new Set<string>();
  const factor = assignment.policy?.overprovisioning_factor;
  if (factor && (factor.value ?? 0) < 1) {
    scope.at("policy", "overprovisioning_factor").fail("must be more than 0");
  }
  for (const [i, locality] of (assignment.endpoints ?? []).entries()) {
    const priority = locality.priority ?? 0;
    if (priority > MAX_PRIORITY) {
      scope.at("endpoints", i, "priority").fail(`must be at most ${MAX_PRIORITY}`);
      continue;
    }
    const { region, zone, sub_zone: subZone } = locality.locality ?? {};
    const place: LocalityConfig = {
      key: [region, zone, subZone].map((name) => name ?? "").join("/"),
      weight: locality.load_balancing_weight?.value ?? 0,
    };
    const listScope = scope.at("endpoints", i, "lb_endpoints");
    for (const [j, endpoint] of (locality.lb_endpoints ?? []).entries()) {
      const compiled = compileEndpoint(
        endpoint,
        { priority, locality: place },
        listScope.at(j),
        allowNames,
      );
      // Envoy keeps the first of two endpoints with one address.
      if (compiled === undefined || seen.has(compiled.key)) continue;
      seen.add(compiled.key);
      endpoints.push(compiled);
    }
  }
  return {
    endpoints,
    overprovisioningFactor: factor?.value ?? DEFAULT_OVERPROVISIONING_FACTOR,
  };
}

function compileEndpoint(
  entry: envoy_config_endpoint_v3_LbEndpoint,
  place: Pick<EndpointConfig, "priority" | "locality">,
  scope: Scope,
  allowNames: boolean,
): EndpointConfig | undefined {
  const addressScope = scope.at("endpoint", "address", "socket_address");
  const socket = entry.endpoint?.address?.socket_address;
  const address = socket?.address ?? "";
  const port = socket?.port_value ?? 0;
  if (!socket) {
    addressScope.fail("is required");
    return undefined;
  }
  if (!allowNames && !isIpAddress(address)) {
    addressScope.at("address").fail(`must be an IP address (found ${JSON.stringify(address)})`);
  }
  if (port < 1 || port > 65_535)
    addressScope.at("port_value").fail(`must be 1..65535 (found ${port})`);
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
    ...place,
    edsHealth: HEALTH[entry.health_status ?? 0] ?? "UNKNOWN",
    hostname: entry.endpoint?.hostname || (isIpAddress(address) ? "" : address),
    isCanary: metadataOf(metadata, "envoy.lb")["canary"] === true,
    ...healthCheckOf(entry),
    transportSocketMatch: stringsOf(metadataOf(metadata, "envoy.transport_socket_match")),
    metadata: metadata ?? undefined,
    peer: peerOf(metadataOf(metadata, "istio")),
  };
}

function healthCheckOf({
  endpoint,
}: envoy_config_endpoint_v3_LbEndpoint): Pick<EndpointConfig, "healthCheck"> {
  const config = endpoint?.health_check_config;
  if (!config) return {};
  return {
    healthCheck: {
      port: config.port_value || undefined,
      hostname: config.hostname ?? "",
      isDisabled: config.disable_active_health_check ?? false,
    },
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
