import axios, { isAxiosError } from "axios";
import { z } from "zod";
import { invalidDocument, issuesOf, messageOf, SerinError } from "../base/index.ts";
import { builtInPromql } from "./core/prometheus-query.ts";
import type { Measurement, MetricQuery, MetricsProvider } from "./metrics-provider.ts";

export interface PrometheusProviderOptions {
  /** Base URL, with or without a path: `http://prometheus.istio-system:9090`. */
  readonly address: string;
  readonly bearerToken?: string;
  readonly basicAuth?: { readonly username: string; readonly password: string };
  /** For one query. Default 5,000, as Flagger's. */
  readonly timeoutMs?: number;
}

/** Prometheus' HTTP API: instant query (https://prometheus.io/docs/prometheus/latest/querying/api). */
const answerSchema = z.discriminatedUnion("status", [
  z.object({
    status: z.literal("success"),
    data: z.object({
      resultType: z.literal("vector"),
      result: z.array(z.object({ value: z.tuple([z.number(), z.string()]) })),
    }),
  }),
  z.object({ status: z.literal("error"), errorType: z.string(), error: z.string() }),
]);

/**
 * Answers the built-in metrics with Flagger's own queries from a Prometheus server. No series, or
 * NaN, is an absent value; of several series the last one counts, as in Flagger. A server that
 * cannot be reached, is too slow or answers anything else throws SERIN_METRICS (`retry: "yes"`).
 */
export function createPrometheusProvider(options: PrometheusProviderOptions): MetricsProvider {
  const url = queryUrl(options.address);
  const timeoutMs = options.timeoutMs ?? 5000;
  return {
    async query(query: MetricQuery, signal: AbortSignal): Promise<Measurement> {
      const promql = builtInPromql(query);
      const value = await instantValue(url, promql, options, timeoutMs, signal);
      if (value === undefined || query.metric !== "request-duration") return { value };
      return { value: Math.trunc(value) };
    },
  };
}

async function instantValue(
  url: string,
  promql: string,
  options: PrometheusProviderOptions,
  timeoutMs: number,
  signal: AbortSignal,
): Promise<number | undefined> {
  let body: unknown;
  try {
    const response = await axios.get<unknown>(url, {
      params: { query: promql },
      // axios' own timeout covers neither connecting nor a stalled body; this signal covers all.
      signal: AbortSignal.any([signal, AbortSignal.timeout(timeoutMs)]),
      // Prometheus explains a refused query in the JSON body of a 4xx.
      validateStatus: (status) => status < 500,
      maxContentLength: 1_000_000,
      ...(options.bearerToken === undefined
        ? {}
        : { headers: { authorization: `Bearer ${options.bearerToken}` } }),
      ...(options.basicAuth === undefined ? {} : { auth: options.basicAuth }),
    });
    body = response.data;
  } catch (error) {
    throw unavailable(url, reasonOf(error, signal, timeoutMs), error);
  }
  const answer = answerSchema.safeParse(body);
  if (!answer.success) {
    const { message } = invalidDocument("its answer", issuesOf(answer.error));
    throw unavailable(url, message, answer.error);
  }
  if (answer.data.status === "error") {
    throw unavailable(url, `${answer.data.errorType}: ${answer.data.error}`, undefined);
  }
  const last = answer.data.data.result.at(-1)?.value[1];
  const value = last === undefined ? Number.NaN : parseSample(last);
  return Number.isNaN(value) ? undefined : value;
}

/** A sample value as Prometheus writes it: a number, `NaN`, `+Inf` or `-Inf`. */
function parseSample(text: string): number {
  if (text === "+Inf") return Number.POSITIVE_INFINITY;
  if (text === "-Inf") return Number.NEGATIVE_INFINITY;
  return Number(text);
}

function reasonOf(error: unknown, signal: AbortSignal, timeoutMs: number): string {
  if (signal.aborted) return "the query was cancelled";
  if (isAxiosError(error) && error.code === "ERR_CANCELED") {
    return `no answer within ${timeoutMs} ms`;
  }
  // A refused connection has an empty message where both address families were tried.
  const code = isAxiosError(error) ? error.code : undefined;
  return messageOf(error) || (code ?? "unknown failure");
}

function unavailable(url: string, reason: string, cause: unknown): SerinError {
  return new SerinError("SERIN_METRICS", `Prometheus at ${url} cannot answer: ${reason}`, {
    source: "remote",
    retry: "yes",
    ...(cause === undefined ? {} : { cause }),
  });
}

function queryUrl(address: string): string {
  if (!URL.canParse(address) || !/^https?:$/.test(new URL(address).protocol)) {
    throw new SerinError(
      "SERIN_METRICS",
      `the metrics server's address is not an http(s) URL: ${JSON.stringify(address)}`,
      { source: "caller" },
    );
  }
  const url = new URL(address);
  url.pathname = `${url.pathname.replace(/\/+$/, "")}/api/v1/query`;
  url.search = "";
  return url.href;
}
