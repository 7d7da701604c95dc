import assert from "node:assert/strict";
import { createServer } from "node:http";
import { type AddressInfo, connect } from "node:net";
import { test } from "node:test";
import { skipWithout } from "../support/tools.ts";
import { freePort } from "./support/envoy-process.ts";
import { address, sideBySide, statsOf } from "./support/side-by-side.ts";

const TYPE = "type.googleapis.com/envoy.extensions.filters";
const limit = (stat_prefix: string, max_tokens: number, more: object = {}) => ({
  name: "envoy.filters.network.local_ratelimit",
  typed_config: {
    "@type": `${TYPE}.network.local_ratelimit.v3.LocalRateLimit`,
    stat_prefix,
    token_bucket: { max_tokens, tokens_per_fill: max_tokens, fill_interval: "3600s" },
    ...more,
  },
});
const rbac = (action: string) => ({
  name: "envoy.filters.network.rbac",
  typed_config: {
    "@type": `${TYPE}.network.rbac.v3.RBAC`,
    stat_prefix: "access.",
    rules: {
      action,
      policies: { all: { permissions: [{ any: true }], principals: [{ any: true }] } },
    },
  },
});
const tcp = {
  name: "envoy.filters.network.tcp_proxy",
  typed_config: {
    "@type": `${TYPE}.network.tcp_proxy.v3.TcpProxy`,
    stat_prefix: "tcp",
    cluster: "a",
  },
};
const http = {
  name: "envoy.filters.network.http_connection_manager",
  typed_config: {
    "@type": `${TYPE}.network.http_connection_manager.v3.HttpConnectionManager`,
    stat_prefix: "http",
    http_filters: [
      {
        name: "router",
        typed_config: { "@type": `${TYPE}.http.router.v3.Router` },
      },
    ],
    route_config: {
      name: "r",
      virtual_hosts: [
        {
          name: "all",
          domains: ["*"],
          routes: [{ match: { prefix: "/" }, route: { cluster: "a" } }],
        },
      ],
    },
  },
};

/** Filters of a chain, and how many of five connections, one after another, are served. */
const CHAINS: Readonly<Record<string, readonly [filters: readonly object[], served: number]>> = {
  tcp: [[limit("tcp", 2), tcp], 2],
  http: [[limit("http", 1), http], 1],
  off: [[limit("off", 1, { runtime_enabled: { default_value: false, runtime_key: "x" } }), tcp], 5],
  on: [[limit("on", 1, { runtime_enabled: { default_value: true, runtime_key: "x" } }), tcp], 1],
  two: [[limit("first", 4), limit("second", 3), tcp], 3],
  "narrow first": [[limit("narrow", 1), limit("wide", 4), http], 1],
  "allowed before": [[rbac("ALLOW"), limit("allowed", 2), tcp], 2],
  "denied before": [[rbac("DENY"), limit("denied", 2), tcp], 0],
  "denied after": [[limit("after", 2), rbac("DENY"), http], 0],
};

/** What comes back on a connection of its own before it is closed. */
function ask(port: number): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connect(port, "127.0.0.1");
    let answer = "";
    socket.setTimeout(10_000, () => reject(new Error("no end in 10 s")));
    socket.on("connect", () => {
      socket.write("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    });
    socket.on("data", (bytes) => {
      answer += bytes.toString("latin1");
    });
    // A reset says the same as an end here; `close` follows.
    socket.on("error", () => socket.destroy());
    socket.on("close", () => {
      socket.destroy();
      resolve(/^HTTP\/1.1 200 [\s\S]*served/.test(answer) ? "served" : answer);
    });
  });
}

test("limits on connections as Envoy's", { skip: skipWithout("envoy") }, async (t) => {
  const upstream = createServer((_, response) => response.end("served"));
  await new Promise<void>((resolve) => upstream.listen(0, "127.0.0.1", resolve));
  t.after(() => {
    upstream.closeAllConnections();
    upstream.close();
  });
  const { port } = upstream.address() as AddressInfo;
  const ports = new Map<string, number>();
  for (const name of Object.keys(CHAINS)) ports.set(name, await freePort());
  const { envoy, ours } = await sideBySide(
    ({ admin }) =>
      JSON.stringify({
        node: { id: "test", cluster: "test" },
        admin: { address: address(admin) },
        static_resources: {
          listeners: Object.entries(CHAINS).map(([name, [filters]]) => ({
            name,
            address: address(ports.get(name) ?? 0),
            filter_chains: [{ filters }],
          })),
          clusters: [
            {
              name: "a",
              type: "STATIC",
              connect_timeout: "1s",
              load_assignment: {
                cluster_name: "a",
                endpoints: [{ lb_endpoints: [{ endpoint: { address: address(port) } }] }],
              },
            },
          ],
        },
      }),
    async (places) => {
      const answers: Record<string, readonly string[]> = {};
      for (const [name, listener] of ports) {
        const each: string[] = [];
        for (let i = 0; i < 5; i += 1) each.push(await ask(listener));
        answers[name] = each;
      }
      const stats = await statsOf(places, /^(local_rate_limit\.|access\.)/);
      const counted = Object.entries(stats).filter(([, value]) => value > 0);
      return { answers, stats: Object.fromEntries(counted) };
    },
  );
  for (const [name, [, served]] of Object.entries(CHAINS)) {
    await t.test(name, () => {
      assert.deepEqual(
        envoy.answers[name],
        Array.from({ length: 5 }, (_, i) => (i < served ? "served" : "")),
      );
      assert.deepEqual(ours.answers[name], envoy.answers[name]);
    });
  }
  await t.test("counters", () => assert.deepEqual(ours.stats, envoy.stats));
});
