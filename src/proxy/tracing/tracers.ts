import type { RuntimeConfig } from "../config/runtime-config.ts";
import type { ProxyContext } from "../context.ts";
import type { FinishedSpan, LocalNode } from "../core/tracing/span.ts";
import type { TracerConfig } from "../core/tracing/tracer.ts";
import { SpanReporter } from "./span-reporter.ts";

/** The reporters of every tracer that the configuration has, one for equal ones. */
export class Tracers {
  readonly node: LocalNode;
  readonly #reporters = new Map<string, SpanReporter>();

  constructor(node: LocalNode) {
    this.node = node;
  }

  /** Starts reporters that the configuration asks for, and ends the others. */
  apply(context: ProxyContext, config: RuntimeConfig): void {
    const wanted = new Map<string, TracerConfig>();
    for (const tracer of tracersOf(config)) wanted.set(tracer.key, tracer);
    for (const [key, reporter] of this.#reporters) {
      if (wanted.has(key)) continue;
      // Its last report may take its time.
      void reporter.stop();
      this.#reporters.delete(key);
    }
    for (const [key, tracer] of wanted) {
      if (this.#reporters.has(key)) continue;
      this.#reporters.set(key, new SpanReporter(context, tracer, this.node));
    }
  }

  /** Takes a span; one of a tracer that is gone meanwhile is dropped. */
  report(tracer: TracerConfig, span: FinishedSpan): void {
    this.#reporters.get(tracer.key)?.report(span);
  }

  /** Sends what is left. Resolves when it has arrived, or after `graceMs`. */
  async stop(graceMs: number): Promise<void> {
    const stopped = [...this.#reporters.values()].map((reporter) => reporter.stop());
    this.#reporters.clear();
    if (stopped.length === 0 || graceMs <= 0) return;
    const deadline = Promise.withResolvers<void>();
    const timer = setTimeout(deadline.resolve, graceMs);
    await Promise.race([Promise.all(stopped), deadline.promise]);
    clearTimeout(timer);
  }
}

function* tracersOf(config: RuntimeConfig): Iterable<TracerConfig> {
  for (const { chains, defaultChain } of config.listeners.values()) {
    for (const { network } of defaultChain === undefined ? chains : [...chains, defaultChain]) {
      if (network.kind === "http" && network.tracing !== undefined) yield network.tracing.tracer;
    }
  }
}
