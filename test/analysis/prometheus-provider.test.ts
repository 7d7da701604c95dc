import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer, type RequestListener, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { histogramQuantile } from "../../src/analysis/core/quantile.ts";
import { createPrometheusProvider } from "../../src/analysis/index.ts";
import { SerinError } from "../../src/base/index.ts";
import { findTool, skipWithout } from "../support/tools.ts";

const never = new AbortController().signal;
const QUERY = {
  metric: "request-success-rate",
  namespace: "default",
  workload: "reviews",
  intervalMs: 60_000,
};

async function listen(t: TestContext, handler: RequestListener): Promise<string> {
  const server: Server = createServer(handler).listen(0, "127.0.0.1");
  await once(server, "listening");
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

const vector = (...values: string[]): string =>
  JSON.stringify({
    status: "success",
    data: { resultType: "vector", result: values.map((v) => ({ metric: {}, value: [1, v] })) },
  });

test("sends Flagger's queries below the address's own path", async (t) => {
  const seen: string[] = [];
  const address = await listen(t, (request, response) => {
    const url = new URL(request.url ?? "", "http://prometheus");
    seen.push(`${url.pathname} ${request.headers.authorization} ${url.searchParams.get("query")}`);
    response.end(vector("99.5"));
  });
  const provider = createPrometheusProvider({ address: `${address}/prom/`, bearerToken: "secret" });
  assert.deepEqual(await provider.query(QUERY, never), { value: 99.5 });
  await provider.query({ ...QUERY, metric: "request-duration", intervalMs: 5000 }, never);
  const received =
    'reporter="destination",destination_workload_namespace="default",destination_workload=~"reviews"';
  assert.deepEqual(seen, [
    `/prom/api/v1/query Bearer secret sum(rate(istio_requests_total{${received},response_code!~"5.*"}[1m])) / sum(rate(istio_requests_total{${received}}[1m])) * 100`,
    `/prom/api/v1/query Bearer secret histogram_quantile(0.99, sum(rate(istio_request_duration_milliseconds_bucket{${received}}[5s])) by (le))`,
  ]);
});

const ANSWERS: readonly (readonly [string, string, string, number | undefined])[] = [
  ["no series is an absent value", QUERY.metric, vector(), undefined],
  ["NaN is an absent value", QUERY.metric, vector("NaN"), undefined],
  ["of several series the last counts", QUERY.metric, vector("1", "2"), 2],
  ["infinity is a value", QUERY.metric, vector("+Inf"), Number.POSITIVE_INFINITY],
  ["a latency is cut to whole milliseconds", "request-duration", vector("499.99"), 499],
  ["a rate is not", QUERY.metric, vector("98.99"), 98.99],
];
for (const [name, metric, body, value] of ANSWERS) {
  test(name, async (t) => {
    const address = await listen(t, (_request, response) => response.end(body));
    const provider = createPrometheusProvider({ address });
    assert.deepEqual(await provider.query({ ...QUERY, metric }, never), { value });
  });
}

const FAILURES: readonly (readonly [string, RequestListener, RegExp])[] = [
  [
    "a refused query is reported in Prometheus' words",
    (_request, response) =>
      response.writeHead(400).end('{"status":"error","errorType":"bad_data","error":"parse"}'),
    /bad_data: parse/,
  ],
  ["a failing server", (_request, response) => response.writeHead(503).end("no"), /503/],
  ["an answer that is not JSON", (_request, response) => response.end("<html>"), /its answer/],
  [
    "a matrix",
    (_request, response) =>
      response.end('{"status":"success","data":{"resultType":"matrix","result":[]}}'),
    /resultType/,
  ],
  ["a hung-up connection", (request) => request.socket.destroy(), /hang up|ECONNRESET/],
  ["a server that never answers", () => {}, /no answer within 200 ms/],
  [
    "a body that never ends",
    (_request, response) => response.writeHead(200).write('{"status":'),
    /no answer within 200 ms/,
  ],
];
for (const [name, handler, message] of FAILURES) {
  test(`${name} is SERIN_METRICS`, async (t) => {
    const address = await listen(t, handler);
    const provider = createPrometheusProvider({ address, timeoutMs: 200 });
    await assert.rejects(provider.query(QUERY, never), (error: unknown) => {
      assert.ok(error instanceof SerinError);
      assert.deepEqual([error.code, error.retry], ["SERIN_METRICS", "yes"]);
      assert.match(error.message, message);
      assert.ok(error.message.includes(address));
      return true;
    });
  });
}

test("nobody listening is SERIN_METRICS", async () => {
  const provider = createPrometheusProvider({ address: "http://127.0.0.1:1" });
  await assert.rejects(provider.query(QUERY, never), /ECONNREFUSED/);
});

test("a cancelled query says so", async (t) => {
  const address = await listen(t, () => {});
  const provider = createPrometheusProvider({ address });
  await assert.rejects(provider.query(QUERY, AbortSignal.abort()), /was cancelled/);
});

test("an address that is no URL is refused at once", () => {
  assert.throws(() => createPrometheusProvider({ address: "prometheus:9090" }), /not an http/);
});

/** Histograms whose quantiles Prometheus itself shall compute. Cumulative counts, the last is +Inf. */
const BOUNDS = [-1, 0.5, 1, 5, 10, 25, 50, 100, 250, 500, 1000];
const HISTOGRAMS: readonly (readonly number[])[] = [
  [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
  [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11],
  [0, 0, 0, 0, 0, 900, 900, 980, 995, 1000, 1000, 1000],
  [5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5],
  [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 3],
  [0, 10, 8, 30, 25, 60, 60, 61, 70, 70, 70, 70],
];

test("a real Prometheus answers, and computes quantiles as we do", {
  skip: skipWithout("prometheus"),
}, async (t) => {
  let scrapes = 0;
  const target = await listen(t, (_request, response) => {
    scrapes += 1;
    response.setHeader("content-type", "text/plain; version=0.0.4");
    response.end(exposition(scrapes));
  });
  const address = await startPrometheus(t, new URL(target).host);
  const provider = createPrometheusProvider({ address });
  const rate = await poll(async () => (await provider.query(QUERY, never)).value);
  assert.ok(Math.abs(rate - 95) < 1e-6, `success rate ${rate}`);
  const durationMs = await provider.query({ ...QUERY, metric: "request-duration" }, never);
  // Cut to whole milliseconds, as Flagger's; Prometheus' rates may come to a hair below 99.
  assert.ok(durationMs.value === 99 || durationMs.value === 98, `P99 ${durationMs.value}`);
  for (const [index, counts] of HISTOGRAMS.entries()) {
    for (const q of [0.5, 0.9, 0.99, 1]) {
      const theirs = await instant(address, `histogram_quantile(${q}, h_bucket{i="${index}"})`);
      const ours = histogramQuantile(q, bucketsOf(counts)) ?? Number.NaN;
      assert.ok(
        Object.is(theirs, ours) || Math.abs(theirs - ours) < 1e-9,
        `histogram ${index}, q ${q}: Prometheus says ${theirs}, we say ${ours}`,
      );
    }
  }
});

function bucketsOf(counts: readonly number[]) {
  return [...BOUNDS, Number.POSITIVE_INFINITY].map((upperBound, i) => ({
    upperBound,
    count: counts[i] ?? 0,
  }));
}

/** 5 % of requests fail; all take up to 100 ms. */
function exposition(tick: number): string {
  const labels =
    'reporter="destination",destination_workload="reviews",destination_workload_namespace="default"';
  const lines = [
    `istio_requests_total{${labels},response_code="200"} ${tick * 95}`,
    `istio_requests_total{${labels},response_code="500"} ${tick * 5}`,
    `istio_request_duration_milliseconds_bucket{${labels},le="100"} ${tick * 100}`,
    `istio_request_duration_milliseconds_bucket{${labels},le="+Inf"} ${tick * 100}`,
  ];
  for (const [i, counts] of HISTOGRAMS.entries()) {
    for (const { upperBound, count } of bucketsOf(counts)) {
      const le = Number.isFinite(upperBound) ? upperBound : "+Inf";
      lines.push(`h_bucket{i="${i}",le="${le}"} ${count}`);
    }
  }
  return `${lines.join("\n")}\n`;
}

async function startPrometheus(t: TestContext, target: string): Promise<string> {
  const directory = mkdtempSync(join(tmpdir(), "serin-prometheus-"));
  const port = await freePort();
  const config = join(directory, "prometheus.yml");
  writeFileSync(
    config,
    `global: {scrape_interval: 200ms, scrape_timeout: 200ms}
scrape_configs: [{job_name: t, static_configs: [{targets: ["${target}"]}]}]
`,
  );
  const child: ChildProcess = spawn(
    findTool("prometheus") ?? "prometheus",
    [
      `--config.file=${config}`,
      `--storage.tsdb.path=${join(directory, "data")}`,
      `--web.listen-address=127.0.0.1:${port}`,
    ],
    { stdio: "ignore" },
  );
  t.after(async () => {
    if (child.exitCode === null) {
      const exited = once(child, "exit");
      child.kill("SIGTERM");
      await exited;
    }
    rmSync(directory, { recursive: true, force: true });
  });
  const address = `http://127.0.0.1:${port}`;
  await poll(async () => ((await fetch(`${address}/-/ready`)).ok ? true : undefined));
  await poll(async () => {
    const count = await instant(address, "h_bucket");
    return Number.isNaN(count) ? undefined : count;
  });
  return address;
}

/** A port that was free a moment ago: Prometheus cannot be asked which one it took. */
async function freePort(): Promise<number> {
  const probe = createServer().listen(0, "127.0.0.1");
  await once(probe, "listening");
  const { port } = probe.address() as AddressInfo;
  probe.close();
  await once(probe, "close");
  return port;
}

async function instant(address: string, query: string): Promise<number> {
  const response = await fetch(`${address}/api/v1/query?query=${encodeURIComponent(query)}`);
  const body = (await response.json()) as { data: { result: { value: [number, string] }[] } };
  return Number(body.data.result[0]?.value[1] ?? Number.NaN);
}

/** Asks until there is an answer; gives up after 30 s. */
async function poll<T>(ask: () => Promise<T | undefined>): Promise<T> {
  const deadlineMs = Date.now() + 30_000;
  for (;;) {
    const answer = await ask().catch((error: unknown) => {
      if (Date.now() > deadlineMs) throw error;
      return undefined;
    });
    if (answer !== undefined) return answer;
    assert.ok(Date.now() < deadlineMs, "no answer within 30 s");
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}
