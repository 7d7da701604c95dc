import {
  decode,
  encode,
  type envoy_config_core_v3_Node,
  structFromJson,
  structToJson,
} from "../../xds/index.ts";
import type { PeerInfo } from "./runtime-config.ts";

/** The request headers by which Istio's proxies tell each other who they are. */
export const PEER_METADATA_HEADER = "x-envoy-peer-metadata";
export const PEER_METADATA_ID_HEADER = "x-envoy-peer-metadata-id";
/** Larger headers are not believed. */
const MAX_HEADER_LENGTH = 16_384;
const UNKNOWN = "unknown";

/** Nobody in particular: what metrics say about a peer that did not present itself. */
export const UNKNOWN_PEER: PeerInfo = {
  workload: UNKNOWN,
  namespace: UNKNOWN,
  canonicalService: UNKNOWN,
  canonicalRevision: UNKNOWN,
  app: UNKNOWN,
  version: UNKNOWN,
  cluster: UNKNOWN,
  principal: UNKNOWN,
};

type Json = Readonly<Record<string, unknown>>;

/** The workload that a node's metadata describes (Istio's names: WORKLOAD_NAME, LABELS, …). */
export function peerOfNode(node: envoy_config_core_v3_Node): PeerInfo {
  const json = structToJson(node.metadata);
  const account = text(json["SERVICE_ACCOUNT"]);
  const namespace = text(json["NAMESPACE"]);
  const domain = text(json["TRUST_DOMAIN"]) ?? "cluster.local";
  const principal =
    account === undefined || namespace === undefined
      ? UNKNOWN
      : `spiffe://${domain}/ns/${namespace}/sa/${account}`;
  return { ...peerOfJson(json), principal };
}

/** The headers that present this node: `x-envoy-peer-metadata` and its `-id`. */
export function peerMetadataHeaders(
  node: envoy_config_core_v3_Node,
): readonly (readonly [name: string, value: string])[] {
  const json = structToJson(node.metadata);
  const sent: Record<string, unknown> = {};
  for (const key of ["NAME", "NAMESPACE", "WORKLOAD_NAME", "LABELS", "OWNER", "CLUSTER_ID"]) {
    if (json[key] !== undefined) sent[key] = json[key];
  }
  const bytes = encode("google.protobuf.Struct", structFromJson(sent));
  return [
    [PEER_METADATA_HEADER, Buffer.from(bytes).toString("base64")],
    [PEER_METADATA_ID_HEADER, node.id ?? ""],
  ];
}

/** Who an `x-envoy-peer-metadata` header presents; undefined when it is not readable. */
export function parsePeerMetadata(header: string): PeerInfo | undefined {
  if (header === "" || header.length > MAX_HEADER_LENGTH) return undefined;
  try {
    const struct = decode("google.protobuf.Struct", Buffer.from(header, "base64"));
    const json = structToJson(struct);
    // Almost any bytes decode to an empty struct; that presents nobody.
    return Object.keys(json).length === 0 ? undefined : peerOfJson(json);
  } catch {
    // A peer may send anything here; the metrics then say "unknown".
    return undefined;
  }
}

/** The workload that presents itself by this JSON; an unknown one when it is no object. */
export function peerOfJson(presented: unknown): PeerInfo {
  const json = isJson(presented) ? presented : {};
  const labels = isJson(json["LABELS"]) ? json["LABELS"] : {};
  const workload = text(json["WORKLOAD_NAME"]) ?? UNKNOWN;
  const app = text(labels["app"]) ?? text(labels["app.kubernetes.io/name"]);
  const version = text(labels["version"]) ?? text(labels["app.kubernetes.io/version"]);
  return {
    workload,
    namespace: text(json["NAMESPACE"]) ?? UNKNOWN,
    canonicalService: text(labels["service.istio.io/canonical-name"]) ?? app ?? workload,
    canonicalRevision: text(labels["service.istio.io/canonical-revision"]) ?? version ?? "latest",
    app: app ?? UNKNOWN,
    version: version ?? UNKNOWN,
    cluster: text(json["CLUSTER_ID"]) ?? UNKNOWN,
    principal: UNKNOWN,
  };
}

function text(value: unknown): string | undefined {
  return typeof value === "string" && value !== "" ? value : undefined;
}

function isJson(value: unknown): value is Json {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
