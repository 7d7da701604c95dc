import {
  type Any,
  CLUSTER_TYPE,
  ENDPOINT_TYPE,
  LISTENER_TYPE,
  packAny,
  type ResourceTypeUrl,
  ROUTE_TYPE,
  toJson,
} from "../xds/index.ts";
import type { Connection } from "./ads-server.ts";
import type { XdsResource } from "./core/xds-resource.ts";

/**
 * What a proxy is meant to have, in the shape of Envoy's /config_dump: of routes and endpoints only
 * what it asks for. Secrets are left out, because they hold keys.
 */
export function expectedDump({ resources, session }: Connection): unknown {
  const wanted = (typeUrl: ResourceTypeUrl): readonly XdsResource[] =>
    [...(resources?.get(typeUrl)?.values() ?? [])].filter(({ name }) =>
      session.asksFor(typeUrl, name),
    );
  const configs: Any[] = [
    packAny("envoy.admin.v3.ClustersConfigDump", {
      dynamic_active_clusters: wanted(CLUSTER_TYPE).map((resource) => ({
        version_info: resource.version,
        cluster: anyOf(resource),
      })),
    }),
    packAny("envoy.admin.v3.ListenersConfigDump", {
      dynamic_listeners: wanted(LISTENER_TYPE).map((resource) => ({
        name: resource.name,
        active_state: { version_info: resource.version, listener: anyOf(resource) },
      })),
    }),
    packAny("envoy.admin.v3.RoutesConfigDump", {
      dynamic_route_configs: wanted(ROUTE_TYPE).map((resource) => ({
        version_info: resource.version,
        route_config: anyOf(resource),
      })),
    }),
    packAny("envoy.admin.v3.EndpointsConfigDump", {
      dynamic_endpoint_configs: wanted(ENDPOINT_TYPE).map((resource) => ({
        version_info: resource.version,
        endpoint_config: anyOf(resource),
      })),
    }),
  ];
  return toJson("envoy.admin.v3.ConfigDump", { configs });
}

function anyOf({ typeUrl, body }: XdsResource): Any {
  return { type_url: typeUrl, value: body };
}
