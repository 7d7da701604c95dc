import { decode, encode, packAny, structFromJson, structToJson } from "../../xds/index.ts";
import {
  PEER_METADATA_HEADER,
  PEER_METADATA_ID_HEADER,
  parsePeerMetadata,
  peerOfJson,
} from "./peer-metadata.ts";
import type { PeerInfo } from "./runtime-config.ts";

/** The ALPN protocol of sidecars that present their workloads before a TCP connection's bytes. */
export const PEER_EXCHANGE_PROTOCOL = "istio-peer-exchange";
/** The ALPN protocol by which sidecars know each other; bytes follow as they are. */
const MESH_PROTOCOL = "istio";
const MAGIC = 0x3d_23_04_67;
/** The magic number and the length, four bytes each. */
const HEADER_BYTES = 8;
/** Longer metadata is not believed. */
const MAX_METADATA_BYTES = 65_536;
const STRUCT_TYPE = "google.protobuf.Struct";

type PresentedAs = readonly (readonly [name: string, value: string])[];

/**
 * The ALPN protocols of a TCP connection, given those that were configured: within the mesh the
 * exchange comes first when this proxy can present itself, and is left out when it cannot. HTTP's
 * are left out too, since whoever sniffs offers them for the same cluster.
 */
export function tcpProtocols(
  configured: readonly string[],
  canPresent: boolean,
): readonly string[] {
  if (!configured.includes(MESH_PROTOCOL)) {
    return configured.filter((name) => name !== PEER_EXCHANGE_PROTOCOL);
  }
  return canPresent ? [PEER_EXCHANGE_PROTOCOL, MESH_PROTOCOL] : [MESH_PROTOCOL];
}

/**
 * What a proxy sends first: magic number, length, and a Struct (as Any) of what it also says in the
 * headers `x-envoy-peer-metadata` and `-id`. Source: istio/proxy, metadata_exchange.
 */
export function peerExchangeFrame(presentedAs: PresentedAs): Buffer {
  const headers = new Map(presentedAs);
  const presented = headers.get(PEER_METADATA_HEADER) ?? "";
  const body = encode(
    "google.protobuf.Any",
    packAny(
      STRUCT_TYPE,
      structFromJson({
        [PEER_METADATA_HEADER]: structToJson(decode(STRUCT_TYPE, Buffer.from(presented, "base64"))),
        [PEER_METADATA_ID_HEADER]: headers.get(PEER_METADATA_ID_HEADER) ?? "",
      }),
    ),
  );
  const frame = Buffer.alloc(HEADER_BYTES + body.length);
  frame.writeUInt32BE(MAGIC, 0);
  frame.writeUInt32BE(body.length, 4);
  frame.set(body, HEADER_BYTES);
  return frame;
}

/** Takes the peer's frame off the start of a connection, however the bytes are cut. */
export class PeerExchangeReader {
  #seen: Buffer = Buffer.alloc(0);
  #isDone = false;
  #peer: PeerInfo | undefined;
  #frameBytes = 0;

  /** Nothing more is taken off. */
  get isDone(): boolean {
    return this.#isDone;
  }
  /** Undefined before the end, and when the peer did not present itself readably. */
  get peer(): PeerInfo | undefined {
    return this.#peer;
  }
  /** How many bytes were the peer's frame. */
  get frameBytes(): number {
    return this.#frameBytes;
  }

  /**
   * What of these bytes is the connection's own: a view of them, or of a copy. A peer that sends
   * something else gets it passed on (Istio's filter does the same).
   */
  take(bytes: Buffer): Buffer {
    if (this.#isDone) return bytes;
    const seen = this.#seen.length === 0 ? bytes : Buffer.concat([this.#seen, bytes]);
    const prefix = seen.subarray(0, 4);
    if (!MAGIC_BYTES.subarray(0, prefix.length).equals(prefix)) return this.#end(seen);
    if (seen.length >= HEADER_BYTES) {
      const length = seen.readUInt32BE(4);
      if (length > MAX_METADATA_BYTES) return this.#end(seen);
      if (seen.length >= HEADER_BYTES + length) {
        this.#frameBytes = HEADER_BYTES + length;
        this.#peer = peerOf(seen.subarray(HEADER_BYTES, this.#frameBytes));
        return this.#end(seen.subarray(this.#frameBytes));
      }
    }
    // The bytes may be overwritten by the next read.
    this.#seen = Buffer.from(seen);
    return NOTHING;
  }

  #end(rest: Buffer): Buffer {
    this.#isDone = true;
    this.#seen = NOTHING;
    return rest;
  }
}

const NOTHING = Buffer.alloc(0);
const MAGIC_BYTES = Buffer.from([0x3d, 0x23, 0x04, 0x67]);

function peerOf(body: Buffer): PeerInfo | undefined {
  try {
    const { value } = decode("google.protobuf.Any", body);
    const json = structToJson(decode(STRUCT_TYPE, value ?? NOTHING));
    const presented = json[PEER_METADATA_HEADER];
    // Istio's proxies also send the header's own form.
    if (typeof presented === "string") return parsePeerMetadata(presented);
    return presented === undefined ? undefined : peerOfJson(presented);
  } catch {
    // A peer may send anything here; the metrics then say "unknown".
    return undefined;
  }
}
