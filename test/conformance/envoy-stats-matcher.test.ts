import assert from "node:assert/strict";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { type TestContext, test } from "node:test";
import { skipWithout } from "../support/tools.ts";
import { address, httpBootstrap, type ProxyPlaces, sideBySide } from "./support/side-by-side.ts";

/** Stats that both proxies have after one request. */
const NAMES = [
  "cluster.app.upstream_rq_total",
  "cluster.app.upstream_cx_total",
  "cluster.app.upstream_rq_200",
  "http.test.downstream_rq_total",
  "http.test.downstream_rq_2xx",
];
const CASES = {
  "all of them": undefined,
  none: { reject_all: true },
  "reject_all: false": { reject_all: false },
  "without a prefix": { exclusion_list: { patterns: [{ prefix: "cluster." }] } },
  "with a suffix or a name": {
    inclusion_list: {
      patterns: [{ suffix: "upstream_rq_total" }, { exact: "http.test.downstream_rq_2xx" }],
    },
  },
  "by a regular expression": {
    exclusion_list: { patterns: [{ safe_regex: { regex: ".*\\.downstream_rq_.*" } }] },
  },
};

async function startApp(t: TestContext): Promise<number> {
  const server = createServer((_, response) => response.end("x"));
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  return (server.address() as AddressInfo).port;
}

function bootstrap(places: ProxyPlaces, port: number, matcher: object | undefined): string {
  const cluster = {
    name: "app",
    type: "STATIC",
    load_assignment: {
      cluster_name: "app",
      endpoints: [{ lb_endpoints: [{ endpoint: { address: address(port) } }] }],
    },
  };
  const routes = [{ match: { prefix: "/" }, route: { cluster: "app" } }];
  const plain: object = JSON.parse(httpBootstrap(places, [cluster], routes));
  return JSON.stringify({
    ...plain,
    ...(matcher === undefined ? {} : { stats_config: { stats_matcher: matcher } }),
  });
}

/** The lines of NAMES in /stats, and whether Istio's request metric is there. */
async function observe({ listener, admin }: ProxyPlaces) {
  const response = await fetch(`http://127.0.0.1:${listener}/`);
  assert.equal(await response.text(), "x");
  const text = await (await fetch(`http://127.0.0.1:${admin}/stats`)).text();
  const prometheus = await (await fetch(`http://127.0.0.1:${admin}/stats/prometheus`)).text();
  const lines = text.split("\n");
  return {
    stats: NAMES.flatMap((name) => lines.filter((line) => line.startsWith(`${name}: `))),
    hasRequestMetrics: prometheus.includes("istio_requests_total{"),
  };
}

for (const [name, matcher] of Object.entries(CASES)) {
  test(`stats kept as by Envoy: ${name}`, { skip: skipWithout("envoy") }, async (t) => {
    const port = await startApp(t);
    const { envoy, ours } = await sideBySide(
      (places) => bootstrap(places, port, matcher),
      (places) => observe(places),
    );
    assert.deepEqual(ours.stats, envoy.stats);
    // Ours alone: they are stats too, by their own names.
    assert.equal(ours.hasRequestMetrics, name !== "none" && !name.startsWith("with a"));
  });
}
