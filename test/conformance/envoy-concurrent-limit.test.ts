import assert from "node:assert/strict";
import { createServer, type Server } from "node:http";
import { type AddressInfo, connect, type Socket } from "node:net";
import { type TestContext, test } from "node:test";
import { skipWithout } from "../support/tools.ts";
import { get } from "./support/log-table.ts";
import { address, httpBootstrap, sideBySide, statsOf } from "./support/side-by-side.ts";

const skip = skipWithout("envoy");
const limit = (stat_prefix: string, max_connections: number, more: object = {}) => ({
  name: "envoy.filters.network.connection_limit",
  typed_config: {
    "@type":
      "type.googleapis.com/envoy.extensions.filters.network.connection_limit.v3.ConnectionLimit",
    stat_prefix,
    max_connections,
    ...more,
  },
});

async function upstreamOf(t: TestContext): Promise<number> {
  const server: Server = createServer((_, response) => response.end("answer"));
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  t.after(() => {
    server.close();
    server.closeAllConnections();
  });
  return (server.address() as AddressInfo).port;
}

/** Opens a connection, asks on it, and says whether it was answered or closed. */
async function ask(port: number, sockets: Socket[]): Promise<"answered" | "closed"> {
  const socket = connect(port, "127.0.0.1");
  sockets.push(socket);
  socket.on("error", () => socket.destroy());
  socket.write(get("/"), "latin1");
  return new Promise((resolve) => {
    socket.once("data", () => resolve("answered"));
    socket.once("close", () => resolve("closed"));
  });
}

const CASES: readonly (readonly [name: string, filters: readonly object[]])[] = [
  ["two at a time", [limit("l", 2)]],
  ["two at a time, after a delay", [limit("l", 2, { delay: "0.3s" })]],
  ["the narrower of two limits", [limit("l", 3), limit("m", 1)]],
  [
    "switched off",
    [limit("l", 1, { runtime_enabled: { default_value: false, runtime_key: "no.such.key" } })],
  ],
];

for (const [name, filters] of CASES) {
  test(`open connections are limited as Envoy limits them: ${name}`, { skip }, async (t) => {
    const port = await upstreamOf(t);
    const endpoint = { endpoint: { address: address(port) } };
    const { envoy, ours } = await sideBySide(
      (places) => {
        const bootstrap = JSON.parse(
          httpBootstrap(
            places,
            [
              {
                name: "a",
                type: "STATIC",
                load_assignment: { cluster_name: "a", endpoints: [{ lb_endpoints: [endpoint] }] },
              },
            ],
            [{ match: { prefix: "/" }, route: { cluster: "a" } }],
          ),
        );
        const chain = bootstrap.static_resources.listeners[0].filter_chains[0];
        chain.filters = [...filters, ...chain.filters];
        return JSON.stringify(bootstrap);
      },
      async (places) => {
        const sockets: Socket[] = [];
        const outcomes: string[] = [];
        for (let i = 0; i < 4; i += 1) outcomes.push(await ask(places.listener, sockets));
        const stats = await statsOf(places, /^connection_limit/);
        // Who leaves makes room.
        sockets[0]?.destroy();
        const deadline = Date.now() + 5_000;
        let again = await ask(places.listener, sockets);
        while (again === "closed" && Date.now() < deadline) {
          again = await ask(places.listener, sockets);
        }
        for (const socket of sockets) socket.destroy();
        return { outcomes, stats, again };
      },
    );
    assert.equal(envoy.again, "answered");
    assert.equal(envoy.outcomes.includes("closed"), name !== "switched off");
    const counted = Object.entries(envoy.stats).filter(([, value]) => value > 0);
    const mine = Object.entries(ours.stats).filter(([, value]) => value > 0);
    assert.deepEqual([ours.outcomes, ours.again, mine], [envoy.outcomes, envoy.again, counted]);
  });
}
