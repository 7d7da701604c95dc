import type { Extraction, ReadHeader, SpanContext } from "./span-context.ts";

const TRACE_PARENT =
  /^[0-9a-f]{2}-(?<trace>[0-9a-f]{32})-(?<span>[0-9a-f]{16})-(?<flags>[0-9a-f]{2})$/i;
const SAMPLED = 1;

/**
 * Reads W3C's `traceparent` (Trace Context, §3.2). As Envoy, the version is not looked at, and
 * `readAll` gives all values of `tracestate`, joined.
 */
export function extractTraceParent(read: ReadHeader, readAll: ReadHeader): Extraction {
  const value = read("traceparent");
  if (value === undefined) return { kind: "none", isSampled: undefined };
  const groups = TRACE_PARENT.exec(value)?.groups;
  if (groups === undefined) return { kind: "malformed" };
  const { trace = "", span = "", flags = "" } = groups;
  if (/^0+$/.test(trace) || /^0+$/.test(span)) return { kind: "malformed" };
  return {
    kind: "context",
    traceId: trace.toLowerCase(),
    spanId: span.toLowerCase(),
    parentId: "",
    isSampled: (Number.parseInt(flags, 16) & SAMPLED) !== 0,
    traceState: readAll("tracestate") ?? "",
  };
}

/** A context as `traceparent`; a short trace id is filled up with zeros. */
export function traceParent({ traceId, spanId, isSampled }: SpanContext): string {
  return `00-${traceId.padStart(32, "0")}-${spanId}-${isSampled ? "01" : "00"}`;
}
