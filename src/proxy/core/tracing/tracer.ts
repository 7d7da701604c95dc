import { b3Headers, extractB3 } from "./b3.ts";
import type { Extraction, ReadHeader, SpanContext } from "./span-context.ts";
import { extractTraceParent, traceParent } from "./trace-parent.ts";

/** Which collector gets the spans, and by which protocol. */
export interface Collector {
  readonly cluster: string;
  readonly protocol: "http" | "grpc";
  /** Path and query. */
  readonly target: string;
  readonly authority: string;
  readonly timeoutMs: number;
  /** Lower-case names. */
  readonly headers: readonly (readonly [name: string, value: string])[];
}

/** envoy.tracers.zipkin */
export interface ZipkinTracer {
  readonly kind: "zipkin";
  /** Tracers with the same key are one. */
  readonly key: string;
  readonly collector: Collector;
  readonly has128BitIds: boolean;
  /** The spans of both ends of a call have the same identifier. */
  readonly sharesContext: boolean;
  /** This proxy is a hop of its own: what arrives is a server's span, whatever the direction. */
  readonly splitsSpans: boolean;
  /** `traceparent` is read where there is no B3, and written too. */
  readonly usesW3c: boolean;
}

/** envoy.tracers.opentelemetry */
export interface OpenTelemetryTracer {
  readonly kind: "opentelemetry";
  readonly key: string;
  /** Undefined: spans go nowhere. */
  readonly collector: Collector | undefined;
  readonly serviceName: string;
  readonly setsServiceName: boolean;
  readonly setsSdkAttributes: boolean;
  readonly setsScope: boolean;
  /** Spans that may wait to be sent. */
  readonly maxBuffered: number;
}

export type TracerConfig = ZipkinTracer | OpenTelemetryTracer;

/** Random hex digits, 16 a call. */
export type NewId = () => string;

/** What a request's headers say to this tracer. */
export function extractContext(
  tracer: TracerConfig,
  read: ReadHeader,
  readAll: ReadHeader,
): Extraction {
  if (tracer.kind === "opentelemetry") return extractTraceParent(read, readAll);
  const b3 = extractB3(read);
  if (!tracer.usesW3c || b3.kind !== "none" || b3.isSampled !== undefined) return b3;
  const w3c = extractTraceParent(read, readAll);
  return w3c.kind === "malformed" ? b3 : w3c;
}

/** The context of the request's span; undefined = it has none. `isServer`: of a server's span. */
export function startContext(
  tracer: TracerConfig,
  extraction: Extraction,
  start: { readonly isTraced: boolean; readonly isServer: boolean; readonly newId: NewId },
): SpanContext | undefined {
  const { isTraced, newId } = start;
  switch (extraction.kind) {
    case "malformed":
      return undefined;
    case "none":
      return rootContext(tracer, extraction.isSampled ?? isTraced, newId);
    case "context": {
      const { traceId, spanId, parentId, traceState } = extraction;
      const own = { traceId, traceState, isParentRemote: true };
      if (tracer.kind === "opentelemetry") {
        const isSampled = extraction.isSampled === true && isTraced;
        return { ...own, spanId: newId(), parentId: spanId, isSampled };
      }
      const isSampled = extraction.isSampled ?? isTraced;
      if (start.isServer && tracer.sharesContext) return { ...own, spanId, parentId, isSampled };
      return { ...own, spanId: newId(), parentId: spanId, isSampled };
    }
  }
}

function rootContext(tracer: TracerConfig, isSampled: boolean, newId: NewId): SpanContext {
  const spanId = newId();
  const rest = { spanId, parentId: "", isParentRemote: false, isSampled, traceState: "" };
  if (tracer.kind === "opentelemetry") return { traceId: newId() + newId(), ...rest };
  // As Envoy: the first span of a trace has its number.
  return { traceId: tracer.has128BitIds ? newId() + spanId : spanId, ...rest };
}

/**
 * The context of a try's span. As Envoy: what Zipkin takes for a server's span shares that of the
 * request where contexts are shared.
 */
export function childContext(
  tracer: TracerConfig,
  parent: SpanContext,
  kind: "server" | "client",
  newId: NewId,
): SpanContext {
  const isShared = tracer.kind === "zipkin" && kind === "server" && tracer.sharesContext;
  if (isShared) return parent;
  return { ...parent, spanId: newId(), parentId: parent.spanId, isParentRemote: false };
}

/** The headers by which the upstream learns of a context. */
export function contextHeaders(
  tracer: TracerConfig,
  context: SpanContext,
  read: ReadHeader,
): readonly (readonly [name: string, value: string])[] {
  if (tracer.kind === "opentelemetry") {
    return [
      ["traceparent", traceParent(context)],
      ["tracestate", context.traceState],
    ];
  }
  const b3 = b3Headers(context, read("b3") !== undefined);
  return tracer.usesW3c ? [...b3, ["traceparent", traceParent(context)]] : b3;
}
