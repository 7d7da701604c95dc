import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import {
  createServer as createHttp2Server,
  type Http2Session,
  type ServerHttp2Stream,
} from "node:http2";
import type { AddressInfo, Server } from "node:net";
import { decode } from "../../src/xds/index.ts";

/** A span as a collector got it, whichever protocol it came by. */
export interface CollectedSpan {
  readonly traceId: string;
  readonly id: string;
  /** "" = none. */
  readonly parentId: string;
  readonly name: string;
  readonly kind: string;
  readonly isShared: boolean;
  readonly tags: Readonly<Record<string, string>>;
  /** The names of its events. */
  readonly events: readonly string[];
  /** Microseconds. */
  readonly timestamp: number;
  readonly hasDuration: boolean;
  /** The service it belongs to, and where. */
  readonly local: string;
  readonly traceState: string;
  /** OTLP: the status; else "". */
  readonly status: string;
}

/** How a report arrived. */
export interface Report {
  readonly path: string;
  readonly contentType: string;
  readonly host: string;
  readonly fields: Readonly<Record<string, string>>;
}

/** A collector for Zipkin v2 JSON, OTLP/HTTP and OTLP/gRPC, each on a port of its own. */
export interface SpanCollector {
  readonly httpPort: number;
  readonly grpcPort: number;
  readonly spans: CollectedSpan[];
  readonly reports: Report[];
  stop(): Promise<void>;
}

/** Starts a collector; `status` is what it answers Zipkin's reports with. */
export async function startSpanCollector(status = 202): Promise<SpanCollector> {
  const spans: CollectedSpan[] = [];
  const reports: Report[] = [];
  const http = createServer((request, response) => {
    void body(request).then((bytes) => answer(request, response, bytes));
  });
  const answer = (request: IncomingMessage, response: ServerResponse, bytes: Buffer): void => {
    const { headers, url = "" } = request;
    const contentType = headers["content-type"] ?? "";
    reports.push({
      path: url,
      contentType,
      host: headers.host ?? "",
      fields: Object.fromEntries(Object.entries(headers).map(([k, v]) => [k, String(v)])),
    });
    const isJson = contentType === "application/json";
    spans.push(...(isJson ? zipkinSpans(bytes) : otlpSpans(bytes)));
    response.writeHead(isJson ? status : 200).end();
  };
  const sessions = new Set<Http2Session>();
  const grpc = createHttp2Server();
  grpc.on("session", (session) => sessions.add(session));
  grpc.on("stream", (stream: ServerHttp2Stream, headers) => {
    void body(stream).then((bytes) => {
      reports.push({
        path: headers[":path"] ?? "",
        contentType: headers["content-type"] ?? "",
        host: headers[":authority"] ?? "",
        fields: Object.fromEntries(Object.entries(headers).map(([k, v]) => [k, String(v)])),
      });
      // One message: a flag, four bytes of length, the message.
      spans.push(...otlpSpans(bytes.subarray(5)));
      stream.respond(
        { ":status": 200, "content-type": "application/grpc" },
        { waitForTrailers: true },
      );
      stream.on("wantTrailers", () => stream.sendTrailers({ "grpc-status": "0" }));
      stream.end(Buffer.from([0, 0, 0, 0, 0]));
    });
  });
  const [httpPort, grpcPort] = await Promise.all([listen(http), listen(grpc)]);
  return {
    httpPort,
    grpcPort,
    spans,
    reports,
    async stop() {
      for (const session of sessions) session.destroy();
      http.closeAllConnections();
      await Promise.all([close(http), close(grpc)]);
    },
  };
}

function listen(server: Server): Promise<number> {
  return new Promise((resolve) =>
    server.listen(0, "127.0.0.1", () => resolve((server.address() as AddressInfo).port)),
  );
}

function close(server: Server): Promise<void> {
  return new Promise((resolve) => server.close(() => resolve()));
}

async function body(stream: AsyncIterable<Buffer>): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of stream) chunks.push(chunk);
  return Buffer.concat(chunks);
}

interface ZipkinSpan {
  readonly traceId: string;
  readonly id: string;
  readonly parentId?: string;
  readonly name?: string;
  readonly kind?: string;
  readonly shared?: boolean;
  readonly timestamp: number;
  readonly duration?: number;
  readonly tags?: Readonly<Record<string, string>>;
  readonly annotations?: readonly { readonly value: string }[];
  readonly localEndpoint?: Readonly<Record<string, unknown>>;
}

function zipkinSpans(bytes: Buffer): readonly CollectedSpan[] {
  const list: readonly ZipkinSpan[] = JSON.parse(bytes.toString("utf8"));
  return list.map((span) => ({
    traceId: span.traceId,
    id: span.id,
    parentId: span.parentId ?? "",
    name: span.name ?? "",
    kind: span.kind ?? "",
    isShared: span.shared === true,
    tags: span.tags ?? {},
    events: (span.annotations ?? []).map(({ value }) => value),
    timestamp: span.timestamp,
    hasDuration: span.duration !== undefined,
    local: Object.entries(span.localEndpoint ?? {})
      .map((entry) => entry.join("="))
      .sort()
      .join(" "),
    traceState: "",
    status: "",
  }));
}

const KINDS = ["", "INTERNAL", "SERVER", "CLIENT"];

function otlpSpans(bytes: Uint8Array): readonly CollectedSpan[] {
  const name = "opentelemetry.proto.collector.trace.v1.ExportTraceServiceRequest";
  const request = decode(name, bytes);
  return (request.resource_spans ?? []).flatMap(({ resource, scope_spans }) =>
    (scope_spans ?? []).flatMap(({ scope, spans }) =>
      (spans ?? []).map((span) => ({
        traceId: hex(span.trace_id),
        id: hex(span.span_id),
        parentId: hex(span.parent_span_id),
        name: span.name ?? "",
        kind: KINDS[span.kind ?? 0] ?? "",
        isShared: false,
        tags: attributes(span.attributes),
        events: (span.events ?? []).map((event) => event.name ?? ""),
        timestamp: Math.round((span.start_time_unix_nano ?? 0) / 1000),
        hasDuration: (span.end_time_unix_nano ?? 0) >= (span.start_time_unix_nano ?? 0),
        local: [
          // Which program it was is not to be compared; that it is said is.
          ...Object.entries(attributes(resource?.attributes))
            .filter(([key]) => key !== "telemetry.sdk.version")
            .map(([key, value]) => `${key}=${key.startsWith("telemetry.sdk.") ? "…" : value}`),
          `scope=${scope?.name ? "…" : ""}`,
          `flags=${span.flags ?? 0}`,
        ]
          .sort()
          .join(" "),
        traceState: span.trace_state ?? "",
        status: `${span.status?.code ?? 0} ${span.status?.message ?? ""}`,
      })),
    ),
  );
}

function attributes(
  list:
    | readonly {
        readonly key?: string | null | undefined;
        readonly value?: { readonly string_value?: string | null | undefined } | null | undefined;
      }[]
    | null
    | undefined,
): Readonly<Record<string, string>> {
  return Object.fromEntries(
    (list ?? []).map(({ key, value }) => [key ?? "", value?.string_value ?? "(no string)"]),
  );
}

function hex(bytes: Uint8Array | null | undefined): string {
  return Buffer.from(bytes ?? []).toString("hex");
}
