import assert from "node:assert/strict";
import { test } from "node:test";
import { skipWithout } from "../support/tools.ts";
import { assertExpected, type ConfigRow, runConfigTable } from "./support/config-table.ts";

const hosts = {
  name: "r",
  virtual_hosts: ["NONE", "EXTERNAL_ONLY", "ALL"].map((require_tls) => ({
    name: require_tls,
    domains: [`${require_tls.toLowerCase().replace("_", "-")}.test`, `${require_tls}.test:81`],
    require_tls,
    response_headers_to_add: [{ header: { key: "x-host", value: require_tls } }],
    routes: [{ match: { prefix: "/" }, route: { cluster: "a" }, name: "app" }],
  })),
};
const LISTENERS = {
  inner: { manager: {}, routes: hosts },
  /** The proxy before this one is believed. */
  second: { manager: { use_remote_address: true, xff_num_trusted_hops: 1 }, routes: hosts },
  edge: { manager: { use_remote_address: true }, routes: hosts },
};
const request = (target: string, host: string, headers = ""): string =>
  `GET ${target} HTTP/1.1\r\nHost: ${host}\r\n${headers}\r\n`;
const HEADERS = {
  "no word": "",
  http: "x-forwarded-proto: http\r\n",
  https: "x-forwarded-proto: https\r\n",
  "from within": "x-forwarded-proto: http\r\nx-forwarded-for: 10.0.0.1\r\n",
  "from outside": "x-forwarded-proto: http\r\nx-forwarded-for: 8.8.8.8\r\n",
};
const isRedirected = (listener: string, host: string, kind: string): boolean =>
  host !== "none.test" && !(listener === "second" && kind === "https");
const ROWS: readonly ConfigRow[] = Object.keys(LISTENERS).flatMap((listener) =>
  ["none.test", "external-only.test", "all.test"].flatMap((host) =>
    Object.entries(HEADERS).map(([kind, headers]) => ({
      name: `${listener} ${host} ${kind}`,
      listener,
      request: request("/a/b?c=d", host, headers),
      status: isRedirected(listener, host, kind) ? 301 : 200,
    })),
  ),
);

test("virtual hosts that require TLS redirect as Envoy's", {
  skip: skipWithout("envoy"),
}, async (t) => {
  const { envoy, ours } = await runConfigTable(
    {
      listeners: LISTENERS,
      rows: ROWS,
      logFormat: "%RESPONSE_CODE% %RESPONSE_CODE_DETAILS% route=%ROUTE_NAME% %RESPONSE_FLAGS%\n",
    },
    true,
  );
  for (const row of ROWS) {
    await t.test(row.name, () => {
      const [theirs, mine] = [envoy?.get(row.name), ours.get(row.name)];
      assert.ok(theirs !== undefined && mine !== undefined);
      assertExpected(row, theirs);
      assert.deepEqual(mine, theirs);
    });
  }
});
