import type { Extraction, ReadHeader, SpanContext } from "./span-context.ts";

/** `trace id of 32 digits`-`span id`-`flag`-`parent id` */
const MAX_SINGLE_LENGTH = 32 + 1 + 16 + 3 + 16;
const SINGLE =
  /^(?<trace>[0-9a-f]{16}|[0-9a-f]{32})-(?<span>[0-9a-f]{16})(?:-(?<flag>[01d])(?:-(?<parent>[0-9a-f]{16}))?)?$/i;
const NO_PARENT = "0000000000000000";

/**
 * Reads B3: the header `b3`, else the headers `x-b3-*`. Source: openzipkin/b3-propagation; where that
 * leaves room, as Envoy's Zipkin tracer.
 */
export function extractB3(read: ReadHeader): Extraction {
  const single = read("b3");
  return single === undefined ? extractMulti(read) : extractSingle(single);
}

function extractSingle(value: string): Extraction {
  if (value.length === 1) {
    const isFlag = value === "0" || value === "1" || value === "d";
    return isFlag ? { kind: "none", isSampled: value !== "0" } : { kind: "malformed" };
  }
  if (value.length > MAX_SINGLE_LENGTH) return { kind: "malformed" };
  const groups = SINGLE.exec(value)?.groups;
  if (groups === undefined) return { kind: "malformed" };
  const { trace = "", span = "", flag, parent = "" } = groups;
  return {
    kind: "context",
    traceId: trace.toLowerCase(),
    spanId: span.toLowerCase(),
    parentId: parentOf(parent.toLowerCase()),
    isSampled: flag === undefined ? undefined : flag !== "0",
    traceState: "",
  };
}

function extractMulti(read: ReadHeader): Extraction {
  const sampled = read("x-b3-sampled");
  const isSampled = sampled === undefined ? undefined : sampled === "1" || sampled === "true";
  const trace = read("x-b3-traceid");
  const span = read("x-b3-spanid");
  if (trace === undefined || span === undefined) return { kind: "none", isSampled };
  const traceId = trace.length === 32 ? hexDigits(trace, 32) : hexDigits(trace, 16);
  const spanId = hexDigits(span, 16);
  const parent = read("x-b3-parentspanid");
  const parentId = parent === undefined || parent === "" ? "" : hexDigits(parent, 16);
  if (traceId === undefined || spanId === undefined || parentId === undefined) {
    return { kind: "malformed" };
  }
  return {
    kind: "context",
    traceId,
    spanId,
    parentId: parentOf(parentId),
    isSampled,
    traceState: "",
  };
}

/** Short numbers are filled up; undefined when it is none, or too big. */
function hexDigits(text: string, length: number): string | undefined {
  if (!/^[0-9a-f]+$/i.test(text)) return undefined;
  const digits = text.toLowerCase().replace(/^0+/, "").padStart(length, "0");
  return digits.length === length ? digits : undefined;
}

function parentOf(digits: string): string {
  return digits === NO_PARENT ? "" : digits;
}

/** The headers that carry a context on, in the form in which the request brought one. */
export function b3Headers(
  { traceId, spanId, parentId, isSampled }: SpanContext,
  isSingle: boolean,
): readonly (readonly [name: string, value: string])[] {
  const flag = isSampled ? "1" : "0";
  if (isSingle) {
    const value = `${traceId}-${spanId}-${flag}`;
    return [["b3", parentId === "" ? value : `${value}-${parentId}`]];
  }
  const headers: [string, string][] = [
    ["x-b3-traceid", traceId],
    ["x-b3-spanid", spanId],
  ];
  if (parentId !== "") headers.push(["x-b3-parentspanid", parentId]);
  headers.push(["x-b3-sampled", flag]);
  return headers;
}
