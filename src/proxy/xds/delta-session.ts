import {
  CLUSTER_TYPE,
  decode,
  ENDPOINT_TYPE,
  encode,
  type envoy_config_core_v3_Node,
  type envoy_service_discovery_v3_DeltaDiscoveryRequest,
  LISTENER_TYPE,
  type ResourceTypeUrl,
  ROUTE_TYPE,
  SECRET_TYPE,
  XDS_TYPES,
} from "../../xds/index.ts";
import type { ConfigStore } from "./config-store.ts";
import type { WantedNames } from "./resource.ts";
import { type AdsSession, errorDetail } from "./session.ts";

export interface SessionOptions {
  readonly node: envoy_config_core_v3_Node;
  readonly store: ConfigStore;
  readonly usesCds: boolean;
  readonly usesLds: boolean;
  send(bytes: Uint8Array): void;
  /** Told of every answer: `message` is undefined for an ACK. */
  onAnswer(typeUrl: ResourceTypeUrl, message: string | undefined): void;
}

/** Incremental xDS (xDS protocol, "Incremental xDS"): our default, bytes only for what changed. */
export function createDeltaSession(options: SessionOptions): AdsSession {
  const { store, node } = options;
  const subscribed = new Map<ResourceTypeUrl, ReadonlySet<string>>();
  let isFirst = true;

  const send = (request: envoy_service_discovery_v3_DeltaDiscoveryRequest): void => {
    const message = isFirst ? { node, ...request } : request;
    isFirst = false;
    options.send(encode("envoy.service.discovery.v3.DeltaDiscoveryRequest", message));
  };

  const subscribe = (typeUrl: ResourceTypeUrl, names: ReadonlySet<string>): void => {
    const before = subscribed.get(typeUrl);
    if (before === undefined) {
      if (names.size === 0) return;
      subscribed.set(typeUrl, names);
      send({
        type_url: typeUrl,
        resource_names_subscribe: [...names],
        initial_resource_versions: store.versions(typeUrl),
      });
      return;
    }
    const added = [...names].filter((name) => !before.has(name));
    const dropped = [...before].filter((name) => !names.has(name));
    if (added.length === 0 && dropped.length === 0) return;
    subscribed.set(typeUrl, names);
    send({
      type_url: typeUrl,
      resource_names_subscribe: added,
      resource_names_unsubscribe: dropped,
    });
  };

  const want = (wanted: WantedNames): void => {
    subscribe(ENDPOINT_TYPE, wanted.endpoints);
    subscribe(ROUTE_TYPE, wanted.routes);
    subscribe(SECRET_TYPE, wanted.secrets);
  };

  return {
    start(wanted) {
      // An empty first subscription is the wildcard (xDS protocol, "Wildcard").
      for (const [typeUrl, isUsed] of [
        [CLUSTER_TYPE, options.usesCds],
        [LISTENER_TYPE, options.usesLds],
      ] as const) {
        if (!isUsed) continue;
        send({ type_url: typeUrl, initial_resource_versions: store.versions(typeUrl) });
      }
      want(wanted);
    },
    want,
    receive(bytes) {
      const response = decode("envoy.service.discovery.v3.DeltaDiscoveryResponse", bytes);
      const typeUrl = XDS_TYPES.find((known) => known === response.type_url);
      if (typeUrl === undefined) return;
      const rejected = store.apply({
        typeUrl,
        upserts: (response.resources ?? []).map((resource) => ({
          name: resource.name ?? "",
          version: resource.version ?? "",
          any: resource.resource ?? {},
        })),
        removals: response.removed_resources ?? [],
      });
      const error = errorDetail(rejected);
      send({
        type_url: typeUrl,
        response_nonce: response.nonce ?? "",
        ...(error === undefined ? {} : { error_detail: error }),
      });
      options.onAnswer(typeUrl, error?.message);
    },
  };
}
