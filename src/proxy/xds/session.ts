import type { RejectedResource, WantedNames } from "./resource.ts";

/** One ADS stream's protocol state, without I/O: bytes in, bytes out. */
export interface AdsSession {
  /** Sends the first requests of a new stream. */
  start(wanted: WantedNames): void;
  /** Takes one message from the server. Throws when it does not decode. */
  receive(bytes: Uint8Array): void;
  /** Subscribes to other names than before. */
  want(wanted: WantedNames): void;
}

/** gRPC's INVALID_ARGUMENT, which Envoy sends with a NACK. */
const INVALID_ARGUMENT = 3;

/** The error_detail of a NACK: every refused resource with its bad fields. */
export function errorDetail(
  rejected: readonly RejectedResource[],
): { readonly code: number; readonly message: string } | undefined {
  if (rejected.length === 0) return undefined;
  return { code: INVALID_ARGUMENT, message: rejected.map((r) => r.message).join("\n") };
}
