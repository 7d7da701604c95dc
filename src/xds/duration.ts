import type { google_protobuf_Duration } from "./generated/messages.cjs";

/** Milliseconds to `google.protobuf.Duration`. */
export function durationFromMs(durationMs: number): google_protobuf_Duration {
  const seconds = Math.trunc(durationMs / 1000);
  return { seconds, nanos: Math.round((durationMs - seconds * 1000) * 1e6) };
}

/** `google.protobuf.Duration` to milliseconds; undefined when the field is not set. */
export function durationToMs(
  duration: google_protobuf_Duration | null | undefined,
): number | undefined {
  if (duration === null || duration === undefined) return undefined;
  return (duration.seconds ?? 0) * 1000 + (duration.nanos ?? 0) / 1e6;
}
