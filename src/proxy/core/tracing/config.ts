import type { DynamicMetadata } from "../metadata.ts";
import type { AccessLogRecord } from "../runtime-config.ts";
import type { Sampling } from "./sampling.ts";
import type { TextFormat } from "./text-format.ts";
import type { TracerConfig } from "./tracer.ts";

/** What spans are called, in place of what tracer and decorator say. */
export interface SpanNames {
  readonly operation: TextFormat | undefined;
  /** Of the spans of tries. */
  readonly upstreamOperation: TextFormat | undefined;
}

/** How an HTTP connection manager traces. */
export interface TracingConfig extends SpanNames {
  readonly tracer: TracerConfig;
  readonly sampling: Sampling;
  /** Spans tell when each part of the exchange came and went. */
  readonly isVerbose: boolean;
  /** Characters. */
  readonly maxPathTagLength: number;
  readonly customTags: readonly CustomTag[];
  /** Each try has a span of its own. */
  readonly spawnsUpstreamSpan: boolean;
  readonly tryKind: "server" | "client";
  /** The request's span is a server's. */
  readonly isServer: boolean;
  /** Calls that leave: their operation is told to the upstream, and what arrives is told to the caller. */
  readonly isEgress: boolean;
  /** The upstream gets to know the trace. */
  readonly propagates: boolean;
}

/** What a route wants else. */
export interface RouteTracing extends SpanNames {
  readonly sampling: Sampling;
  /** Before the connection manager's of the same names. */
  readonly customTags: readonly CustomTag[];
}

/** The name of what a route does, for its spans. */
export interface Decorator {
  readonly operation: string;
  /** The other side gets to know it. */
  readonly propagates: boolean;
}

/** Where the values of custom tags come from. */
export interface TagSource extends AccessLogRecord {
  readonly routeMetadata?: DynamicMetadata | undefined;
}

/** A tag that the configuration adds; without a value it is left out. */
export interface CustomTag {
  readonly tag: string;
  value(source: TagSource): string | undefined;
}

/** How request ids have to do with traces. */
export interface RequestIdConfig {
  /** The id tells why the request is traced. */
  readonly packsTraceReason: boolean;
  /** The id decides; else every request is traced. */
  readonly decidesSampling: boolean;
}
