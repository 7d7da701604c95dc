import type { FinishedSpan, LocalNode } from "./span.ts";

/** Spans as Zipkin's API v2 takes them. `sharesContext`: server spans may share their identifier. */
export function encodeZipkinJson(
  spans: readonly FinishedSpan[],
  node: LocalNode,
  sharesContext: boolean,
): Buffer {
  const localEndpoint = endpoint(node);
  return Buffer.from(
    JSON.stringify(spans.map((span) => zipkinSpan(span, localEndpoint, sharesContext))),
  );
}

function zipkinSpan(span: FinishedSpan, localEndpoint: object, sharesContext: boolean): object {
  const { context, name, kind, startMicros, endMicros, tags, events } = span;
  // Envoy writes when the answer was over ("server send", "client receive") as Zipkin v1 did.
  const last = { value: kind === "server" ? "ss" : "cr", timestamp: endMicros };
  return {
    traceId: context.traceId,
    ...(context.parentId === "" ? {} : { parentId: context.parentId }),
    id: context.spanId,
    ...(name === "" ? {} : { name }),
    kind: kind === "server" ? "SERVER" : "CLIENT",
    ...(kind === "server" && sharesContext ? { shared: true } : {}),
    timestamp: startMicros,
    duration: endMicros - startMicros,
    localEndpoint,
    // Zipkin knows no empty tags.
    tags: Object.fromEntries([...tags].filter(([, value]) => value !== "")),
    annotations: [
      ...events.map(({ name: value, atMicros }) => ({ value, timestamp: atMicros })),
      last,
    ],
  };
}

function endpoint({ cluster, address }: LocalNode): object {
  const field = address.includes(":") ? "ipv6" : "ipv4";
  return {
    ...(address === "" ? {} : { [field]: address, port: 0 }),
    ...(cluster === "" ? {} : { serviceName: cluster }),
  };
}
