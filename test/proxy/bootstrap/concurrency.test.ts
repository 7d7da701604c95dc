import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { Agent, get } from "node:http";
import { connect, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { runProxy } from "../../../src/proxy/index.ts";
import { createLogger, systemClock } from "../../../src/runtime/index.ts";
import { closedPort, startHttp } from "../../support/proxy-fixture.ts";

const TYPE = "type.googleapis.com/";
const address = (port: number) => ({
  socket_address: { address: "127.0.0.1", port_value: port },
});

async function start(t: TestContext, concurrency: number, more: object = {}) {
  const upstream = await startHttp(t, (_, response) => response.end("ok"));
  const [port, admin] = [await closedPort(), await closedPort()];
  const bootstrap = {
    node: { id: "n", cluster: "c" },
    admin: { address: address(admin) },
    ...more,
    static_resources: {
      listeners: [
        {
          name: "main",
          address: address(port),
          filter_chains: [
            {
              filters: [
                {
                  name: "http",
                  typed_config: {
                    "@type": `${TYPE}envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager`,
                    stat_prefix: "main",
                    route_config: {
                      name: "r",
                      virtual_hosts: [
                        {
                          name: "all",
                          domains: ["*"],
                          routes: [{ match: { prefix: "/" }, route: { cluster: "app" } }],
                        },
                      ],
                    },
                    http_filters: [
                      {
                        name: "router",
                        typed_config: {
                          "@type": `${TYPE}envoy.extensions.filters.http.router.v3.Router`,
                        },
                      },
                    ],
                  },
                },
              ],
            },
          ],
        },
      ],
      clusters: [
        {
          name: "app",
          type: "STATIC",
          load_assignment: {
            cluster_name: "app",
            endpoints: [{ lb_endpoints: [{ endpoint: { address: address(upstream) } }] }],
          },
        },
      ],
    },
  };
  const proxy = await runProxy({
    bootstrapText: JSON.stringify(bootstrap),
    logger: createLogger("test", "silent"),
    clock: systemClock,
    concurrency,
  });
  t.after(() => proxy.stop(0));
  await proxy.ready;
  return { proxy, port, admin };
}

/** One request on a connection of its own. */
function ask(port: number): Promise<number> {
  return new Promise((resolve, reject) => {
    const agent = new Agent();
    get({ port, host: "127.0.0.1", agent }, (response) => {
      response.resume();
      response.on("end", () => {
        agent.destroy();
        resolve(response.statusCode ?? 0);
      });
    }).on("error", reject);
  });
}

async function page(admin: number, path: string): Promise<string> {
  return (await fetch(`http://127.0.0.1:${admin}${path}`)).text();
}

test("threads share the port, and one admin page counts what all of them served", async (t) => {
  const { port, admin } = await start(t, 3);
  const total = 120;
  let counted = 0;
  const deadline = Date.now() + 20_000;
  // A worker that has not its configuration yet does not listen: nothing is refused meanwhile.
  for (let i = 0; i < total; i += 1) assert.equal(await ask(port), 200);
  while (counted < total && Date.now() < deadline) {
    const text = await page(admin, "/stats?filter=downstream_rq_total");
    counted = Number(/http\.main\.downstream_rq_total: (\d+)/.exec(text)?.[1] ?? 0);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  assert.equal(counted, total);
  const perThread = await page(admin, "/stats?filter=worker_\\d%2B.downstream_cx_total");
  const served = [...perThread.matchAll(/worker_(\d)\.downstream_cx_total: (\d+)/g)];
  assert.ok(served.filter((match) => Number(match[2]) > 0).length >= 2, perThread);
  const metrics = await page(admin, "/stats/prometheus");
  const sum = (pattern: RegExp): number =>
    [...metrics.matchAll(pattern)].reduce((all, match) => all + Number(match[1]), 0);
  assert.equal(sum(/^istio_requests_total\{[^}]*\} (\d+)$/gm), total);
  assert.equal(sum(/^istio_request_duration_milliseconds_count\{[^}]*\} (\d+)$/gm), total);
  assert.equal(
    sum(/^istio_request_duration_milliseconds_bucket\{[^}]*le="\+Inf"\} (\d+)$/gm),
    total,
  );
});

test("a stop ends every thread after the requests in flight", async (t) => {
  const { proxy, port } = await start(t, 2);
  assert.equal(await ask(port), 200);
  await proxy.stop(2000);
  await assert.rejects(ask(port));
});

/** How a new connection is answered: its status, or 0 when it is closed. */
function askOnce(port: number, sockets: Socket[]): Promise<number> {
  return new Promise((resolve) => {
    const socket = connect(port, "127.0.0.1");
    sockets.push(socket);
    socket.on("error", () => socket.destroy());
    socket.write("GET / HTTP/1.1\r\nhost: a\r\n\r\n");
    socket.once("data", (bytes: Buffer) => resolve(Number(bytes.toString("latin1", 9, 12))));
    socket.once("close", () => resolve(0));
  });
}

test("all threads share the limit on connections, and shed together", async (t) => {
  const dir = mkdtempSync(join(tmpdir(), "serin-threads-"));
  const sockets: Socket[] = [];
  t.after(() => {
    for (const socket of sockets) socket.destroy();
    rmSync(dir, { recursive: true });
  });
  const file = join(dir, "pressure");
  writeFileSync(file, "0");
  const { port } = await start(t, 3, {
    overload_manager: {
      refresh_interval: "0.02s",
      resource_monitors: [
        {
          name: "file",
          typed_config: {
            "@type": `${TYPE}envoy.extensions.resource_monitors.injected_resource.v3.InjectedResourceConfig`,
            filename: file,
          },
        },
        {
          name: "connections",
          typed_config: {
            "@type": `${TYPE}envoy.extensions.resource_monitors.downstream_connections.v3.DownstreamConnectionsConfig`,
            max_active_downstream_connections: "12",
          },
        },
      ],
      actions: [
        {
          name: "envoy.overload_actions.stop_accepting_requests",
          triggers: [{ name: "file", threshold: { value: 0.9 } }],
        },
      ],
    },
  });
  const statuses: number[] = [];
  for (let i = 0; i < 30; i += 1) statuses.push(await askOnce(port, sockets));
  assert.deepEqual(statuses, [...Array(12).fill(200), ...Array(18).fill(0)]);
  writeFileSync(file, "1");
  // Whichever thread a connection is on, it is told.
  for (const socket of sockets.slice(0, 12)) {
    const deadline = Date.now() + 10_000;
    for (;;) {
      const answered = new Promise<string>((resolve) =>
        socket.once("data", (bytes: Buffer) => resolve(bytes.toString("latin1", 9, 12))),
      );
      socket.write("GET / HTTP/1.1\r\nhost: a\r\n\r\n");
      if ((await answered) === "503") break;
      assert.ok(Date.now() < deadline, "a thread goes on serving");
    }
  }
});
