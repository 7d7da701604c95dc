import type { TracingConfig } from "../core/tracing/config.ts";
import { type TraceReason, traceReasonOf, withTraceReason } from "../core/tracing/request-id.ts";
import { decideTrace } from "../core/tracing/sampling.ts";
import { extractContext, startContext } from "../core/tracing/tracer.ts";
import type { Exchange } from "../upstream/exchange.ts";
import { RequestTrace } from "./request-trace.ts";
import { newSpanId } from "./span-ids.ts";

/** Begins a request's trace: decides whether it is reported, and finds its place in its trace. */
export function startTrace(exchange: Exchange, tracing: TracingConfig): void {
  const { context, manager } = exchange;
  const { headers } = exchange.head;
  const reason = decide(exchange, tracing);
  context.telemetry.counter(`http.${manager.statPrefix}.tracing.${reason}`).add(1);
  const { tracer, isServer, isEgress } = tracing;
  const extraction = extractContext(
    tracer,
    (name) => headers.first(name),
    (name) => headers.get(name),
  );
  const span = startContext(tracer, extraction, {
    isTraced: reason !== "not_traceable",
    isServer,
    newId: newSpanId,
  });
  const host = exchange.authority;
  const operation = isEgress ? `egress ${host}` : "ingress";
  const name = tracer.kind === "zipkin" ? host : operation;
  const trace = new RequestTrace(tracing, reason, span, name);
  trace.decorate(exchange);
  if (exchange.head.framing.kind === "none") trace.mark("last_downstream_rx_byte_received");
  exchange.trace = trace;
}

/** Decides, and writes the reason into the request id where that is wanted. */
function decide(exchange: Exchange, tracing: TracingConfig): TraceReason {
  const { manager, route, head, context } = exchange;
  if (manager.requestId?.decidesSampling === false) return "random_sampling";
  const { headers } = head;
  const requestId = headers.first("x-request-id");
  const reason = decideTrace(route?.tracing?.sampling ?? tracing.sampling, {
    requestId,
    hasClientTraceId: headers.has("x-client-trace-id"),
    isForced: headers.has("x-envoy-force-trace"),
    random: context.random,
  });
  const isPacked = manager.requestId?.packsTraceReason !== false;
  if (isPacked && requestId !== undefined && traceReasonOf(requestId) !== reason) {
    headers.set("x-request-id", withTraceReason(requestId, reason));
  }
  return reason;
}
