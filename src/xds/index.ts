/**
 * The wire contract that the control plane and the proxy share: Envoy's v3 messages, pruned to what
 * Serin speaks (manifest.txt), with field names as in the .proto files (snake_case).
 */
export {
  type Any,
  decode,
  encode,
  type MessageName,
  type MessageTypes,
  packAny,
  typeUrl,
  unpackAny,
} from "./codec.ts";
export { durationFromMs, durationToMs } from "./duration.ts";
export type * from "./generated/messages.cjs";
export { type FromJson, fromJson, toJson } from "./json.ts";
export {
  CLUSTER_TYPE,
  ENDPOINT_TYPE,
  LISTENER_TYPE,
  type ResourceTypeUrl,
  ROUTE_TYPE,
  SECRET_TYPE,
  XDS_TYPES,
} from "./type-urls.ts";
export { type UnknownField, unknownFields } from "./unknown-fields.ts";
export { formatTimestampMs, structFromJson, structToJson } from "./well-known-json.ts";
