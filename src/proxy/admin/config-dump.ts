import {
  type Any,
  CLUSTER_TYPE,
  decode,
  ENDPOINT_TYPE,
  type envoy_admin_v3_UpdateFailureState,
  packAny,
  ROUTE_TYPE,
  toJson,
  unpackAny,
} from "../../xds/index.ts";
import type { Bootstrap } from "../config/bootstrap.ts";
import type { Accepted, ConfigStore, Slot } from "../xds/config-store.ts";
import type { RejectedResource } from "../xds/resource.ts";

const MANAGER = "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager";
const REDACTED = Buffer.from("[redacted]").toString("base64");

/** Envoy's /config_dump: bootstrap, clusters, listeners, routes, endpoints, secrets without keys. */
export function configDump(bootstrap: Bootstrap, startedMs: number, store: ConfigStore): unknown {
  const configs: Any[] = [
    packAny("envoy.admin.v3.BootstrapConfigDump", {
      bootstrap: bootstrap,
      last_updated: timestamp(startedMs),
    }),
    clustersDump(store),
    listenersDump(store),
    routesDump(store),
    endpointsDump(store),
    secretsDump(store),
  ];
  return redact(toJson("envoy.admin.v3.ConfigDump", { configs }));
}

function clustersDump(store: ConfigStore): Any {
  const slots = [...store.clusters.values()];
  const dynamic = (entry: Accepted<unknown>, slot: Slot<unknown, unknown>) => ({
    version_info: entry.resource.version,
    cluster: entry.resource.any,
    last_updated: timestamp(entry.updatedMs),
    ...errorState(slot.rejected),
  });
  return packAny("envoy.admin.v3.ClustersConfigDump", {
    version_info: latestVersion(slots),
    static_clusters: slots.flatMap((slot) =>
      slot.active?.isStatic === true
        ? [{ cluster: slot.active.resource.any, last_updated: timestamp(slot.active.updatedMs) }]
        : [],
    ),
    dynamic_active_clusters: slots.flatMap((slot) =>
      slot.active === undefined || slot.active.isStatic ? [] : [dynamic(slot.active, slot)],
    ),
    dynamic_warming_clusters: slots.flatMap((slot) =>
      slot.warming === undefined ? [] : [dynamic(slot.warming, slot)],
    ),
  });
}

function listenersDump(store: ConfigStore): Any {
  const slots = [...store.listeners.entries()];
  const state = (entry: Accepted<unknown> | undefined) =>
    entry && {
      version_info: entry.resource.version,
      listener: entry.resource.any,
      last_updated: timestamp(entry.updatedMs),
    };
  return packAny("envoy.admin.v3.ListenersConfigDump", {
    version_info: latestVersion(slots.map(([, slot]) => slot)),
    static_listeners: slots.flatMap(([, slot]) =>
      slot.active?.isStatic === true
        ? [{ listener: slot.active.resource.any, last_updated: timestamp(slot.active.updatedMs) }]
        : [],
    ),
    dynamic_listeners: slots.flatMap(([name, slot]) =>
      slot.active?.isStatic === true
        ? []
        : [
            {
              name,
              active_state: state(slot.active),
              warming_state: state(slot.warming),
              ...errorState(slot.rejected),
            },
          ],
    ),
  });
}

function routesDump(store: ConfigStore): Any {
  return packAny("envoy.admin.v3.RoutesConfigDump", {
    static_route_configs: [...store.listeners.values()].flatMap((slot) =>
      slot.active === undefined ? [] : inlineRoutes(slot.active),
    ),
    dynamic_route_configs: [...store.routes.values()].map((entry) => ({
      version_info: entry.resource.version,
      route_config: entry.resource.any,
      last_updated: timestamp(entry.updatedMs),
      ...errorState(store.rejected.get(`${ROUTE_TYPE} ${entry.resource.name}`)),
    })),
  });
}

/** Route configurations that stand in a listener itself. */
function inlineRoutes(entry: Accepted<unknown>) {
  const bytes = entry.resource.any.value ?? new Uint8Array(0);
  const listener = decode("envoy.config.listener.v3.Listener", bytes);
  const chains = [...(listener.filter_chains ?? []), listener.default_filter_chain ?? {}];
  return chains
    .flatMap((chain) => chain.filters ?? [])
    .flatMap((filter) => {
      const inline = unpackAny(MANAGER, filter.typed_config)?.route_config;
      if (!inline) return [];
      return [
        {
          route_config: packAny("envoy.config.route.v3.RouteConfiguration", inline),
          last_updated: timestamp(entry.updatedMs),
        },
      ];
    });
}

function endpointsDump(store: ConfigStore): Any {
  return packAny("envoy.admin.v3.EndpointsConfigDump", {
    dynamic_endpoint_configs: [...store.endpoints.values()].map((entry) => ({
      version_info: entry.resource.version,
      endpoint_config: entry.resource.any,
      last_updated: timestamp(entry.updatedMs),
      ...errorState(store.rejected.get(`${ENDPOINT_TYPE} ${entry.resource.name}`)),
    })),
    static_endpoint_configs: [...store.clusters.values()].flatMap((slot) => {
      const cluster = slot.active?.resource.any;
      if (cluster?.type_url !== CLUSTER_TYPE) return [];
      const assignment = decode(
        "envoy.config.cluster.v3.Cluster",
        cluster.value ?? new Uint8Array(0),
      ).load_assignment;
      return assignment
        ? [
            {
              endpoint_config: packAny(
                "envoy.config.endpoint.v3.ClusterLoadAssignment",
                assignment,
              ),
            },
          ]
        : [];
    }),
  });
}

function secretsDump(store: ConfigStore): Any {
  const entries = [...store.secrets.values()];
  return packAny("envoy.admin.v3.SecretsConfigDump", {
    static_secrets: entries
      .filter((entry) => entry.isStatic)
      .map((entry) => ({
        name: entry.resource.name,
        last_updated: timestamp(entry.updatedMs),
        secret: entry.resource.any,
      })),
    dynamic_active_secrets: entries
      .filter((entry) => !entry.isStatic)
      .map((entry) => ({
        name: entry.resource.name,
        version_info: entry.resource.version,
        last_updated: timestamp(entry.updatedMs),
        secret: entry.resource.any,
      })),
  });
}

/** Private keys and bearer tokens do not belong into a dump, wherever they are nested. */
function redact(json: unknown): unknown {
  if (Array.isArray(json)) return json.map(redact);
  if (typeof json !== "object" || json === null) return json;
  return Object.fromEntries(
    Object.entries(json).map(([key, value]) => {
      if (key === "private_key") return [key, { inline_bytes: REDACTED }];
      if (key === "initial_metadata") return [key, (value as unknown[]).map(withoutValue)];
      return [key, redact(value)];
    }),
  );
}

function withoutValue(header: unknown): unknown {
  return { ...(header as object), value: "[redacted]" };
}

function latestVersion(slots: readonly Slot<unknown, unknown>[]): string {
  let latest: Accepted<unknown> | undefined;
  for (const slot of slots) {
    const entry = slot.warming ?? slot.active;
    if (entry === undefined || entry.isStatic) continue;
    if (latest === undefined || entry.updatedMs >= latest.updatedMs) latest = entry;
  }
  return latest?.resource.version ?? "";
}

function errorState(
  rejected: RejectedResource | undefined,
): { error_state: envoy_admin_v3_UpdateFailureState } | undefined {
  if (rejected === undefined) return undefined;
  return {
    error_state: {
      failed_configuration: rejected.any,
      details: rejected.message,
      version_info: rejected.version,
    },
  };
}

function timestamp(epochMs: number) {
  const seconds = Math.floor(epochMs / 1000);
  return { seconds, nanos: Math.round((epochMs - seconds * 1000) * 1e6) };
}
