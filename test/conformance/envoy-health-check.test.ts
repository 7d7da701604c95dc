import assert from "node:assert/strict";
import { createServer as createHttpServer } from "node:http";
import { type AddressInfo, createServer, type Server } from "node:net";
import { type TestContext, test } from "node:test";
import { skipWithout } from "../support/tools.ts";
import { freePort } from "./support/envoy-process.ts";
import {
  address,
  httpBootstrap,
  type ProxyPlaces,
  sideBySide,
  statsOf,
} from "./support/side-by-side.ts";

interface Row {
  readonly name: string;
  readonly hosts: readonly string[];
  readonly check: object;
  /** Healthy members in the end, of Envoy. */
  readonly healthy: number;
  readonly degraded?: number;
}

const http = (path: string, more: object = {}) => ({ http_health_check: { path, ...more } });

const ROWS: readonly Row[] = [
  { name: "alive", hosts: ["web", "dead"], check: http("/ok"), healthy: 1 },
  { name: "status", hosts: ["web"], check: http("/503"), healthy: 0 },
  {
    name: "expected",
    hosts: ["web"],
    check: http("/503", { expected_statuses: [{ start: 500, end: 504 }] }),
    healthy: 1,
  },
  {
    name: "outside",
    hosts: ["web"],
    check: http("/504", { expected_statuses: [{ start: 500, end: 504 }] }),
    healthy: 0,
  },
  {
    name: "host",
    hosts: ["web"],
    check: http("/host/inner.test", { host: "inner.test" }),
    healthy: 1,
  },
  { name: "nohost", hosts: ["web"], check: http("/host/nohost"), healthy: 1 },
  {
    name: "header",
    hosts: ["web"],
    check: http("/header/yes", {
      request_headers_to_add: [{ header: { key: "x-check", value: "yes" } }],
    }),
    healthy: 1,
  },
  { name: "agent", hosts: ["web"], check: http("/agent"), healthy: 1 },
  {
    name: "agentless",
    hosts: ["web"],
    check: http("/agent", { request_headers_to_remove: ["user-agent"] }),
    healthy: 0,
  },
  { name: "method", hosts: ["web"], check: http("/method/HEAD", { method: "HEAD" }), healthy: 1 },
  { name: "silent", hosts: ["web"], check: http("/silent"), healthy: 0 },
  { name: "degraded", hosts: ["web"], check: http("/degraded"), healthy: 0, degraded: 1 },
  {
    name: "body",
    hosts: ["web"],
    check: http("/ok", { receive: [{ text: "6f6b" }] }),
    healthy: 1,
  },
  {
    name: "nobody",
    hosts: ["web"],
    check: http("/ok", { receive: [{ text: "6b6f" }] }),
    healthy: 0,
  },
  {
    name: "retriable",
    hosts: ["web"],
    check: http("/503", { retriable_statuses: [{ start: 503, end: 504 }] }),
    healthy: 0,
  },
  { name: "tcp", hosts: ["pong", "dead"], check: { tcp_health_check: {} }, healthy: 1 },
  {
    name: "pong",
    hosts: ["pong", "web"],
    check: {
      tcp_health_check: {
        send: { text: "50494e470a" },
        receive: [{ text: "504f" }, { text: "47" }],
      },
    },
    healthy: 1,
  },
];

async function startHosts(t: TestContext): Promise<ReadonlyMap<string, number>> {
  const web = createHttpServer((request, response) => {
    const [, kind = "", value] = (request.url ?? "").split("/");
    const { host, "user-agent": agent, "x-check": check } = request.headers;
    const isRight: Readonly<Record<string, boolean>> = {
      host: host === value,
      header: check === value,
      agent: agent === "Envoy/HC",
      method: request.method === value,
    };
    if (kind === "silent") return;
    if (kind === "degraded") response.setHeader("x-envoy-degraded", "true");
    if (/^\d+$/.test(kind)) response.statusCode = Number(kind);
    else response.statusCode = isRight[kind] === false ? 500 : 200;
    response.end("ok");
  });
  const pong = createServer((socket) => {
    socket.on("data", (bytes) => {
      if (bytes.toString() === "PING\n") socket.write("PONG\n");
    });
    socket.on("error", () => socket.destroy());
  });
  const ports = new Map([["dead", await freePort()]]);
  const open = new Set<{ destroy(): void }>();
  for (const [name, server] of [
    ["web", web],
    ["pong", pong],
  ] as readonly (readonly [string, Server])[]) {
    server.on("connection", (socket) => open.add(socket));
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    t.after(() => server.close());
    ports.set(name, (server.address() as AddressInfo).port);
  }
  t.after(() => {
    for (const socket of open) socket.destroy();
  });
  return ports;
}

/** The gauges once every cluster has been checked often enough for its thresholds. */
async function settled(places: ProxyPlaces): Promise<Readonly<Record<string, number>>> {
  const deadline = Date.now() + 20_000;
  for (;;) {
    const done = await statsOf(places, /\.health_check\.(success|failure)$/);
    const isDone = ROWS.every(({ name, hosts }) => {
      const count = (kind: string): number => done[`cluster.${name}.health_check.${kind}`] ?? 0;
      return count("success") + count("failure") >= 5 * hosts.length;
    });
    if (isDone) {
      return statsOf(
        places,
        /^cluster\.\w+\.(membership_(total|healthy|degraded)|health_check\.(healthy|degraded))$/,
      );
    }
    assert.ok(Date.now() < deadline, JSON.stringify(done));
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

test("active health checks judge hosts as Envoy's do", {
  skip: skipWithout("envoy"),
}, async (t) => {
  const ports = await startHosts(t);
  const clusters = ROWS.map(({ name, hosts, check }) => ({
    name,
    connect_timeout: "1s",
    type: "STATIC",
    load_assignment: {
      cluster_name: name,
      endpoints: [
        {
          lb_endpoints: hosts.map((host) => ({
            endpoint: { address: address(ports.get(host) ?? 0) },
          })),
        },
      ],
    },
    health_checks: [
      {
        timeout: "0.1s",
        interval: "0.02s",
        no_traffic_interval: "0.02s",
        healthy_threshold: 2,
        unhealthy_threshold: 2,
        ...check,
      },
    ],
  }));
  const { envoy, ours } = await sideBySide(
    (places) => httpBootstrap(places, clusters, []),
    settled,
  );
  for (const { name, healthy, degraded = 0 } of ROWS) {
    await t.test(name, () => {
      const of = (stats: Readonly<Record<string, number>>) =>
        Object.fromEntries(
          ["membership_total", "membership_healthy", "membership_degraded"].map((stat) => [
            stat,
            stats[`cluster.${name}.${stat}`],
          ]),
        );
      assert.deepEqual(
        [of(envoy)["membership_healthy"], of(envoy)["membership_degraded"]],
        [healthy, degraded],
        "Envoy's own",
      );
      assert.deepEqual(of(ours), of(envoy));
      for (const gauge of ["healthy", "degraded"]) {
        const stat = `cluster.${name}.health_check.${gauge}`;
        assert.equal(ours[stat] ?? 0, envoy[stat] ?? 0, stat);
      }
    });
  }
});
