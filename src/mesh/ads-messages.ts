import {
  type envoy_service_discovery_v3_DeltaDiscoveryRequest as DeltaDiscoveryRequest,
  type envoy_service_discovery_v3_DiscoveryRequest as DiscoveryRequest,
  decode,
  encode,
  type envoy_config_core_v3_Node,
  XDS_TYPES,
} from "../xds/index.ts";
import type { SessionRequest, SessionResponse } from "./core/session.ts";
import type { XdsResource } from "./core/xds-resource.ts";

/** A request with the node, which only the first one of a stream must carry. */
export interface DecodedRequest {
  readonly node: envoy_config_core_v3_Node | undefined;
  /** undefined when the type is none that Serin serves: such requests go unanswered. */
  readonly request: SessionRequest | undefined;
}

/** Decodes a request of either protocol. Throws when the bytes are no such message. */
export function decodeRequest(protocol: "sotw" | "delta", bytes: Uint8Array): DecodedRequest {
  if (protocol === "sotw") {
    const message = decode("envoy.service.discovery.v3.DiscoveryRequest", bytes);
    const names = message.resource_names ?? [];
    return withCommon(message, { protocol, names });
  }
  const message = decode("envoy.service.discovery.v3.DeltaDiscoveryRequest", bytes);
  return withCommon(message, {
    protocol,
    subscribe: message.resource_names_subscribe ?? [],
    unsubscribe: message.resource_names_unsubscribe ?? [],
    initialVersions: message.initial_resource_versions ?? {},
  });
}

function withCommon(
  message: DiscoveryRequest | DeltaDiscoveryRequest,
  subscription: SessionRequest["subscription"],
): DecodedRequest {
  const node = message.node ?? undefined;
  const typeUrl = XDS_TYPES.find((known) => known === message.type_url);
  if (typeUrl === undefined) return { node, request: undefined };
  const detail = message.error_detail;
  const error = detail ? detail.message || `code ${detail.code ?? 0}` : undefined;
  return { node, request: { typeUrl, nonce: message.response_nonce ?? "", error, subscription } };
}

/** Encoded once per resource, and shared by every stream that gets it. */
const deltaBytes = new WeakMap<XdsResource, Uint8Array>();
const sotwBytes = new WeakMap<XdsResource, Uint8Array>();

/**
 * Encodes a response from the shared bytes of its resources: concatenated protobuf messages are
 * merged, and repeated fields appended (protobuf encoding, "Last One Wins").
 */
export function encodeResponse(protocol: "sotw" | "delta", response: SessionResponse): Buffer {
  const { typeUrl, version, nonce, resources, removed } = response;
  const bytesOf = protocol === "sotw" ? sotwBytesOf : deltaBytesOf;
  const head =
    protocol === "sotw"
      ? encode("envoy.service.discovery.v3.DiscoveryResponse", {
          version_info: version,
          type_url: typeUrl,
          nonce,
        })
      : encode("envoy.service.discovery.v3.DeltaDiscoveryResponse", {
          system_version_info: version,
          type_url: typeUrl,
          nonce,
          removed_resources: [...removed],
        });
  return Buffer.concat([head, ...resources.map(bytesOf)]);
}

function deltaBytesOf(resource: XdsResource): Uint8Array {
  return cached(deltaBytes, resource, ({ name, version, typeUrl, body }) =>
    encode("envoy.service.discovery.v3.DeltaDiscoveryResponse", {
      resources: [{ name, version, resource: { type_url: typeUrl, value: body } }],
    }),
  );
}

function sotwBytesOf(resource: XdsResource): Uint8Array {
  return cached(sotwBytes, resource, ({ typeUrl, body }) =>
    encode("envoy.service.discovery.v3.DiscoveryResponse", {
      resources: [{ type_url: typeUrl, value: body }],
    }),
  );
}

function cached(
  cache: WeakMap<XdsResource, Uint8Array>,
  resource: XdsResource,
  make: (resource: XdsResource) => Uint8Array,
): Uint8Array {
  const known = cache.get(resource);
  if (known !== undefined) return known;
  const made = make(resource);
  cache.set(resource, made);
  return made;
}
