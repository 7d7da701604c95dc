import {
  encode,
  type opentelemetry_proto_common_v1_KeyValue as KeyValue,
  type opentelemetry_proto_trace_v1_Span as OtlpSpan,
} from "../../../xds/index.ts";
import type { FinishedSpan } from "./span.ts";
import type { OpenTelemetryTracer } from "./tracer.ts";

/** Span.SpanKind */
const KINDS = { server: 2, client: 3 } as const;
/** Status.StatusCode */
const ERROR = 2;
/** SpanFlags: whether the parent's place is known, and that it is elsewhere. */
const HAS_IS_REMOTE = 0x100;
const IS_REMOTE = 0x200;
const SAMPLED = 1;
/** Statuses that are a server's failure (OpenTelemetry's conventions for gRPC). */
const SERVER_GRPC_ERRORS: ReadonlySet<string> = new Set(["2", "4", "12", "13", "14", "15"]);

/** An ExportTraceServiceRequest with these spans. */
export function encodeOtlp(spans: readonly FinishedSpan[], tracer: OpenTelemetryTracer): Buffer {
  const attributes: KeyValue[] = [];
  if (tracer.setsServiceName) attributes.push(attribute("service.name", tracer.serviceName));
  if (tracer.setsSdkAttributes) {
    attributes.push(attribute("telemetry.sdk.language", "nodejs"));
    attributes.push(attribute("telemetry.sdk.name", "serin"));
  }
  const scope = tracer.setsScope ? { scope: { name: "serin" } } : {};
  const bytes = encode("opentelemetry.proto.collector.trace.v1.ExportTraceServiceRequest", {
    resource_spans: [
      { resource: { attributes }, scope_spans: [{ ...scope, spans: spans.map(otlpSpan) }] },
    ],
  });
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

function otlpSpan(span: FinishedSpan): OtlpSpan {
  const { context, name, kind, startMicros, endMicros, tags, events } = span;
  return {
    trace_id: Buffer.from(context.traceId, "hex"),
    span_id: Buffer.from(context.spanId, "hex"),
    parent_span_id: Buffer.from(context.parentId, "hex"),
    trace_state: context.traceState,
    flags: SAMPLED | HAS_IS_REMOTE | (context.isParentRemote ? IS_REMOTE : 0),
    name,
    kind: KINDS[kind],
    start_time_unix_nano: startMicros * 1000,
    end_time_unix_nano: endMicros * 1000,
    attributes: [...tags].map(([key, value]) => attribute(key, value)),
    events: events.map((event) => ({ name: event.name, time_unix_nano: event.atMicros * 1000 })),
    status: { code: isError(span) ? ERROR : 0 },
  };
}

/** OpenTelemetry's conventions: what a client got that is no success, or a server's own failure. */
function isError({ kind, tags }: FinishedSpan): boolean {
  const status = Number(tags.get("http.status_code") ?? 0);
  if (status >= 500 || (kind === "client" && status >= 400)) return true;
  const grpc = tags.get("grpc.status_code");
  if (grpc === undefined) return false;
  return kind === "client" ? grpc !== "0" : SERVER_GRPC_ERRORS.has(grpc);
}

function attribute(key: string, value: string): KeyValue {
  return { key, value: { string_value: value } };
}
