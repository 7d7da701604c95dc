import { messageOf } from "../../base/index.ts";
import type { ProxyContext } from "../context.ts";
import { encodeOtlp } from "../core/tracing/otlp.ts";
import type { FinishedSpan, LocalNode } from "../core/tracing/span.ts";
import type { Collector, TracerConfig } from "../core/tracing/tracer.ts";
import { encodeZipkinJson } from "../core/tracing/zipkin-json.ts";
import { fetchFromCluster } from "../upstream/cluster-fetch.ts";

/** Envoy's runtime defaults. */
const MIN_FLUSH_SPANS = 5;
const FLUSH_INTERVAL_MS = 5000;
/** Where the configuration names none: no report may wait for ever. */
const DEFAULT_TIMEOUT_MS = 10_000;
/** Beyond it spans are dropped: a collector that hangs must not fill the memory. */
const MAX_REPORTS_IN_FLIGHT = 256;
const MAX_ANSWER_BYTES = 65_536;
/** What a Zipkin collector answers to a report that it took. */
const ACCEPTED = 202;

/** Gathers the spans of one tracer and sends them away, forgetting those that do not arrive. */
export class SpanReporter {
  readonly #context: ProxyContext;
  readonly #tracer: TracerConfig;
  readonly #node: LocalNode;
  #spans: FinishedSpan[] = [];
  readonly #inFlight = new Set<Promise<void>>();
  #cancelTimer: (() => void) | undefined;

  constructor(context: ProxyContext, tracer: TracerConfig, node: LocalNode) {
    this.#context = context;
    this.#tracer = tracer;
    this.#node = node;
    this.#schedule();
  }

  report(span: FinishedSpan): void {
    const tracer = this.#tracer;
    if (tracer.kind === "opentelemetry" && this.#spans.length >= tracer.maxBuffered) {
      // As Envoy: it takes a span without place to send the others.
      this.#count("spans_dropped");
      this.#flush();
      return;
    }
    this.#spans.push(span);
    if (this.#spans.length >= MIN_FLUSH_SPANS) this.#flush();
  }

  /** Sends what is left, and nothing afterwards. Resolves when every report has met its end. */
  async stop(): Promise<void> {
    this.#cancelTimer?.();
    this.#flush();
    await Promise.all(this.#inFlight);
  }

  #schedule(): void {
    this.#cancelTimer = this.#context.clock.schedule(FLUSH_INTERVAL_MS, () => {
      this.#count("timer_flushed");
      this.#flush();
      this.#schedule();
    });
  }

  #flush(): void {
    const spans = this.#spans;
    if (spans.length === 0) return;
    this.#spans = [];
    const { collector } = this.#tracer;
    this.#count("spans_sent", spans.length);
    if (collector === undefined) return;
    if (this.#inFlight.size >= MAX_REPORTS_IN_FLIGHT) {
      if (this.#tracer.kind === "zipkin") this.#count("reports_dropped");
      else this.#count("spans_dropped", spans.length);
      return;
    }
    if (this.#context.config.cluster(collector.cluster) === undefined) {
      if (this.#tracer.kind === "zipkin") this.#count("reports_skipped_no_cluster");
      return;
    }
    const report = this.#send(collector, this.#encode(spans));
    this.#inFlight.add(report);
    // It never rejects.
    void report.then(() => this.#inFlight.delete(report));
  }

  #encode(spans: readonly FinishedSpan[]): Buffer {
    const tracer = this.#tracer;
    if (tracer.kind === "zipkin") return encodeZipkinJson(spans, this.#node, tracer.sharesContext);
    const message = encodeOtlp(spans, tracer);
    return tracer.collector?.protocol === "grpc" ? grpcMessage(message) : message;
  }

  /** Never rejects: a report that fails is counted, and that is all. */
  async #send(collector: Collector, body: Buffer): Promise<void> {
    try {
      const { status } = await fetchFromCluster(this.#context, collector.cluster, {
        method: "POST",
        target: collector.target,
        authority: collector.authority,
        scheme: "http",
        headers: [...this.#contentHeaders(collector), ...collector.headers],
        hasLength: collector.protocol === "http",
        body,
        timeoutMs: collector.timeoutMs || DEFAULT_TIMEOUT_MS,
        maxBodyBytes: MAX_ANSWER_BYTES,
      });
      this.#answered(status);
    } catch (error) {
      this.#context.logger.debug(
        { cluster: collector.cluster, reason: messageOf(error) },
        "spans not delivered",
      );
      // As Envoy: an answer of its own is an answer, and not the one that was hoped for.
      this.#answered(0);
    }
  }

  #answered(status: number): void {
    if (this.#tracer.kind !== "zipkin") return;
    this.#count(status === ACCEPTED ? "reports_sent" : "reports_dropped");
  }

  #contentHeaders({ protocol }: Collector): readonly (readonly [string, string])[] {
    if (protocol === "grpc") {
      return [
        ["content-type", "application/grpc"],
        ["te", "trailers"],
      ];
    }
    const isZipkin = this.#tracer.kind === "zipkin";
    return [["content-type", isZipkin ? "application/json" : "application/x-protobuf"]];
  }

  #count(stat: string, count = 1): void {
    this.#context.telemetry.counter(`tracing.${this.#tracer.kind}.${stat}`).add(count);
  }
}

/** gRPC's framing: not compressed, the length, the message. */
function grpcMessage(message: Buffer): Buffer {
  const framed = Buffer.allocUnsafe(5 + message.length);
  framed[0] = 0;
  framed.writeUInt32BE(message.length, 1);
  message.copy(framed, 5);
  return framed;
}
