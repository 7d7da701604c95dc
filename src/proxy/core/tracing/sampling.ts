import { sampleOf, type TraceReason, traceReasonOf } from "./request-id.ts";

/** A share of requests as xDS writes it. */
export interface Share {
  readonly numerator: number;
  readonly denominator: number;
}

/** Which requests are traced. */
export interface Sampling {
  /** Of the requests with `x-client-trace-id`. */
  readonly client: Share;
  /** Of all. */
  readonly random: Share;
  /** Of those that are to be traced, for whatever reason. */
  readonly overall: Share;
}

/** What the decision looks at. */
export interface SamplingRequest {
  readonly requestId: string | undefined;
  readonly hasClientTraceId: boolean;
  readonly isForced: boolean;
  /** In [0, 1). */
  readonly random: () => number;
}

/**
 * Why the request is traced, or that it is not. As Envoy: a reason in the request id stands, and one
 * request is sampled alike by every proxy that sees the id.
 */
export function decideTrace(sampling: Sampling, request: SamplingRequest): TraceReason {
  const sample = sampleOf(request.requestId);
  if (sample === undefined) return "not_traceable";
  let reason = traceReasonOf(request.requestId);
  if (reason === "not_traceable") reason = freshReason(sampling, request, sample);
  if (reason === "not_traceable" || isWithin(sampling.overall, sample)) return reason;
  return "not_traceable";
}

function freshReason(sampling: Sampling, request: SamplingRequest, sample: number): TraceReason {
  const { client } = sampling;
  if (request.hasClientTraceId && request.random() * client.denominator < client.numerator) {
    return "client_enabled";
  }
  if (request.isForced) return "service_forced";
  return isWithin(sampling.random, sample) ? "random_sampling" : "not_traceable";
}

/** As Envoy, whose samples end at 9999: of a million as denominator only the first 10,000 count. */
function isWithin({ numerator, denominator }: Share, sample: number): boolean {
  return sample % denominator < numerator;
}
