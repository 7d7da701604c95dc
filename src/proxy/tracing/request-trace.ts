import type { ResponseHead } from "../core/http1/head-parser.ts";
import type { HeaderBlock } from "../core/http1/header-block.ts";
import type { UpstreamReset } from "../core/rescue.ts";
import type { TracingConfig } from "../core/tracing/config.ts";
import type { TraceReason } from "../core/tracing/request-id.ts";
import type { SpanContext } from "../core/tracing/span-context.ts";
import { requestTags, setCustomTags, setGrpcOutcome } from "../core/tracing/span-tags.ts";
import type { TextFormat } from "../core/tracing/text-format.ts";
import { childContext, contextHeaders } from "../core/tracing/tracer.ts";
import type { Exchange } from "../upstream/exchange.ts";
import type { HostPool } from "../upstream/host-pool.ts";
import { type Moment, Moments } from "./moments.ts";
import { microsAt, nowMicros } from "./span-clock.ts";
import { newSpanId } from "./span-ids.ts";
import { TryTrace } from "./try-trace.ts";

const OPERATION_HEADER = "x-envoy-decorator-operation";

/** The trace of one request: its span, those of its tries, and what others are told of them. */
export class RequestTrace {
  /** Of the request's span; undefined when it has none. */
  readonly context: SpanContext | undefined;
  /** What the proxy decided, whatever the caller's headers say. */
  readonly reason: TraceReason;
  readonly #tracing: TracingConfig;
  #name: string;
  #operation: TextFormat | undefined;
  #upstreamOperation: TextFormat | undefined;
  /** What the caller is told the request was; undefined = nothing. */
  #toldOperation: string | undefined;
  readonly #moments: Moments | undefined;
  #try: TryTrace | undefined;

  constructor(
    tracing: TracingConfig,
    reason: TraceReason,
    context: SpanContext | undefined,
    name: string,
  ) {
    this.#tracing = tracing;
    this.reason = reason;
    this.context = context;
    this.#name = name;
    const isTold = tracing.isVerbose && context?.isSampled === true;
    this.#moments = isTold ? new Moments() : undefined;
  }

  /**
   * Names the span after what the route or the other side says. Outgoing requests tell the upstream
   * their operation; of incoming ones the caller's word counts more than the route's. Where the
   * configuration names spans, nobody else does.
   */
  decorate({ route, head }: Exchange): void {
    this.#operation = route?.tracing?.operation ?? this.#tracing.operation;
    this.#upstreamOperation = route?.tracing?.upstreamOperation ?? this.#tracing.upstreamOperation;
    if (this.#operation !== undefined) return;
    const decorator = route?.decorator;
    if (decorator !== undefined) this.#name = decorator.operation;
    const told = decorator?.propagates === true ? decorator.operation : undefined;
    const { headers } = head;
    if (this.#tracing.isEgress) {
      if (told !== undefined) headers.set(OPERATION_HEADER, told);
      return;
    }
    this.#toldOperation = told;
    const asked = headers.first(OPERATION_HEADER);
    if (asked === undefined) return;
    if (asked !== "") {
      this.#name = asked;
      this.#toldOperation = undefined;
    }
    headers.remove(OPERATION_HEADER);
  }

  /** The answer's part of `decorate`. */
  decorateAnswer(headers: HeaderBlock): void {
    if (this.#operation !== undefined) return;
    if (!this.#tracing.isEgress) {
      if (this.#toldOperation !== undefined) headers.set(OPERATION_HEADER, this.#toldOperation);
      return;
    }
    const operation = headers.first(OPERATION_HEADER);
    if (operation === undefined) return;
    if (operation !== "") this.#name = operation;
    headers.remove(OPERATION_HEADER);
  }

  /** Notes that it is now, where spans tell of it. */
  mark(moment: Moment): void {
    const moments = this.#moments;
    if (moments === undefined) return;
    moments.mark(moment);
    if (moment.includes("_upstream_")) this.#try?.moments?.mark(moment);
  }

  /** A try begins at this host. */
  tryStarted(host: HostPool, clusterName: string, attempt: number): void {
    if (!this.#tracing.spawnsUpstreamSpan || this.context === undefined) return;
    const { tracer, tryKind } = this.#tracing;
    this.#try = new TryTrace({
      context: childContext(tracer, this.context, tryKind, newSpanId),
      name: `router ${clusterName} egress`,
      kind: tryKind,
      address: host.endpoint.key,
      retryCount: attempt - 1,
      moments: this.#moments && new Moments(),
    });
  }

  /** The try has a connection: its request is about to be written. */
  inject(headers: HeaderBlock, protocol: string): void {
    if (this.#try !== undefined) this.#try.protocol = protocol;
    const context = this.#try?.context ?? this.context;
    if (context === undefined || !this.#tracing.propagates) return;
    const read = (name: string): string | undefined => headers.first(name);
    for (const [name, value] of contextHeaders(this.#tracing.tracer, context, read)) {
      headers.set(name, value);
    }
  }

  tryAnswered(head: ResponseHead): void {
    this.#try?.answered(head);
  }

  tryReset(reason: UpstreamReset["reason"]): void {
    this.#try?.wasReset(reason);
  }

  /** The try took too long. */
  tryTimedOut(flag: "UT" | "SI"): void {
    if (this.#try !== undefined) this.#try.responseFlags = flag;
  }

  /** The response is here as a whole. */
  tryCompleted(): void {
    if (this.#try !== undefined) this.#try.isCanceled = false;
  }

  /** The try is over, however it went. */
  tryEnded(exchange: Exchange): void {
    const attempt = this.#try;
    this.#try = undefined;
    if (attempt?.context.isSampled !== true) return;
    const name = this.#upstreamOperation?.(exchange);
    exchange.context.tracers.report(this.#tracing.tracer, attempt.finished(exchange, name));
  }

  /** The request is over: reports its span. */
  finish(exchange: Exchange): void {
    const { context } = this;
    if (context?.isSampled !== true) return;
    const { tracer, customTags, maxPathTagLength, isServer } = this.#tracing;
    const { tracers } = exchange.context;
    const tags = requestTags(exchange, tracers.node, {
      scheme: exchange.statedScheme,
      peerIp: exchange.connection.remoteIp,
      maxPathTagLength,
      originalPath: exchange.originalPath ?? exchange.target,
    });
    setCustomTags(tags, exchange, customTags, exchange.route?.tracing?.customTags ?? []);
    setGrpcOutcome(tags, (name) => exchange.responseTrailer(name) ?? exchange.responseHeader(name));
    tracers.report(tracer, {
      context,
      name: this.#operation?.(exchange) ?? this.#name,
      kind: isServer ? "server" : "client",
      startMicros: microsAt(exchange.startTimeMs),
      endMicros: nowMicros(),
      tags,
      events: this.#moments?.events() ?? [],
    });
  }
}
