import assert from "node:assert/strict";
import { test } from "node:test";
import { closedPort, startHttp } from "../support/proxy-fixture.ts";
import { skipWithout } from "../support/tools.ts";
import { exchange, type RawResponse } from "./support/raw-http.ts";
import { address, httpBootstrap, type ProxyPlaces, sideBySide } from "./support/side-by-side.ts";

const skip = skipWithout("envoy");
const TYPE = "type.googleapis.com/envoy.extensions";
const COUNT = 12;

/** What a client sees that asks again and again with what it was given. */
interface Outcome {
  readonly status: number;
  /** Without the names of hosts and without times. */
  readonly given: readonly string[];
  /** All requests with what was given met one host, and were given nothing more. */
  readonly stays: boolean;
  /** So many hosts met requests that brought nothing. */
  readonly spreads: boolean;
}

interface Row {
  readonly name: string;
  readonly path: string;
  /** What the first request brings. */
  readonly brings?: (hosts: Hosts) => string;
  /** Of Envoy: a guard against both being wrong in the same way. */
  readonly status: number;
  readonly gives: boolean;
}

interface Hosts {
  readonly known: number;
  readonly dead: number;
}

const base64 = (bytes: string | Buffer) => Buffer.from(bytes).toString("base64");
/** The message envoy.Cookie. */
const message = (port: number, expires = 0): string => {
  const text = `127.0.0.1:${port}`;
  const tail: number[] = [];
  for (let rest = expires; rest > 0; rest = Math.floor(rest / 128)) {
    tail.push((rest % 128) | (rest > 127 ? 128 : 0));
  }
  const field = expires === 0 ? [] : [0x10, ...tail];
  return base64(
    Buffer.concat([Buffer.from([0x0a, text.length]), Buffer.from(text), Buffer.from(field)]),
  );
};
const cookie = (value: string, name = "sid") => `cookie: a=b; ${name}="${value}"\r\n`;
const YEAR_2096 = 4_000_000_000;

const ROWS: readonly Row[] = [
  {
    name: "hash: a cookie with a lifetime and a path",
    path: "/hash/ttl",
    status: 200,
    gives: true,
  },
  {
    name: "hash: a cookie of the client's session",
    path: "/hash/session",
    status: 200,
    gives: true,
  },
  { name: "hash: no cookie is made", path: "/hash/none", status: 200, gives: false },
  { name: "cookie with a lifetime and a path", path: "/cookie/ttl", status: 200, gives: true },
  { name: "cookie of the client's session", path: "/cookie/session", status: 200, gives: true },
  { name: "cookie: outside its path", path: "/cookie/elsewhere", status: 200, gives: false },
  {
    name: "cookie: a path that only begins alike",
    path: "/cookie/alike",
    status: 200,
    gives: false,
  },
  { name: "header", path: "/header", status: 200, gives: true },
  { name: "switched off", path: "/off", status: 200, gives: false },
  {
    name: "a known host",
    path: "/cookie/session",
    brings: ({ known }) => cookie(message(known)),
    status: 200,
    gives: false,
  },
  {
    name: "a known host, in the old form",
    path: "/cookie/session",
    brings: ({ known }) => cookie(base64(`127.0.0.1:${known}`)),
    status: 200,
    gives: false,
  },
  {
    name: "a known host, not over",
    path: "/cookie/ttl",
    brings: ({ known }) => cookie(message(known, YEAR_2096)),
    status: 200,
    gives: false,
  },
  {
    name: "a known host, over",
    path: "/cookie/ttl",
    brings: ({ known }) => cookie(message(known, 1_000_000)),
    status: 200,
    gives: true,
  },
  {
    name: "a host that nobody knows",
    path: "/cookie/session",
    brings: ({ dead }) => cookie(message(dead)),
    status: 200,
    gives: true,
  },
  {
    name: "nonsense",
    path: "/cookie/session",
    brings: () => cookie("nonsense"),
    status: 200,
    gives: true,
  },
  {
    name: "strict: a host that nobody knows",
    path: "/strict",
    brings: ({ dead }) => cookie(message(dead)),
    status: 503,
    gives: false,
  },
  {
    name: "strict: a known host",
    path: "/strict",
    brings: ({ known }) => cookie(message(known)),
    status: 200,
    gives: false,
  },
  { name: "strict: no host", path: "/strict", status: 200, gives: true },
  {
    name: "header: a known host",
    path: "/header",
    brings: ({ known }) => `x-session: ${base64(`127.0.0.1:${known}`)}\r\n`,
    status: 200,
    gives: false,
  },
];

const given = ({ fields = [] }: RawResponse) =>
  fields.filter(([name]) => name === "set-cookie" || name === "x-session");

/** The client's next request brings what it was given. */
function bring(fields: readonly (readonly [string, string])[]): string {
  return fields
    .map(([name, value]) =>
      name === "set-cookie" ? `cookie: ${value.split(";")[0]}\r\n` : `${name}: ${value}\r\n`,
    )
    .join("");
}

/** A value that names a host or a connection becomes what kind of value it is. */
function anonymous([name, value]: readonly [string, string], ports: readonly number[]): string {
  const text = name === "set-cookie" ? (/="([^"]*)"/.exec(value)?.[1] ?? "") : value;
  const bytes = Buffer.from(text, "base64").toString("latin1");
  const port = ports.find((each) => bytes.includes(`127.0.0.1:${each}`));
  const isMessage = bytes.startsWith("\n");
  const hasExpiry = bytes.length > 2 && bytes.length > (bytes.charCodeAt(1) || 0) + 2;
  const kind =
    port === undefined
      ? /^[0-9a-f]{14,16}$/.test(text)
        ? "hash"
        : text
      : `host${isMessage ? " in a message" : ""}${isMessage && hasExpiry ? " with an end" : ""}`;
  return `${name}: ${value.replace(text, `<${kind}>`)}`;
}

test("clients stay with their hosts as with Envoy", { skip }, async (t) => {
  const ports: number[] = [];
  for (let i = 0; i < 4; i += 1) {
    const port: number = await startHttp(t, (_, response) => response.end(String(port)));
    ports.push(port);
  }
  const hosts: Hosts = { known: ports[2] ?? 0, dead: await closedPort() };
  const cluster = (name: string, lb_policy: string) => ({
    name,
    type: "STATIC",
    lb_policy,
    load_assignment: {
      cluster_name: name,
      endpoints: [
        { lb_endpoints: ports.map((port) => ({ endpoint: { address: address(port) } })) },
      ],
    },
  });
  const typed = (type: string, more: object) => ({ "@type": `${TYPE}.${type}`, ...more });
  const session = (type: string, state: object, strict = false) => ({
    typed_per_filter_config: {
      "envoy.filters.http.stateful_session": typed(
        "filters.http.stateful_session.v3.StatefulSessionPerRoute",
        {
          stateful_session: {
            session_state: {
              name: `envoy.http.stateful_session.${type.split(".")[0]}`,
              typed_config: typed(`http.stateful_session.${type}`, state),
            },
            strict,
          },
        },
      ),
    },
  });
  const byCookie = (more: object, strict = false) =>
    session("cookie.v3.CookieBasedSessionState", { cookie: { name: "sid", ...more } }, strict);
  const to = (path: string, more: object = {}) => ({
    match: { path },
    route: { cluster: "plain" },
    ...more,
  });
  const hashed = (path: string, more: object) => ({
    match: { path },
    route: { cluster: "ring", hash_policy: [{ cookie: { name: "sid", ...more } }] },
  });
  const routes = [
    hashed("/hash/ttl", { ttl: "60s", path: "/hash" }),
    hashed("/hash/session", { ttl: "0s" }),
    hashed("/hash/none", {}),
    to("/cookie/ttl", byCookie({ ttl: "60s", path: "/cookie" })),
    to("/cookie/session", byCookie({})),
    to("/cookie/elsewhere", byCookie({ path: "/other" })),
    to("/cookie/alike", byCookie({ path: "/cook" })),
    to("/strict", byCookie({}, true)),
    to("/header", session("header.v3.HeaderBasedSessionState", { name: "x-session" })),
    to("/off", {
      typed_per_filter_config: {
        "envoy.filters.http.stateful_session": typed(
          "filters.http.stateful_session.v3.StatefulSessionPerRoute",
          { disabled: true },
        ),
      },
    }),
  ];
  const manager = {
    http_filters: [
      {
        name: "envoy.filters.http.stateful_session",
        typed_config: typed("filters.http.stateful_session.v3.StatefulSession", {
          session_state: {
            name: "envoy.http.stateful_session.cookie",
            typed_config: typed("http.stateful_session.cookie.v3.CookieBasedSessionState", {
              cookie: { name: "everywhere" },
            }),
          },
        }),
      },
      { name: "router", typed_config: typed("filters.http.router.v3.Router", {}) },
    ],
  };
  // The filter's own configuration would show on every route that has none.
  for (const route of routes) {
    if (route.match.path.startsWith("/hash")) {
      Object.assign(route, to("/off"), routes.at(-1), { match: route.match, route: route.route });
    }
  }
  const bootstrap = (places: ProxyPlaces) =>
    httpBootstrap(
      places,
      [cluster("plain", "ROUND_ROBIN"), cluster("ring", "RING_HASH")],
      [...routes, to("/own")],
      manager,
    );
  const ask = (port: number, path: string, fields: string) =>
    exchange(port, `GET ${path} HTTP/1.1\r\nHost: a\r\n${fields}\r\n`);
  const { envoy, ours } = await sideBySide(bootstrap, async ({ listener }) => {
    const outcomes: Outcome[] = [];
    for (const { path, brings } of [...ROWS, { path: "/own", brings: undefined }]) {
      const own = brings?.(hosts) ?? "";
      const first = await ask(listener, path, own);
      const news = given(first);
      const next = news.length > 0 ? bring(news) : own;
      let stays = true;
      const met = new Set<string>();
      for (let i = 0; i < COUNT; i += 1) {
        const again = await ask(listener, path, next);
        if (again.body !== first.body || given(again).length > 0) stays = false;
        met.add((await ask(listener, path, "")).body);
      }
      outcomes.push({
        status: first.status,
        given: news.map((field) => anonymous(field, ports)),
        stays,
        spreads: met.size > 1,
      });
    }
    return outcomes;
  });
  for (const [i, row] of ROWS.entries()) {
    await t.test(row.name, () => {
      assert.equal(envoy[i]?.status, row.status, "Envoy itself");
      assert.equal((envoy[i]?.given.length ?? 0) > 0, row.gives, "Envoy itself");
      assert.deepEqual(ours[i], envoy[i]);
    });
  }
  await t.test("the filter's own state where a route has none", () => {
    assert.match(envoy[ROWS.length]?.given[0] ?? "", /^set-cookie: everywhere=/);
    assert.deepEqual(ours[ROWS.length], envoy[ROWS.length]);
  });
  assert.ok(
    envoy.some(({ stays }) => !stays) && envoy.some(({ stays, spreads }) => stays && spreads),
    "the table can tell",
  );
});
