/** Why a request is traced, or that it is not. Envoy's names of the counters. */
export type TraceReason = "not_traceable" | "random_sampling" | "service_forced" | "client_enabled";

/** A UUID as text. */
const UUID_LENGTH = 36;
/** The digit of a UUID that tells its version: Envoy puts the reason there. */
const REASON_INDEX = 14;
const DIGITS = {
  not_traceable: "4",
  random_sampling: "9",
  service_forced: "a",
  client_enabled: "b",
} as const satisfies Readonly<Record<TraceReason, string>>;

/** The reason that a request id carries. */
export function traceReasonOf(requestId: string | undefined): TraceReason {
  if (requestId?.length !== UUID_LENGTH) return "not_traceable";
  switch (requestId[REASON_INDEX]) {
    case DIGITS.random_sampling:
      return "random_sampling";
    case DIGITS.service_forced:
      return "service_forced";
    case DIGITS.client_enabled:
      return "client_enabled";
    default:
      return "not_traceable";
  }
}

/** The request id with another reason; an id that is no UUID stays as it is. */
export function withTraceReason(requestId: string, reason: TraceReason): string {
  if (requestId.length !== UUID_LENGTH) return requestId;
  return requestId.slice(0, REASON_INDEX) + DIGITS[reason] + requestId.slice(REASON_INDEX + 1);
}

/**
 * 0..9999, the same for one request wherever it is sampled: its first eight digits as a number.
 * Undefined when they are none. Source: Envoy's UUID request id extension.
 */
export function sampleOf(requestId: string | undefined): number | undefined {
  if (requestId === undefined || !/^[0-9a-f]{8}/i.test(requestId)) return undefined;
  return Number.parseInt(requestId.slice(0, 8), 16) % 10_000;
}
