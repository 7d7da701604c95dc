import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { runProxy } from "../../../src/proxy/index.ts";
import { createLogger, systemClock } from "../../../src/runtime/index.ts";
import {
  chain,
  closedPort,
  cluster,
  endpoint,
  listener,
  rawClient,
  runtimeConfig,
  startProxy,
  startTcp,
  tcpTo,
  waitFor,
} from "../../support/proxy-fixture.ts";

const TYPE = "type.googleapis.com/";
const address = (port: number) => ({
  socket_address: { address: "127.0.0.1", port_value: port },
});

function echo(t: TestContext): Promise<number> {
  return startTcp(t, (socket) => socket.pipe(socket));
}

test("what a TCP connection carried is measured with Istio's names, and logged", async (t) => {
  const dir = mkdtempSync(join(tmpdir(), "serin-tcp-"));
  t.after(() => rmSync(dir, { recursive: true }));
  const log = join(dir, "access.log");
  const [upstream, port, admin] = [await echo(t), await closedPort(), await closedPort()];
  const format =
    "%BYTES_RECEIVED% %BYTES_SENT% %RESPONSE_FLAGS% %UPSTREAM_CLUSTER% %UPSTREAM_HOST% %PROTOCOL%\n";
  const proxy = await runProxy({
    bootstrapText: JSON.stringify({
      node: { id: "n", cluster: "c" },
      admin: { address: address(admin) },
      static_resources: {
        listeners: [
          {
            name: "l",
            address: address(port),
            traffic_direction: "OUTBOUND",
            filter_chains: [
              {
                filters: [
                  {
                    name: "tcp",
                    typed_config: {
                      "@type": `${TYPE}envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy`,
                      stat_prefix: "t",
                      cluster: "echo",
                      access_log: [
                        {
                          name: "file",
                          typed_config: {
                            "@type": `${TYPE}envoy.extensions.access_loggers.file.v3.FileAccessLog`,
                            path: log,
                            log_format: { text_format_source: { inline_string: format } },
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
            name: "echo",
            type: "STATIC",
            load_assignment: {
              cluster_name: "echo",
              endpoints: [{ lb_endpoints: [{ endpoint: { address: address(upstream) } }] }],
            },
          },
        ],
      },
    }),
    logger: createLogger("test", "silent"),
    clock: systemClock,
  });
  t.after(() => proxy.stop(0));
  await proxy.ready;
  const client = await rawClient(t, port);
  client.send("hello");
  await client.until("hello");
  const metrics = async (): Promise<string> =>
    (await fetch(`http://127.0.0.1:${admin}/stats/prometheus`)).text();
  assert.match(
    await metrics(),
    /istio_tcp_connections_opened_total\{reporter="source".*request_protocol="tcp".*\} 1\n/,
  );
  client.socket.end();
  await client.closed();
  let text = "";
  await waitFor(() => {
    text = readFileSync(log, "utf8");
    return text !== "";
  });
  assert.equal(text, `5 5 - echo 127.0.0.1:${upstream} -\n`);
  const after = await metrics();
  assert.match(after, /istio_tcp_received_bytes_total\{[^}]*\} 5\n/);
  assert.match(after, /istio_tcp_sent_bytes_total\{[^}]*\} 5\n/);
  assert.match(after, /istio_tcp_connections_closed_total\{[^}]*\} 1\n/);
  assert.doesNotMatch(after, /istio_tcp[^\n]*response_code/);
  assert.match(after, /envoy_tcp_downstream_cx_rx_bytes_total\{[^}]*\} 5\n/);
});

test("a host that refuses is left for the next one, as often as the filter allows", async (t) => {
  const [dead, alive] = [await closedPort(), await echo(t)];
  const hosts = [endpoint(dead), endpoint(alive)];
  const config = (maxConnectAttempts: number) =>
    runtimeConfig([cluster("a", hosts)], [listener([chain(tcpTo("a", { maxConnectAttempts }))])]);
  const proxy = await startProxy(t, config(2));
  for (let round = 0; round < 6; round += 1) {
    const client = await rawClient(t, proxy.port);
    client.send("x");
    await client.until("x");
    client.socket.destroy();
  }
  assert.ok((proxy.counters.get("cluster.a.upstream_cx_connect_fail") ?? 0) >= 2);
});

const FAILURES: readonly (readonly [name: string, flags: string, host: "none" | "dead"])[] = [
  ["no host", "UH", "none"],
  ["a host that refuses", "UF,URX", "dead"],
];

for (const [name, flags, host] of FAILURES) {
  test(`${name}: the connection is closed and logged with ${flags}`, async (t) => {
    const hosts = host === "none" ? [] : [endpoint(await closedPort())];
    const proxy = await startProxy(
      t,
      runtimeConfig([cluster("a", hosts)], [listener([chain(tcpTo("a"))])]),
    );
    const client = await rawClient(t, proxy.port);
    assert.equal(await client.closed(), "");
    await waitFor(() => proxy.records.length === 1);
    assert.equal(proxy.records[0]?.flags, flags);
  });
}

test("a cluster that does not exist, and one that is full", async (t) => {
  const none = await startProxy(t, runtimeConfig([], [listener([chain(tcpTo("a"))])]));
  await (await rawClient(t, none.port)).closed();
  await waitFor(() => none.records[0]?.flags === "NC");
  assert.equal(none.counters.get("tcp.test.downstream_cx_no_route"), 1);

  const full = await startProxy(
    t,
    runtimeConfig(
      [
        cluster("a", [endpoint(await echo(t))], {
          circuitBreaker: {
            ...cluster("x", []).circuitBreaker,
            maxConnections: 1,
          },
        }),
      ],
      [listener([chain(tcpTo("a"))])],
    ),
  );
  const first = await rawClient(t, full.port);
  first.send("x");
  await first.until("x");
  await (await rawClient(t, full.port)).closed();
  await waitFor(() => full.records[0]?.flags === "UO");
});

const NOTHING_ELSE = { transportProtocol: "", applicationProtocols: [], serverNames: [] } as const;
const FIRST_WORDS: readonly (readonly [string, Parameters<typeof listener>[1]])[] = [
  ["nothing looks into its port", { inspectTls: true, isUninspected: () => true }],
  ["only chains of other ports would have to know", {}],
];
for (const [why, options] of FIRST_WORDS) {
  test(`a server may speak first where ${why}`, async (t) => {
    const upstream = await startTcp(t, (socket) => socket.write("welcome"));
    const other = { ...NOTHING_ELSE, destinationPort: 1, applicationProtocols: ["http/1.1"] };
    const chains = [
      chain(tcpTo("elsewhere"), { match: other }),
      chain(tcpTo("server"), { match: { ...NOTHING_ELSE, destinationPort: undefined } }),
    ];
    const config = runtimeConfig(
      [cluster("server", [endpoint(upstream)])],
      [listener(chains, options)],
    );
    const { port } = await startProxy(t, config);
    const client = await rawClient(t, port);
    await client.until("welcome");
  });
}
