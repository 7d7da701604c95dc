import assert from "node:assert/strict";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { runProxy } from "../../../src/proxy/index.ts";
import { createLogger, systemClock } from "../../../src/runtime/index.ts";
import {
  type CollectedSpan,
  type SpanCollector,
  startSpanCollector,
} from "../../support/span-collector.ts";
import { ended, freePort, startEnvoy } from "./envoy-process.ts";
import { exchange } from "./raw-http.ts";

const TYPE = "type.googleapis.com/";

/** A listener of its own, for each way to trace. */
export interface TracingListener {
  /** Fields of the HttpConnectionManager's `tracing` beside the provider; undefined = none at all. */
  readonly tracing: object | undefined;
  readonly provider?: object;
  readonly manager?: object;
  readonly listener?: object;
  readonly router?: object;
}

/** One request; its name is unique. */
export interface TracingRow {
  readonly name: string;
  readonly listener: string;
  readonly request: string;
  /** Spans that Envoy reports for it: a guard against both being wrong in the same way. */
  readonly spans: number;
}

/** What a proxy did with one request. Identifiers that it made up have names in order of appearance. */
export interface TracingOutcome {
  readonly status: number;
  /** What the upstream and the client saw of tracing. */
  readonly asked: readonly string[];
  readonly answered: readonly string[];
  readonly log: string;
  readonly spans: readonly object[];
}

export interface TracingResult {
  readonly outcomes: ReadonlyMap<string, TracingOutcome>;
  /** The counters of tracing that do not depend on time. */
  readonly counters: Readonly<Record<string, number>>;
  /** How reports arrived, without repetitions. */
  readonly reports: readonly string[];
}

/** A Zipkin tracer's configuration. */
export function zipkin(more: object = {}): object {
  return {
    name: "envoy.tracers.zipkin",
    typed_config: {
      "@type": `${TYPE}envoy.config.trace.v3.ZipkinConfig`,
      collector_cluster: "collector",
      collector_endpoint: "/api/v2/spans",
      collector_endpoint_version: "HTTP_JSON",
      ...more,
    },
  };
}

/** An OpenTelemetry tracer's configuration, by gRPC unless `more` says otherwise. */
export function openTelemetry(
  more: object = { grpc_service: { envoy_grpc: { cluster_name: "collector-grpc" } } },
): object {
  return {
    name: "envoy.tracers.opentelemetry",
    typed_config: {
      "@type": `${TYPE}envoy.config.trace.v3.OpenTelemetryConfig`,
      service_name: "shop",
      ...more,
    },
  };
}

/** Sends the rows to our proxy, and before that, from the same bootstrap, to real Envoy if asked. */
export async function runTracingTable(
  listeners: Readonly<Record<string, TracingListener>>,
  routes: object,
  rows: readonly TracingRow[],
  which: { readonly envoy: boolean; readonly ours: boolean },
): Promise<{ readonly envoy?: TracingResult; readonly ours?: TracingResult }> {
  const dir = mkdtempSync(join(tmpdir(), "serin-tracing-"));
  const upstream = await startUpstream();
  const collector = await startSpanCollector();
  try {
    const names = Object.keys(listeners);
    const [admin = 0, dead = 0, ...free] = await distinctPorts(names.length + 2);
    const ports = new Map(names.map((name, i) => [name, free[i] ?? 0]));
    const log = join(dir, "access.log");
    const text = JSON.stringify({
      node: { id: "node-1", cluster: "table", locality: { region: "r", zone: "z" } },
      admin: { address: address(admin) },
      static_resources: {
        listeners: Object.entries(listeners).map(([name, listener]) =>
          listenerOf(name, ports.get(name) ?? 0, listener, routes, log),
        ),
        clusters: [
          { ...cluster("a", upstream.port), alt_stat_name: "a-observed" },
          cluster("dead", dead),
          cluster("collector", collector.httpPort),
          { ...cluster("collector-grpc", collector.grpcPort), ...HTTP2 },
        ],
      },
    });
    const file = join(dir, "bootstrap.json");
    writeFileSync(file, text);
    const places = new Map([
      [upstream.port, "upstream"],
      ...[...ports].map(([name, port]) => [port, name] as const),
    ]);
    const ask = () => askAll({ rows, ports, upstream, collector, log, admin, names: places });
    let envoy: TracingResult | undefined;
    if (which.envoy) {
      const child = await startEnvoy(file, admin);
      try {
        envoy = await ask();
      } finally {
        await ended(child);
      }
    }
    rmSync(log, { force: true });
    if (!which.ours) return { ...(envoy && { envoy }) };
    const logger = createLogger("table", "silent");
    const proxy = await runProxy({ bootstrapText: text, logger, clock: systemClock });
    try {
      await proxy.ready;
      return { ...(envoy && { envoy }), ours: await ask() };
    } finally {
      await proxy.stop(0);
    }
  } finally {
    await Promise.all([upstream.stop(), collector.stop()]);
    rmSync(dir, { recursive: true });
  }
}

/** Of so many, two may be the same by chance. */
async function distinctPorts(count: number): Promise<readonly number[]> {
  const ports = new Set<number>();
  while (ports.size < count) ports.add(await freePort());
  return [...ports];
}

const HTTP2 = {
  typed_extension_protocol_options: {
    "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
      "@type": `${TYPE}envoy.extensions.upstreams.http.v3.HttpProtocolOptions`,
      explicit_http_config: { http2_protocol_options: {} },
    },
  },
};

function address(port: number) {
  return { socket_address: { address: "127.0.0.1", port_value: port } };
}

function cluster(name: string, port: number) {
  return {
    name,
    type: "STATIC",
    connect_timeout: "1s",
    load_assignment: {
      cluster_name: name,
      endpoints: [{ lb_endpoints: [{ endpoint: { address: address(port) } }] }],
    },
  };
}

/** Every span says which row it belongs to. */
const ROW_TAG = { tag: "row", request_header: { name: "x-row" } };

function listenerOf(
  name: string,
  port: number,
  { tracing, provider, manager, listener, router }: TracingListener,
  routes: object,
  log: string,
) {
  const { custom_tags = [], ...more } = (tracing ?? {}) as { custom_tags?: readonly object[] };
  const typed_config = {
    "@type": `${TYPE}envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager`,
    stat_prefix: name,
    use_remote_address: true,
    ...(tracing && { tracing: { provider, ...more, custom_tags: [ROW_TAG, ...custom_tags] } }),
    access_log: [
      {
        name: "envoy.access_loggers.file",
        typed_config: {
          "@type": `${TYPE}envoy.extensions.access_loggers.file.v3.FileAccessLog`,
          path: log,
          log_format: {
            text_format_source: {
              inline_string: "%REQ(X-ROW)% %TRACE_ID% %SPAN_ID% %REQ(X-REQUEST-ID)%\n",
            },
          },
        },
      },
    ],
    http_filters: [
      {
        name: "envoy.filters.http.router",
        typed_config: {
          "@type": `${TYPE}envoy.extensions.filters.http.router.v3.Router`,
          ...router,
        },
      },
    ],
    route_config: routes,
    ...manager,
  };
  const filters = [{ name: "envoy.filters.network.http_connection_manager", typed_config }];
  return { name, address: address(port), filter_chains: [{ filters }], ...listener };
}

/** An upstream that answers as `x-answer` asks, with the fields of `x-answer-field`. */
async function startUpstream() {
  const asked = new Map<string, string[]>();
  const tries = new Map<string, number>();
  const server = createServer((request, response) => {
    const row = String(request.headers["x-row"]);
    const fields = asked.get(row) ?? [];
    asked.set(row, fields);
    for (let i = 0; i < request.rawHeaders.length; i += 2) {
      fields.push(`${request.rawHeaders[i]?.toLowerCase()}: ${request.rawHeaders[i + 1]}`);
    }
    const attempt = tries.get(row) ?? 0;
    tries.set(row, attempt + 1);
    const statuses = String(request.headers["x-answer"] ?? "200").split(",");
    const field = request.headers["x-answer-field"];
    if (typeof field === "string") {
      const [name = "", value = ""] = field.split("=");
      response.setHeader(name, value);
    }
    response.statusCode = Number(statuses[Math.min(attempt, statuses.length - 1)]);
    // `x-wait`: for ever.
    if (request.headers["x-wait"] === undefined)
      request.resume().on("end", () => response.end("ok"));
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    port: (server.address() as AddressInfo).port,
    asked,
    tries,
    stop: (): Promise<void> =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

interface Places {
  readonly rows: readonly TracingRow[];
  readonly ports: ReadonlyMap<string, number>;
  readonly upstream: Awaited<ReturnType<typeof startUpstream>>;
  readonly collector: SpanCollector;
  readonly log: string;
  readonly admin: number;
  readonly names: ReadonlyMap<number, string>;
}

async function askAll(places: Places): Promise<TracingResult> {
  const { rows, ports, upstream, collector, log, admin } = places;
  upstream.asked.clear();
  upstream.tries.clear();
  collector.spans.length = 0;
  collector.reports.length = 0;
  const answers = new Map<string, Awaited<ReturnType<typeof exchange>>>();
  for (const [index, row] of rows.entries()) {
    const request = written(row, index);
    answers.set(row.name, await exchange(ports.get(row.listener) ?? 0, request));
  }
  const wanted = rows.reduce((sum, { spans }) => sum + spans, 0);
  await until(() => collector.spans.length >= wanted, "spans");
  const lines = await logged(rows.length, log);
  const stats = await fetch(`http://127.0.0.1:${admin}/stats?filter=tracing`).then((r) => r.text());
  return {
    counters: counters(stats),
    reports: [
      ...new Set(
        collector.reports.map(({ path, contentType, host }) => `${path} ${contentType} ${host}`),
      ),
    ].sort(),
    outcomes: new Map(
      rows.map((row, index) => {
        const answer = answers.get(row.name);
        const own = collector.spans.filter((span) => span.tags["row"] === `r${index}`);
        const label = labeller(written(row, index), places.names);
        return [
          row.name,
          {
            status: answer?.status ?? 0,
            asked: tracingFields(upstream.asked.get(`r${index}`) ?? []).map(label),
            answered: tracingFields((answer?.fields ?? []).map((f) => f.join(": "))).map(label),
            spans: inOrder(own).map((span) => labelled(span, label)),
            log: label(lines.get(`r${index}`) ?? ""),
          },
        ];
      }),
    ),
  };
}

/** Each row has trace ids of its own: `ROW` stands for four digits. */
function written({ request }: TracingRow, index: number): string {
  return request
    .replace("\r\n", `\r\nx-row: r${index}\r\n`)
    .replaceAll("ROW", index.toString(16).padStart(4, "0"));
}

const TRACING =
  /^(?:x-b3-|b3:|traceparent|tracestate|x-request-id|x-ot-|x-client-trace-id|x-envoy-decorator|x-envoy-force|grpc-|x-cloud)/;

function tracingFields(fields: readonly string[]): readonly string[] {
  // By name only: of several tries, one after the other.
  const name = (field: string): string => field.slice(0, field.indexOf(":"));
  return fields
    .filter((field) => TRACING.test(field))
    .sort((a, b) => (name(a) < name(b) ? -1 : name(a) > name(b) ? 1 : 0));
}

/** Parents before children, else as they began. */
function inOrder(spans: readonly CollectedSpan[]): readonly CollectedSpan[] {
  const rank = ({ kind }: CollectedSpan): number => (kind === "SERVER" ? 0 : 1);
  const isChild = (a: CollectedSpan, b: CollectedSpan): boolean => a.parentId === b.id;
  return [...spans].sort((a, b) => {
    if (a.kind === b.kind && isChild(a, b) !== isChild(b, a)) return isChild(a, b) ? 1 : -1;
    return rank(a) - rank(b) || a.timestamp - b.timestamp;
  });
}

const ID =
  /(?<![0-9a-f])(?:[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}|[0-9a-f]{32}|[0-9a-f]{16})(?![0-9a-f])/g;

/** Gives names to identifiers that the request did not bring; keeps what a request id says. */
function labeller(request: string, names: ReadonlyMap<number, string>): (text: string) => string {
  const known = new Map<string, string>();
  return (text) =>
    text
      // A short trace id where only a long one will do.
      .replaceAll(/(?<![0-9a-f])0{16}(?=[0-9a-f]{16}(?![0-9a-f]))(?!0{16})/g, "zeros ")
      .replaceAll(ID, (id) => {
        if (request.includes(id)) return id;
        const reason = id.length === 36 ? ` ${id[14]}` : "";
        const label = known.get(id) ?? `<${id.length} ${known.size}${reason}>`;
        known.set(id, label);
        return label;
      })
      .replaceAll(/(?<=127\.0\.0\.1:)\d+/g, (port) => names.get(Number(port)) ?? "ephemeral");
}

function labelled(span: CollectedSpan, label: (text: string) => string): object {
  const { timestamp: _, ...rest } = span;
  const tags = Object.entries(span.tags)
    .filter(([key]) => key !== "row")
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([key, value]) => `${key}=${label(value)}`);
  return {
    ...rest,
    traceId: label(span.traceId),
    id: label(span.id),
    parentId: label(span.parentId),
    name: label(span.name),
    local: label(span.local),
    tags,
  };
}

/** Those depend on how spans come to be sent together. */
const TIMED = /timer_flushed|reports_|http_/;

function counters(stats: string): Readonly<Record<string, number>> {
  const entries = stats
    .split("\n")
    .map((line) => /^(\S*tracing\.\S+): (\d+)$/.exec(line))
    .flatMap((match) => (match === null ? [] : [[match[1] ?? "", Number(match[2])] as const]))
    .filter(([name, value]) => value > 0 && !TIMED.test(name));
  return Object.fromEntries(entries.sort(([a], [b]) => (a < b ? -1 : 1)));
}

async function logged(count: number, file: string): Promise<ReadonlyMap<string, string>> {
  let lines: readonly string[] = [];
  await until(() => {
    const text = existsSync(file) ? readFileSync(file, "utf8") : "";
    lines = text.split("\n").filter((line) => /^r\d+ /.test(line));
    return lines.length >= count;
  }, "access log");
  return new Map(lines.map((line) => [line.split(" ", 1)[0] ?? "", line]));
}

async function until(isDone: () => boolean, what: string): Promise<void> {
  const deadline = Date.now() + 30_000;
  while (!isDone()) {
    if (Date.now() > deadline) assert.fail(`${what} did not arrive`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}
