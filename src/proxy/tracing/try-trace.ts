import type { ResponseHead } from "../core/http1/head-parser.ts";
import { RESET_FLAGS, type UpstreamReset } from "../core/rescue.ts";
import type { FinishedSpan } from "../core/tracing/span.ts";
import type { SpanContext } from "../core/tracing/span-context.ts";
import {
  setCustomTags,
  setGrpcOutcome,
  type TryRecord,
  tryTags,
} from "../core/tracing/span-tags.ts";
import type { Exchange } from "../upstream/exchange.ts";
import type { Moments } from "./moments.ts";
import { nowMicros } from "./span-clock.ts";

/** The span of one try, from the choice of its host to its end. */
export class TryTrace implements TryRecord {
  readonly context: SpanContext;
  readonly address: string;
  readonly retryCount: number;
  /** Undefined: the span does not tell. */
  readonly moments: Moments | undefined;
  readonly #name: string;
  readonly #kind: FinishedSpan["kind"];
  readonly #startMicros = nowMicros();
  #head: ResponseHead | undefined;
  status = 0;
  protocol: string | undefined;
  responseFlags = "";
  errorReason = "";
  /** Until it ends otherwise. */
  isCanceled = true;

  constructor(start: {
    readonly context: SpanContext;
    readonly name: string;
    readonly kind: FinishedSpan["kind"];
    readonly address: string;
    /** From 0. */
    readonly retryCount: number;
    readonly moments: Moments | undefined;
  }) {
    this.context = start.context;
    this.#name = start.name;
    this.#kind = start.kind;
    this.address = start.address;
    this.retryCount = start.retryCount;
    this.moments = start.moments;
  }

  answered(head: ResponseHead): void {
    this.#head = head;
    this.status = head.status;
  }

  wasReset(reason: UpstreamReset["reason"]): void {
    this.isCanceled = false;
    this.errorReason = reason;
    this.responseFlags = RESET_FLAGS[reason];
  }

  header(name: string): string | undefined {
    return this.#head?.headers.first(name);
  }

  /** The span, now that the try is over. `name`: another one than it was given. */
  finished(exchange: Exchange, name: string | undefined): FinishedSpan {
    const tags = tryTags(exchange, this);
    const { manager, route } = exchange;
    const ofRoute = route?.tracing?.customTags ?? [];
    setCustomTags(tags, exchange, manager.tracing?.customTags ?? [], ofRoute);
    setGrpcOutcome(tags, (name) => exchange.responseTrailer(name) ?? this.header(name));
    return {
      context: this.context,
      name: name ?? this.#name,
      kind: this.#kind,
      startMicros: this.#startMicros,
      endMicros: nowMicros(),
      tags,
      events: this.moments?.events() ?? [],
    };
  }
}
