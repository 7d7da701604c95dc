import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { serin } from "../support/cli.ts";
import { ENGINES, type Engine, engineLabel, skipWithoutEngine } from "../support/engines.ts";
import { closedPort } from "../support/proxy-fixture.ts";
import { eventually, kubectlOf, podIp, temporary, up } from "../support/serin-cluster.ts";
import { type CollectedSpan, startSpanCollector } from "../support/span-collector.ts";
import { findTool, skipWithout } from "../support/tools.ts";

/** The fields of the textbook's log line. */
const LOG_FIELDS = [
  ...["start_time", "method", "path", "protocol", "response_code", "response_flags"],
  ...["bytes_received", "bytes_sent", "duration", "upstream_service_time", "x_forwarded_for"],
  ...["user_agent", "request_id", "authority", "upstream_host", "upstream_cluster"],
];

/** Queries of the textbook, word for word. */
const QUERIES = [
  "rate(istio_requests_total[1m])",
  "histogram_quantile(0.95, sum(rate(istio_request_duration_milliseconds_bucket[1m])) by (le))",
  'sum(rate(istio_requests_total{response_code=~"5.*"}[1m])) / sum(rate(istio_requests_total[1m]))',
];
const METRICS = [
  ...["istio_requests_total", "istio_request_duration_milliseconds_bucket"],
  ...["istio_request_bytes_count", "istio_response_bytes_sum", "pilot_xds_pushes"],
  ...["envoy_cluster_upstream_cx_active", "envoy_cluster_upstream_cx_total"],
];

/** A real Prometheus that scrapes these places each second; answers how to ask it. */
async function startPrometheus(
  t: TestContext,
  dir: string,
  targets: Readonly<Record<string, string>>,
): Promise<(query: string) => Promise<readonly { readonly value: readonly [number, string] }[]>> {
  const config = join(dir, "prometheus.json");
  const port = await closedPort();
  writeFileSync(
    config,
    JSON.stringify({
      global: { scrape_interval: "1s" },
      scrape_configs: Object.entries(targets).map(([place, metrics_path]) => ({
        job_name: place,
        metrics_path,
        static_configs: [{ targets: [place] }],
      })),
    }),
  );
  const child = spawn(
    findTool("prometheus") ?? "prometheus",
    [
      `--config.file=${config}`,
      `--storage.tsdb.path=${join(dir, "prometheus")}`,
      `--web.listen-address=127.0.0.1:${port}`,
    ],
    { stdio: "ignore" },
  );
  t.after(async () => {
    const ended = once(child, "exit");
    child.kill("SIGKILL");
    await ended;
  });
  const ask = async (query: string) => {
    const url = `http://127.0.0.1:${port}/api/v1/query?query=${encodeURIComponent(query)}`;
    const response = await fetch(url).catch(() => undefined);
    if (response === undefined || response.status === 503) return [];
    const body = (await response.json()) as {
      readonly status: string;
      readonly error?: string;
      readonly data?: { readonly result: readonly { readonly value: readonly [number, string] }[] };
    };
    assert.equal(body.status, "success", `${query}: ${body.error}`);
    return body.data?.result ?? [];
  };
  await eventually("Prometheus answers", async () => (await ask("up == 1")).length > 0);
  return ask;
}

for (const engine of ENGINES) {
  test(
    `the textbook's metrics, queries, traces and logs, with real traffic and real Prometheus (sidecars: ${engine})`,
    {
      skip: skipWithoutEngine(engine) || skipWithout("prometheus"),
      timeout: 300_000,
    },
    (t) => observed(t, engine),
  );
}

async function observed(t: TestContext, engine: Engine): Promise<void> {
  const dataDir = temporary();
  const kubectl = kubectlOf(dataDir);
  await up(t, dataDir);
  await serin(dataDir, "install", "-y");
  await kubectl("label", "namespace", "default", "istio-injection=enabled", engineLabel(engine));
  for (const name of ["productpage", "reviews", "ratings", "details"]) {
    await kubectl("apply", "-f", `examples/bookinfo/${name}.yaml`);
  }
  await kubectl("apply", "-f", "examples/bookinfo/gateway.yaml");
  for (const name of [
    "productpage-v1",
    "reviews-v1",
    "reviews-v2",
    "reviews-v3",
    "ratings-v1",
    "details-v1",
  ]) {
    await kubectl("rollout", "status", `deployment/${name}`, "--timeout=90s");
  }
  const service = ["-n", "istio-system", "get", "service", "istio-ingressgateway", "-o"];
  const nodePort = await kubectl(...service, 'jsonpath={.spec.ports[?(@.name=="http2")].nodePort}');
  const ask = (headers: Record<string, string> = {}): Promise<Response | undefined> =>
    fetch(`http://127.0.0.1:${nodePort}/productpage`, { headers }).catch(() => undefined);
  await eventually("the page with stars is shown", async () => {
    const response = await ask();
    return response?.status === 200 && (await response.text()).includes("Reviewer1");
  });

  await t.test("metrics and the three queries", async (s) => {
    const targets: Record<string, string> = {};
    for (const app of ["productpage", "reviews", "ratings"]) {
      targets[`${await podIp(kubectl, app)}:15090`] = "/stats/prometheus";
    }
    const controlPlane = ["get", "configmap", "serin-control-plane", "-n", "istio-system", "-o"];
    targets[await kubectl(...controlPlane, "jsonpath={.data.debug}")] = "/metrics";
    const query = await startPrometheus(s, dataDir, targets);
    const numberOf = async (text: string): Promise<number> =>
      Number((await query(text))[0]?.value[1]);
    // A tenth of the calls to reviews fails.
    await kubectl(
      "apply",
      "-f",
      "examples/bookinfo/networking/virtualservice-reviews-fault-abort.yaml",
      "-f",
      "examples/bookinfo/networking/destinationrule-reviews.yaml",
    );
    let missing: readonly string[] = [];
    await eventually("every query and metric has a value", async () => {
      await Promise.all(Array.from({ length: 10 }, () => ask()));
      // Envoy has the metrics of clusters that nobody asks, too.
      const asked = [...QUERIES, ...METRICS.map((name) => `max(${name})`)];
      const values = await Promise.all(asked.map(numberOf));
      missing = asked.filter((_, i) => !((values[i] ?? 0) > 0));
      return missing.length === 0;
    }).catch((error: unknown) => {
      throw new Error(`${String(error)}; missing: ${missing.join("; ")}`);
    });
    const p95 = await numberOf(QUERIES[1] ?? "");
    assert.ok(p95 > 0 && p95 < 60_000, `p95 ${p95} ms`);
    const errors = await numberOf(QUERIES[2] ?? "");
    assert.ok(errors > 0 && errors < 1, `share of errors ${errors}`);
    const byReporter = 'count(istio_requests_total{reporter=~"source|destination"}) by (reporter)';
    assert.equal((await query(byReporter)).length, 2);
    await kubectl("delete", "virtualservice", "reviews");
  });

  await t.test("the access log has the textbook's fields", async () => {
    await kubectl("apply", "-f", "examples/bookinfo/telemetry/telemetry-mesh-default.yaml");
    await ask({ "user-agent": "curl/7.64.1" });
    const lines = async (): Promise<readonly Record<string, unknown>[]> => {
      const text = await kubectl("logs", "-l", "app=reviews", "-c", "istio-proxy", "--tail=200");
      return text
        .split("\n")
        .filter((line) => line.startsWith('{"'))
        .map((line) => JSON.parse(line) as Record<string, unknown>)
        .filter((line) => line["user_agent"] === "curl/7.64.1" && line["path"] === "/reviews/0");
    };
    await eventually("the request is logged", async () => (await lines()).length > 0);
    const [line = {}] = await lines();
    for (const field of LOG_FIELDS) assert.ok(field in line, field);
    assert.match(String(line["start_time"]), /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/);
    assert.equal(line["response_code"], 200);
    assert.equal(line["response_flags"], "-");
    assert.equal(line["authority"], "reviews:9080");
    assert.match(String(line["upstream_host"]), /^127\.[\d.]+:9080$/);
  });

  await t.test("one trace: gateway, productpage, reviews, ratings", async (s) => {
    const collector = await startSpanCollector();
    s.after(() => collector.stop());
    const file = join(dataDir, "tracing.yaml");
    writeFileSync(
      file,
      `apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: { name: zipkin, namespace: istio-system }
spec:
  hosts: [zipkin.istio-system.svc.cluster.local]
  ports: [{ number: 9411, name: http, protocol: HTTP }]
  resolution: STATIC
  endpoints: [{ address: 127.0.0.1, ports: { http: ${collector.httpPort} } }]
---
apiVersion: v1
kind: ConfigMap
metadata: { name: istio, namespace: istio-system }
data:
  mesh: |
    extensionProviders:
    - name: jaeger
      zipkin: { service: zipkin.istio-system.svc.cluster.local, port: 9411 }
---
apiVersion: telemetry.istio.io/v1
kind: Telemetry
metadata: { name: tracing, namespace: istio-system }
spec:
  tracing:
  - providers: [{ name: jaeger }]
    randomSamplingPercentage: 100
`,
    );
    await kubectl("apply", "-f", file);
    // Of the whole mesh: the newer Telemetry of a level does not count beside the older one.
    await kubectl("delete", "telemetry", "mesh-default", "-n", "istio-system");
    const requestId = (n: number) => `5d2c8f6e-0000-4000-8000-${String(n).padStart(12, "0")}`;
    let n = 0;
    let trace: readonly CollectedSpan[] = [];
    const serviceOf = ({ local }: CollectedSpan) => /serviceName=([^. ]+)/.exec(local)?.[1] ?? "";
    await eventually("a trace with all four is reported", async () => {
      n += 1;
      await ask({ "x-request-id": requestId(n) });
      const byTrace = Map.groupBy(collector.spans, ({ traceId }) => traceId);
      trace =
        [...byTrace.values()].find((spans) => {
          const found = new Set(spans.map(serviceOf));
          return ["istio-ingressgateway", "productpage", "reviews", "ratings"].every((name) =>
            found.has(name),
          );
        }) ?? [];
      return trace.length > 0;
    }).catch((error: unknown) => {
      const seen = collector.spans.map(({ traceId, local, name }) => `${traceId} ${local} ${name}`);
      throw new Error(`${String(error)}; spans: ${seen.slice(-20).join("\n")}`);
    });
    const ids = new Set(trace.map(({ id }) => id));
    const roots = trace.filter(({ parentId }) => parentId === "" || !ids.has(parentId));
    assert.equal(roots.length, 1, JSON.stringify(trace, undefined, 1));
    assert.deepEqual(roots.map(serviceOf), ["istio-ingressgateway"]);
  });
}
