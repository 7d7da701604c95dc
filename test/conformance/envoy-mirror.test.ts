import assert from "node:assert/strict";
import { test } from "node:test";
import { closedPort, startHttp, waitFor } from "../support/proxy-fixture.ts";
import { skipWithout } from "../support/tools.ts";
import { exchange } from "./support/raw-http.ts";
import {
  address,
  httpBootstrap,
  type ProxyPlaces,
  sideBySide,
  statsOf,
} from "./support/side-by-side.ts";

const skip = skipWithout("envoy");

/** What a request came as, without what differs from one moment to the next. */
interface Seen {
  readonly line: string;
  readonly headers: Readonly<Record<string, unknown>>;
  readonly body: string;
}

interface Row {
  readonly name: string;
  readonly policies: readonly object[];
  /** Other fields of the route. */
  readonly route?: object;
  readonly request: string;
  /** How many copies Envoy sends. */
  readonly copies: number;
}

const get = (host: string, headers = ""): string =>
  `GET /p?q=1 HTTP/1.1\r\nHost: ${host}\r\n${headers}\r\n`;
const post = "POST /p HTTP/1.1\r\nHost: a.test\r\nContent-Length: 5\r\n\r\nhello";
const chunked =
  "POST /p HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n";
const percent = (numerator: number) => ({
  runtime_fraction: { default_value: { numerator, denominator: "HUNDRED" } },
});
const shadow = { cluster: "shadow" };

const ROWS: readonly Row[] = [
  { name: "every request", policies: [shadow], request: get("a.test"), copies: 1 },
  { name: "a host with a port", policies: [shadow], request: get("a.test:8080"), copies: 1 },
  { name: "an IPv6 host", policies: [shadow], request: get("[::1]:80"), copies: 1 },
  { name: "a body", policies: [shadow], request: post, copies: 1 },
  { name: "a body in chunks", policies: [shadow], request: chunked, copies: 1 },
  {
    name: "headers of the client",
    policies: [shadow],
    request: get("a.test", "x-user: me\r\ncookie: a=b\r\nx-forwarded-for: 1.2.3.4\r\n"),
    copies: 1,
  },
  {
    name: "without the suffix",
    policies: [{ ...shadow, disable_shadow_host_suffix_append: true }],
    request: get("a.test"),
    copies: 1,
  },
  { name: "two mirrors", policies: [shadow, shadow], request: get("a.test"), copies: 2 },
  {
    name: "none of them",
    policies: [{ ...shadow, ...percent(0) }],
    request: get("a.test"),
    copies: 0,
  },
  {
    name: "all of them",
    policies: [{ ...shadow, ...percent(100) }],
    request: get("a.test"),
    copies: 1,
  },
  { name: "a dead cluster", policies: [{ cluster: "dead" }], request: get("a.test"), copies: 0 },
  {
    name: "behind a rewrite",
    policies: [shadow],
    route: { prefix_rewrite: "/new", host_rewrite_literal: "b.test" },
    request: get("a.test"),
    copies: 1,
  },
];

test("mirrored requests look as Envoy's", { skip }, async (t) => {
  const copies: Seen[] = [];
  const record =
    (into: Seen[]) =>
    (
      request: import("node:http").IncomingMessage,
      response: import("node:http").ServerResponse,
    ) => {
      let body = "";
      request.on("data", (chunk) => {
        body += chunk;
      });
      request.on("end", () => {
        const { "x-request-id": _, "x-forwarded-for": __, ...headers } = request.headers;
        into.push({ line: `${request.method} ${request.url}`, headers, body });
        response.end("ok");
      });
    };
  const originals: Seen[] = [];
  const [main, mirror, dead] = [
    await startHttp(t, record(originals)),
    await startHttp(t, record(copies)),
    await closedPort(),
  ];
  const cluster = (name: string, port: number) => ({
    name,
    type: "STATIC",
    load_assignment: {
      cluster_name: name,
      endpoints: [{ lb_endpoints: [{ endpoint: { address: address(port) } }] }],
    },
  });
  const routes = ROWS.map(({ policies, route }, i) => ({
    match: { prefix: "/", headers: [{ name: "x-row", string_match: { exact: String(i) } }] },
    route: { cluster: "main", request_mirror_policies: policies, ...route },
  }));
  const bootstrap = (places: ProxyPlaces) =>
    httpBootstrap(
      places,
      [cluster("main", main), cluster("shadow", mirror), cluster("dead", dead)],
      routes,
    );
  const { envoy, ours } = await sideBySide(bootstrap, async (places) => {
    const seen: Seen[][] = [];
    for (const [i, row] of ROWS.entries()) {
      copies.length = 0;
      originals.length = 0;
      const request = row.request.replace("\r\n", `\r\nx-row: ${i}\r\n`);
      const { status } = await exchange(places.listener, request);
      assert.equal(status, 200, row.name);
      await waitFor(() => copies.length >= row.copies);
      seen.push([...originals, ...copies]);
    }
    // Late copies of rows that should have none would show here.
    const stats = await statsOf(places, /^cluster\.(shadow|dead)\.upstream_rq_(total|200|503)$/);
    return { seen, stats };
  });
  for (const [i, row] of ROWS.entries()) {
    await t.test(row.name, () => {
      assert.equal(envoy.seen[i]?.length, row.copies + 1, "Envoy itself");
      assert.deepEqual(ours.seen[i], envoy.seen[i]);
    });
  }
  await t.test("counters", () => {
    assert.equal(
      ours.stats["cluster.shadow.upstream_rq_total"],
      envoy.stats["cluster.shadow.upstream_rq_total"],
    );
  });
});
