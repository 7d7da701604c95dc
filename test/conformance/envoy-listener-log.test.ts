import assert from "node:assert/strict";
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { createServer } from "node:http";
import { type AddressInfo, connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { skipWithout } from "../support/tools.ts";
import { get } from "./support/log-table.ts";
import { address, httpBootstrap, sideBySide } from "./support/side-by-side.ts";

const skip = skipWithout("envoy");
const TYPE = "type.googleapis.com/envoy.extensions";
const FORMAT =
  "%ACCESS_LOG_TYPE%|%RESPONSE_FLAGS%|%RESPONSE_CODE%|%RESPONSE_CODE_DETAILS%|%BYTES_RECEIVED%|" +
  "%BYTES_SENT%|%PROTOCOL%|%REQUESTED_SERVER_NAME%|%UPSTREAM_HOST%|%UPSTREAM_CLUSTER%|%ROUTE_NAME%|" +
  "%REQ(:METHOD)%|%DOWNSTREAM_LOCAL_ADDRESS_WITHOUT_PORT%|%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%|" +
  "%DOWNSTREAM_TRANSPORT_FAILURE_REASON%|%CONNECTION_TERMINATION_DETAILS%\n";

/** One connection to a listener with an access log of its own; gives the lines of both proxies. */
async function compare(
  t: TestContext,
  { filter, chain = {} }: { readonly filter?: object; readonly chain?: object },
) {
  const dir = mkdtempSync(join(tmpdir(), "serin-listener-log-"));
  const upstream = createServer((_, response) => response.end("answer"));
  await new Promise<void>((resolve) => upstream.listen(0, "127.0.0.1", resolve));
  t.after(() => {
    upstream.close();
    upstream.closeAllConnections();
    rmSync(dir, { recursive: true });
  });
  const endpoint = { address: address((upstream.address() as AddressInfo).port) };
  const log = (name: string, format: string, more: object) => ({
    name: "file",
    ...more,
    typed_config: {
      "@type": `${TYPE}.access_loggers.file.v3.FileAccessLog`,
      path: join(dir, name),
      log_format: { text_format_source: { inline_string: format } },
    },
  });
  return sideBySide(
    (places) => {
      const clusters = [
        {
          name: "a",
          type: "STATIC",
          load_assignment: { cluster_name: "a", endpoints: [{ lb_endpoints: [{ endpoint }] }] },
        },
      ];
      const routes = [{ match: { prefix: "/" }, route: { cluster: "a" } }];
      const config = JSON.parse(httpBootstrap(places, clusters, routes, {}, chain));
      config.static_resources.listeners[0].access_log = [
        log("wanted", FORMAT, filter === undefined ? {} : { filter }),
        log("all", "%ACCESS_LOG_TYPE%\n", {}),
      ];
      return JSON.stringify(config);
    },
    async ({ listener }) => {
      await new Promise<void>((resolve) => {
        const socket = connect(listener, "127.0.0.1", () => socket.write(get("/"), "latin1"));
        socket.on("data", () => socket.end());
        socket.on("error", () => socket.destroy());
        socket.on("close", () => resolve());
      });
      const deadline = Date.now() + 10_000;
      const read = (name: string): string =>
        existsSync(join(dir, name)) ? readFileSync(join(dir, name), "utf8") : "";
      while (read("all") === "" && Date.now() < deadline) {
        await new Promise((resolve) => setTimeout(resolve, 50));
      }
      // Both files are flushed at once, or one right after the other.
      await new Promise((resolve) => setTimeout(resolve, 300));
      // The bytes of a response depend on how long its upstream took.
      const lines = [read("wanted").replace(/(?<=\|35\|)\d{3}(?=\|HTTP)/, "some"), read("all")];
      for (const name of ["wanted", "all"]) rmSync(join(dir, name), { force: true });
      return lines;
    },
  );
}

const elsewhere = { filter_chain_match: { destination_port: 1 } };
const CASES: readonly (readonly [
  name: string,
  config: Parameters<typeof compare>[1],
  isWanted: boolean,
])[] = [
  ["a connection that is served", {}, true],
  ["a connection that no chain takes", { chain: elsewhere }, true],
  [
    "only refused ones, of those served",
    { filter: { response_flag_filter: { flags: ["NR"] } } },
    false,
  ],
  [
    "only refused ones",
    { filter: { response_flag_filter: { flags: ["NR"] } }, chain: elsewhere },
    true,
  ],
];

for (const [name, config, isWanted] of CASES) {
  test(`a listener's own access log as Envoy's: ${name}`, { skip }, async (t) => {
    const { envoy, ours } = await compare(t, config);
    assert.equal(envoy[0] !== "", isWanted);
    assert.deepEqual(ours, envoy);
  });
}
