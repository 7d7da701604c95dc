import {
  encode,
  type MessageName,
  type MessageTypes,
  type ResourceTypeUrl,
  typeUrl,
} from "../../../xds/index.ts";
import type { XdsResource } from "../xds-resource.ts";

/** The messages that are xDS resources here. */
type ResourceMessage =
  | "envoy.config.cluster.v3.Cluster"
  | "envoy.config.endpoint.v3.ClusterLoadAssignment"
  | "envoy.config.listener.v3.Listener"
  | "envoy.config.route.v3.RouteConfiguration"
  | "envoy.extensions.transport_sockets.tls.v3.Secret";

/** Encodes messages to resources, and gives the very same object for the same content. */
export interface ResourceEncoder {
  resource<T extends ResourceMessage & MessageName>(
    message: T,
    name: string,
    value: MessageTypes[T],
  ): XdsResource;
  /** An encoder for the next model: what did not change keeps its object. */
  next(): ResourceEncoder;
}

/** An encoder that takes over what `previous` already encoded. */
export function createResourceEncoder(
  previous: ReadonlyMap<string, XdsResource> = new Map(),
): ResourceEncoder {
  const known = new Map<string, XdsResource>();
  return {
    resource(message, name, value) {
      const body = encode(message, value);
      const version = hashOf(body);
      const key = `${message} ${version} ${name}`;
      const seen = known.get(key) ?? previous.get(key);
      const resource = seen ?? {
        typeUrl: typeUrl(message) as ResourceTypeUrl,
        name,
        version,
        body,
      };
      known.set(key, resource);
      return resource;
    },
    next: () => createResourceEncoder(known),
  };
}

/**
 * 64 bits as 16 hex digits: two FNV-1a hashes of 32 bits with different bases, the second over the
 * bytes turned around by one. It tells versions of one resource apart; it is not for security.
 * Source: draft-eastlake-fnv, "FNV-1a".
 */
export function hashOf(bytes: Uint8Array): string {
  let low = 0x811c9dc5;
  let high = 0x9747b28c ^ bytes.length;
  for (const byte of bytes) {
    low = Math.imul(low ^ byte, 0x01000193);
    high = Math.imul(high ^ byte, 0x85ebca6b);
    high ^= high >>> 13;
  }
  return hex(high) + hex(low);
}

function hex(word: number): string {
  return (word >>> 0).toString(16).padStart(8, "0");
}
