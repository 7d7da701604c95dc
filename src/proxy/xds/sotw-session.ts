import {
  type Any,
  CLUSTER_TYPE,
  decode,
  ENDPOINT_TYPE,
  encode,
  LISTENER_TYPE,
  type ResourceTypeUrl,
  ROUTE_TYPE,
  SECRET_TYPE,
  XDS_TYPES,
} from "../../xds/index.ts";
import type { SessionOptions } from "./delta-session.ts";
import type { WantedNames } from "./resource.ts";
import { type AdsSession, errorDetail } from "./session.ts";

interface TypeState {
  /** Names asked for; empty for the wildcard types. */
  names: readonly string[];
  /** Version of the last response that was accepted as a whole. */
  version: string;
  nonce: string;
}

/** State-of-the-world xDS: every response for clusters and listeners is the full list. */
export function createSotwSession(options: SessionOptions): AdsSession {
  const { store, node } = options;
  const states = new Map<ResourceTypeUrl, TypeState>();
  let isFirst = true;

  const send = (typeUrl: ResourceTypeUrl, state: TypeState, error?: { message: string }): void => {
    const request = {
      ...(isFirst ? { node } : {}),
      type_url: typeUrl,
      version_info: state.version,
      resource_names: [...state.names],
      response_nonce: state.nonce,
      ...(error === undefined ? {} : { error_detail: error }),
    };
    isFirst = false;
    options.send(encode("envoy.service.discovery.v3.DiscoveryRequest", request));
  };

  const subscribe = (typeUrl: ResourceTypeUrl, names: ReadonlySet<string>): void => {
    const sorted = [...names].sort();
    const state = states.get(typeUrl);
    if (state === undefined) {
      if (sorted.length === 0) return;
      const fresh = { names: sorted, version: "", nonce: "" };
      states.set(typeUrl, fresh);
      send(typeUrl, fresh);
      return;
    }
    if (JSON.stringify(state.names) === JSON.stringify(sorted)) return;
    state.names = sorted;
    send(typeUrl, state);
  };

  const want = (wanted: WantedNames): void => {
    subscribe(ENDPOINT_TYPE, wanted.endpoints);
    subscribe(ROUTE_TYPE, wanted.routes);
    subscribe(SECRET_TYPE, wanted.secrets);
  };

  return {
    start(wanted) {
      for (const [typeUrl, isUsed] of [
        [CLUSTER_TYPE, options.usesCds],
        [LISTENER_TYPE, options.usesLds],
      ] as const) {
        if (!isUsed) continue;
        const state = { names: [], version: "", nonce: "" };
        states.set(typeUrl, state);
        send(typeUrl, state);
      }
      want(wanted);
    },
    want,
    receive(bytes) {
      const response = decode("envoy.service.discovery.v3.DiscoveryResponse", bytes);
      const typeUrl = XDS_TYPES.find((known) => known === response.type_url);
      const state = typeUrl && states.get(typeUrl);
      if (typeUrl === undefined || state === undefined) return;
      // The nonce counts from now on, so that requests sent while applying refer to this response.
      state.nonce = response.nonce ?? "";
      const version = response.version_info ?? "";
      const upserts = (response.resources ?? []).map((any) => ({
        name: nameOf(typeUrl, any),
        version,
        any,
      }));
      const listed = new Set(upserts.map((resource) => resource.name));
      const isFullList = typeUrl === CLUSTER_TYPE || typeUrl === LISTENER_TYPE;
      const removals = isFullList
        ? store
            .resources(typeUrl)
            .map((resource) => resource.name)
            .filter((name) => !listed.has(name))
        : [];
      const rejected = store.apply({ typeUrl, upserts, removals });
      const error = errorDetail(rejected);
      if (error === undefined) state.version = version;
      send(typeUrl, state, error);
      options.onAnswer(typeUrl, error?.message);
    },
  };
}

/** The name of a resource is field 1 of every xDS resource type. */
function nameOf(typeUrl: ResourceTypeUrl, any: Any): string {
  const bytes = any.value ?? new Uint8Array(0);
  switch (typeUrl) {
    case CLUSTER_TYPE:
      return decode("envoy.config.cluster.v3.Cluster", bytes).name ?? "";
    case ENDPOINT_TYPE:
      return decode("envoy.config.endpoint.v3.ClusterLoadAssignment", bytes).cluster_name ?? "";
    case LISTENER_TYPE:
      return decode("envoy.config.listener.v3.Listener", bytes).name ?? "";
    case ROUTE_TYPE:
      return decode("envoy.config.route.v3.RouteConfiguration", bytes).name ?? "";
    default:
      return decode("envoy.extensions.transport_sockets.tls.v3.Secret", bytes).name ?? "";
  }
}
