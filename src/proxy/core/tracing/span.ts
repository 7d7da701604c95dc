import type { SpanContext } from "./span-context.ts";

/** A span that is over, as every exporter gets it. Times are microseconds since the epoch. */
export interface FinishedSpan {
  readonly context: SpanContext;
  readonly name: string;
  readonly kind: "server" | "client";
  readonly startMicros: number;
  readonly endMicros: number;
  readonly tags: ReadonlyMap<string, string>;
  readonly events: readonly SpanEvent[];
}

export interface SpanEvent {
  readonly name: string;
  readonly atMicros: number;
}

/** Who reports: what xDS calls the node. */
export interface LocalNode {
  readonly id: string;
  /** The service that it is part of. */
  readonly cluster: string;
  readonly zone: string;
  /** An address of this machine; "" = not known. */
  readonly address: string;
}
