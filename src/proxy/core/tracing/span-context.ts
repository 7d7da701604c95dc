/** Where a span stands in its trace. Identifiers are lower-case hex digits: 16, or 32 for a long trace id. */
export interface SpanContext {
  readonly traceId: string;
  readonly spanId: string;
  /** "" = none. */
  readonly parentId: string;
  /** The parent span is somebody else's. */
  readonly isParentRemote: boolean;
  readonly isSampled: boolean;
  /** W3C's `tracestate`; "" = none. */
  readonly traceState: string;
}

/** What the headers of a request say about its trace. */
export type Extraction =
  /** No trace yet, but perhaps a decision about it. */
  | { readonly kind: "none"; readonly isSampled: boolean | undefined }
  | {
      readonly kind: "context";
      readonly traceId: string;
      readonly spanId: string;
      readonly parentId: string;
      readonly isSampled: boolean | undefined;
      readonly traceState: string;
    }
  /** As Envoy: such a request has no span, and its headers stay as they are. */
  | { readonly kind: "malformed" };

/** Reads the first value of a header. */
export type ReadHeader = (name: string) => string | undefined;
