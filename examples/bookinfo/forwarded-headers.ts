import type { IncomingHttpHeaders } from "node:http";

/**
 * Headers that every service hands on to the services it calls, so that a trace stays one trace
 * and a user stays the same user. A sidecar cannot do this: only the application knows which
 * outgoing call belongs to which incoming one.
 */
export const FORWARDED_HEADERS = [
  // Envoy's request id and Zipkin's B3 headers, one by one and in one.
  "x-request-id",
  "x-b3-traceid",
  "x-b3-spanid",
  "x-b3-parentspanid",
  "x-b3-sampled",
  "x-b3-flags",
  "b3",
  "x-ot-span-context",
  // W3C Trace Context.
  "traceparent",
  "tracestate",
  // Who asks: routes match on these.
  "user",
  "end-user",
  "user-agent",
  "cookie",
  "authorization",
] as const;

/** The headers of a request that outgoing calls made on its behalf must carry. */
export function forwardedHeaders(incoming: IncomingHttpHeaders): Record<string, string> {
  const forwarded: Record<string, string> = {};
  for (const name of FORWARDED_HEADERS) {
    const value = incoming[name];
    if (value !== undefined) forwarded[name] = Array.isArray(value) ? value.join(", ") : value;
  }
  return forwarded;
}
