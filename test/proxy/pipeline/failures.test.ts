import assert from "node:assert/strict";
import { request as httpRequest } from "node:http";
import { type TestContext, test } from "node:test";
import type { RuntimeConfig } from "../../../src/proxy/config/runtime-config.ts";
import {
  closedPort,
  cluster,
  endpoint,
  forwardTo,
  hostRewrite,
  httpConfig,
  type ProxyFixture,
  rawClient,
  retryPolicy,
  route,
  startHttp,
  startProxy,
  startTcp,
  timeouts,
  waitFor,
} from "../../support/proxy-fixture.ts";

interface Answer {
  readonly status: number;
  readonly body: string;
  readonly headers: Headers;
}

async function get(proxy: ProxyFixture, path = "/", init: RequestInit = {}): Promise<Answer> {
  const response = await fetch(`http://127.0.0.1:${proxy.port}${path}`, init);
  return { status: response.status, body: await response.text(), headers: response.headers };
}

const RESET = "upstream connect error or disconnect/reset before headers. reset reason: ";

interface Row {
  readonly name: string;
  readonly setUp: (t: TestContext) => Promise<RuntimeConfig>;
  readonly status: number;
  readonly body: string;
  readonly flags: string;
  readonly details: string | RegExp;
}

/** Answers on a raw socket once a request head has arrived. */
function rawUpstream(t: TestContext, answer: string, then: "end" | "keep"): Promise<number> {
  return startTcp(t, (socket) => {
    socket.once("data", () => {
      if (answer !== "") socket.write(answer, "latin1");
      if (then === "end") socket.end();
    });
  });
}

const one = (port: number): ReturnType<typeof cluster>[] => [cluster("a", [endpoint(port)])];
const all = [route(forwardTo("a"))];

const ROWS: readonly Row[] = [
  {
    name: "no route",
    setUp: async () => httpConfig([], []),
    status: 404,
    body: "",
    flags: "NR",
    details: "route_not_found",
  },
  {
    name: "no such cluster",
    setUp: async () => httpConfig([], all),
    status: 503,
    body: "",
    flags: "NC",
    details: "cluster_not_found",
  },
  {
    name: "no endpoint",
    setUp: async () => httpConfig([cluster("a", [])], all),
    status: 503,
    body: "no healthy upstream",
    flags: "UH",
    details: "no_healthy_upstream",
  },
  {
    name: "only unhealthy endpoints, no panic",
    setUp: async () => httpConfig([cluster("a", [endpoint(1, { edsHealth: "UNHEALTHY" })])], all),
    status: 503,
    body: "no healthy upstream",
    flags: "UH",
    details: "no_healthy_upstream",
  },
  {
    name: "connection refused",
    setUp: async () => httpConfig(one(await closedPort()), all),
    status: 503,
    body: `${RESET}remote connection failure`,
    flags: "UF",
    details:
      /^upstream_reset_before_response_started\{remote_connection_failure\|delayed_connect_error:_Connection_refused/,
  },
  {
    name: "upstream closes without an answer",
    setUp: async (t) => httpConfig(one(await rawUpstream(t, "", "end")), all),
    status: 503,
    body: `${RESET}connection termination`,
    flags: "UC",
    details: "upstream_reset_before_response_started{connection_termination}",
  },
  {
    name: "upstream does not speak HTTP",
    setUp: async (t) => httpConfig(one(await rawUpstream(t, "SSH-2.0-x\r\n\r\n", "keep")), all),
    status: 502,
    body: `${RESET}protocol error`,
    flags: "UPE",
    details: /^upstream_reset_before_response_started\{protocol_error/,
  },
  {
    name: "upstream answers with two framings",
    setUp: async (t) =>
      httpConfig(
        one(
          await rawUpstream(
            t,
            "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
            "keep",
          ),
        ),
        all,
      ),
    status: 502,
    body: `${RESET}protocol error`,
    flags: "UPE",
    details: /protocol_error/,
  },
  {
    name: "route timeout",
    setUp: async (t) =>
      httpConfig(one(await rawUpstream(t, "", "keep")), [
        route(forwardTo("a", { timeouts: timeouts(40) })),
      ]),
    status: 504,
    body: "upstream request timeout",
    flags: "UT",
    details: "response_timeout",
  },
  {
    name: "every try times out",
    setUp: async (t) =>
      httpConfig(one(await rawUpstream(t, "", "keep")), [
        route(
          forwardTo("a", { retry: retryPolicy("5xx", { perTryTimeoutMs: 20, numRetries: 3 }) }),
        ),
      ]),
    status: 504,
    body: "upstream request timeout",
    flags: "URX,UT",
    details: "upstream_per_try_timeout",
  },
];

for (const row of ROWS) {
  test(`${row.name}: ${row.status} ${row.flags}`, async (t) => {
    const proxy = await startProxy(t, await row.setUp(t));
    const answer = await get(proxy);
    assert.equal(answer.status, row.status);
    assert.equal(answer.body, row.body);
    await waitFor(() => proxy.records.length === 1);
    const record = proxy.records[0];
    assert.equal(record?.flags, row.flags);
    if (typeof row.details === "string") assert.equal(record?.details, row.details);
    else assert.match(record?.details ?? "", row.details);
    assert.equal(record?.code, row.status);
  });
}

test("four tries for three retries, and the attempt count says so", async (t) => {
  const counts: string[] = [];
  const port = await startHttp(t, (request, response) => {
    counts.push(String(request.headers["x-envoy-attempt-count"]));
    response.writeHead(503).end("busy");
  });
  const proxy = await startProxy(
    t,
    httpConfig(one(port), [
      route(forwardTo("a", { retry: retryPolicy("5xx", { numRetries: 3 }) })),
    ]),
  );
  const answer = await get(proxy);
  assert.equal(answer.status, 503);
  assert.equal(answer.body, "busy", "the last answer is passed on");
  assert.deepEqual(counts, ["1", "2", "3", "4"]);
  assert.equal(proxy.records[0]?.flags, "URX");
  assert.equal(proxy.counters.get("cluster.a.upstream_rq_retry"), 3);
  assert.equal(proxy.counters.get("cluster.a.upstream_rq_active"), 0);
});

test("a retry sends the whole body again and succeeds", async (t) => {
  const bodies: string[] = [];
  const port = await startHttp(t, (request, response) => {
    let body = "";
    request.on("data", (chunk) => {
      body += chunk;
    });
    request.on("end", () => {
      bodies.push(body);
      response.writeHead(bodies.length < 3 ? 502 : 200).end(`try ${bodies.length}`);
    });
  });
  const proxy = await startProxy(
    t,
    httpConfig(one(port), [route(forwardTo("a", { retry: retryPolicy("gateway-error") }))]),
  );
  const answer = await get(proxy, "/", { method: "POST", body: "payload".repeat(1000) });
  assert.equal(answer.body, "try 3");
  assert.deepEqual(bodies, Array(3).fill("payload".repeat(1000)));
  assert.deepEqual([proxy.records[0]?.code, proxy.records[0]?.attempts], [200, 3]);
});

test("connect-failure is retried on another host when previous hosts are avoided", async (t) => {
  const port = await startHttp(t, (_, response) => response.end("alive"));
  const proxy = await startProxy(
    t,
    httpConfig(
      [cluster("a", [endpoint(await closedPort()), endpoint(port)])],
      [
        route(
          forwardTo("a", {
            retry: retryPolicy("connect-failure", { avoidPreviousHosts: true, numRetries: 1 }),
          }),
        ),
      ],
    ),
  );
  for (let i = 0; i < 10; i += 1) assert.equal((await get(proxy)).body, "alive");
});

test("reset-before-request does not repeat a request that was sent", async (t) => {
  let requests = 0;
  const port = await startTcp(t, (socket) => {
    socket.on("data", () => {
      requests += 1;
      socket.destroy();
    });
  });
  const proxy = await startProxy(
    t,
    httpConfig(one(port), [route(forwardTo("a", { retry: retryPolicy("reset-before-request") }))]),
  );
  assert.equal((await get(proxy)).status, 503);
  assert.equal(requests, 1);
});

for (const [name, head, part] of [
  ["content-length", "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n", "some"],
  ["chunked", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "4\r\nsome\r\n"],
] as const) {
  test(`an upstream that dies in a ${name} body breaks the client's body too`, async (t) => {
    const port = await startTcp(t, (socket) => {
      socket.once("data", () => {
        socket.write(head + part);
        setTimeout(() => socket.destroy(), 20);
      });
    });
    const proxy = await startProxy(t, httpConfig(one(port), all));
    const response = await fetch(`http://127.0.0.1:${proxy.port}/`);
    assert.equal(response.status, 200);
    await assert.rejects(response.text());
    await waitFor(() => proxy.records.length === 1);
    assert.equal(proxy.records[0]?.flags, "UC");
    assert.match(proxy.records[0]?.details ?? "", /^upstream_reset_after_response_started/);
  });
}

test("a body that ends with the upstream's connection is complete for the client", async (t) => {
  const port = await rawUpstream(t, "HTTP/1.1 200 OK\r\n\r\nall of it", "end");
  const proxy = await startProxy(t, httpConfig(one(port), all));
  assert.equal((await get(proxy)).body, "all of it");
});

test("bytes behind a response are never taken for the next answer", async (t) => {
  let connections = 0;
  const port = await startTcp(t, (socket) => {
    connections += 1;
    socket.on("data", () =>
      socket.write(
        "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ngoodHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil",
      ),
    );
  });
  const proxy = await startProxy(t, httpConfig(one(port), all));
  assert.equal((await get(proxy)).body, "good");
  assert.equal((await get(proxy)).body, "good");
  assert.equal(connections, 2);
});

test("a client that leaves ends the upstream request: DC", async (t) => {
  let upstreamClosed = false;
  const port = await startTcp(t, (socket) => {
    socket.on("end", () => {
      upstreamClosed = true;
      socket.end();
    });
    socket.resume();
  });
  const proxy = await startProxy(t, httpConfig(one(port), all));
  const client = await rawClient(t, proxy.port);
  client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
  await waitFor(() => proxy.counters.get("cluster.a.upstream_cx_active") === 1);
  client.socket.destroy();
  await waitFor(() => proxy.records.length === 1 && upstreamClosed);
  assert.deepEqual([proxy.records[0]?.code, proxy.records[0]?.flags], [0, "DC"]);
  assert.equal(proxy.records[0]?.details, "downstream_remote_disconnect");
});

test("connection and pending limits: the rest is refused as overflow", async (t) => {
  const waiting: (() => void)[] = [];
  const port = await startHttp(t, (_, response) => waiting.push(() => response.end("ok")));
  const limits = {
    maxConnections: 1,
    maxPendingRequests: 1,
    maxRequests: 1000,
    maxRetries: 3,
    retryBudget: undefined,
    tracksRemaining: false,
  };
  const proxy = await startProxy(
    t,
    httpConfig([cluster("a", [endpoint(port)], { circuitBreaker: limits })], all),
  );
  const first = get(proxy);
  await waitFor(() => waiting.length === 1);
  const second = get(proxy);
  await waitFor(() => proxy.counters.get("cluster.a.upstream_rq_pending_active") === 1);
  const refused = await Promise.all([get(proxy), get(proxy), get(proxy)]);
  for (const answer of refused) {
    assert.equal(answer.status, 503);
    assert.equal(answer.headers.get("x-envoy-overloaded"), "true");
    assert.equal(answer.body, `${RESET}overflow`);
  }
  assert.deepEqual(
    proxy.records.map((r) => r.flags),
    ["UO", "UO", "UO"],
  );
  waiting[0]?.();
  assert.equal((await first).body, "ok");
  await waitFor(() => waiting.length === 2);
  waiting[1]?.();
  assert.equal((await second).body, "ok");
  assert.equal(proxy.counters.get("cluster.a.upstream_cx_total"), 1);
});

test("maxRequestsPerConnection 1: every request has its own connection", async (t) => {
  const port = await startHttp(t, (_, response) => response.end("ok"));
  const proxy = await startProxy(
    t,
    httpConfig([cluster("a", [endpoint(port)], { maxRequestsPerConnection: 1 })], all),
  );
  for (let i = 0; i < 5; i += 1) assert.equal((await get(proxy)).body, "ok");
  assert.equal(proxy.counters.get("cluster.a.upstream_cx_total"), 5);
});

test("a mirror gets the whole request under its shadow name, and its failure harms nobody", async (t) => {
  const seen: string[] = [];
  const shadow = await startHttp(t, (request, response) => {
    let body = "";
    request.on("data", (chunk) => {
      body += chunk;
    });
    request.on("end", () => {
      seen.push(`${request.headers.host} ${body}`);
      response.writeHead(500).end();
    });
  });
  const port = await startHttp(t, (request, response) => {
    request.resume();
    request.on("end", () => response.end("real"));
  });
  const mirrors = ["shadow", "dead", "missing"].map((name) => ({
    cluster: name,
    fraction: 1,
    appendShadowSuffix: true,
  }));
  const proxy = await startProxy(
    t,
    httpConfig(
      [
        cluster("a", [endpoint(port)]),
        cluster("shadow", [endpoint(shadow)]),
        cluster("dead", [endpoint(await closedPort())]),
      ],
      [route(forwardTo("a", { mirrors }))],
    ),
  );
  assert.equal((await get(proxy, "/", { method: "POST", body: "data" })).body, "real");
  await waitFor(() => seen.length === 1);
  assert.equal(seen[0], `127.0.0.1-shadow:${proxy.port} data`);
});

test("direct answers, redirects, rewrites and header edits", async (t) => {
  const port = await startHttp(t, (request, response) => {
    response.setHeader("x-drop", "1");
    response.end(`${request.url} ${request.headers.host} ${request.headers["x-set"]}`);
  });
  const edit = { isOverwrite: true, when: "always", keepsEmpty: false } as const;
  const edits = (name: string, value: string, ...remove: string[]) => [
    { remove, edits: [{ ...edit, name, value }], isPlain: true },
  ];
  const proxy = await startProxy(
    t,
    httpConfig(one(port), [
      route({ kind: "direct", status: 418, body: Buffer.from("tea") }, "/direct"),
      route(
        { kind: "redirect", status: 301, location: (path, host) => `https://${host}${path}` },
        "/redirect",
      ),
      route(forwardTo("a", { prefixRewrite: "/new", hostRewrite: hostRewrite("other") }), "/old", {
        requestHeaders: edits("x-set", "Ã¼", "x-gone"),
        responseHeaders: edits("x-more", "1", "x-drop"),
      }),
    ]),
  );
  const direct = await get(proxy, "/direct");
  assert.deepEqual([direct.status, direct.body], [418, "tea"]);
  const redirect = await get(proxy, "/redirect?x", { redirect: "manual" });
  assert.equal(redirect.headers.get("location"), `https://127.0.0.1:${proxy.port}/redirect?x`);
  const rewritten = await get(proxy, "/old/a?b");
  assert.equal(rewritten.body, "/new/a?b other Ã¼");
  assert.equal(rewritten.headers.get("x-drop"), null);
  assert.equal(rewritten.headers.get("x-more"), "1");
});

test("internal headers of a caller do not get through", async (t) => {
  const port = await startHttp(t, (request, response) =>
    response.end(JSON.stringify(request.headers)),
  );
  const proxy = await startProxy(t, httpConfig(one(port), all, { useRemoteAddress: true }));
  const answer = await get(proxy, "/", {
    headers: {
      "x-envoy-max-retries": "9",
      "x-envoy-upstream-rq-timeout-ms": "1",
      "x-forwarded-client-cert": "By=me",
      "x-forwarded-for": "1.2.3.4",
      "x-forwarded-proto": "https",
      "x-request-id": "mine",
    },
  });
  const seen = JSON.parse(answer.body);
  assert.equal(seen["x-envoy-max-retries"], undefined);
  assert.equal(seen["x-envoy-upstream-rq-timeout-ms"], undefined);
  assert.equal(seen["x-forwarded-client-cert"], undefined);
  assert.equal(seen["x-forwarded-for"], "1.2.3.4,127.0.0.1");
  assert.equal(seen["x-forwarded-proto"], "http");
  assert.notEqual(seen["x-request-id"], "mine");
});

test("weights are kept within the binomial bound", async (t) => {
  let seed = 42;
  const random = (): number => {
    seed = (Math.imul(seed, 1_103_515_245) + 12_345) >>> 0;
    return seed / 2 ** 32;
  };
  const hits = { a: 0, b: 0 };
  const a = await startHttp(t, (_, response) => {
    hits.a += 1;
    response.end();
  });
  const b = await startHttp(t, (_, response) => {
    hits.b += 1;
    response.end();
  });
  const proxy = await startProxy(
    t,
    httpConfig(
      [cluster("a", [endpoint(a)]), cluster("b", [endpoint(b)])],
      [route(forwardTo({ a: 90, b: 10 }))],
    ),
    random,
  );
  const total = 1000;
  const client = await rawClient(t, proxy.port);
  client.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n".repeat(total));
  await waitFor(() => hits.a + hits.b === total);
  // Four standard deviations of a binomial with p = 0.1.
  assert.ok(Math.abs(hits.b - total * 0.1) < 4 * Math.sqrt(total * 0.09), `${hits.b}`);
});

test("HEAD, 204 and Expect: 100-continue", async (t) => {
  const port = await startHttp(t, (request, response) => {
    if (request.url === "/204") {
      response.writeHead(204).end();
      return;
    }
    request.resume();
    request.on("end", () => {
      response.setHeader("content-length", 5);
      response.end(`${request.headers.expect ?? "none!"}`.slice(0, 5));
    });
  });
  const proxy = await startProxy(t, httpConfig(one(port), all));
  const client = await rawClient(t, proxy.port);
  client.send("HEAD / HTTP/1.1\r\nHost: a\r\n\r\nGET /204 HTTP/1.1\r\nHost: a\r\n\r\n");
  const text = await client.until(/204 No Content[\s\S]*\r\n\r\n$/);
  assert.match(text, /content-length: 5\r\n/i);
  assert.ok(!text.includes("none!"));

  const expecting = await rawClient(t, proxy.port);
  expecting.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n");
  await expecting.until("HTTP/1.1 100 Continue\r\n\r\n");
  expecting.send("abc");
  assert.match(await expecting.until("none!"), /HTTP\/1\.1 200 OK/);
});

test("upgrades and CONNECT are refused, h2c is ignored", async (t) => {
  const port = await startHttp(t, (request, response) =>
    response.end(`${request.headers.upgrade} ${request.headers.connection}`),
  );
  const proxy = await startProxy(t, httpConfig(one(port), all));
  const ask = async (head: string): Promise<string> => {
    const client = await rawClient(t, proxy.port);
    // What follows is meant for the tunnel and must not be taken for a request.
    client.send(`${head}\r\n\r\nGET /tunnel HTTP/1.1\r\nHost: a\r\n\r\n`);
    return client.closed();
  };
  const upgrade = "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: ";
  assert.match(await ask(`${upgrade}websocket`), /^HTTP\/1\.1 403 Forbidden\r\n[^/]*$/);
  assert.match(
    await ask("CONNECT b:443 HTTP/1.1\r\nHost: b:443"),
    /^HTTP\/1\.1 404 Not Found\r\n[^/]*$/,
  );
  assert.deepEqual(
    proxy.records.map((record) => record.code),
    [403, 404],
  );
  const client = await rawClient(t, proxy.port);
  client.send(`${upgrade}h2c\r\nHTTP2-Settings: x\r\n\r\n`);
  assert.match(await client.until(/undefined \S+$/), /HTTP\/1\.1 200 OK/);
});

test("an early answer to an unfinished upload reaches the client", async (t) => {
  const proxy = await startProxy(t, httpConfig([], []));
  const body = Buffer.alloc(100_000);
  const status = await new Promise<number | undefined>((resolve, reject) => {
    const request = httpRequest(
      { port: proxy.port, host: "127.0.0.1", method: "POST" },
      (response) => {
        response.resume();
        resolve(response.statusCode);
      },
    );
    request.on("error", reject);
    request.end(body);
  });
  assert.equal(status, 404);
});

test("the route's timeout is for the whole response: one that stalls is broken off", async (t) => {
  let isClosed = false;
  const port = await startHttp(t, (request, response) => {
    request.socket.on("close", () => {
      isClosed = true;
    });
    response.setHeader("content-length", "10");
    response.write("part");
  });
  const proxy = await startProxy(
    t,
    httpConfig(
      [cluster("a", [endpoint(port)])],
      [route(forwardTo("a", { timeouts: timeouts(200) }))],
    ),
  );
  const response = await fetch(`http://127.0.0.1:${proxy.port}/`);
  assert.equal(response.status, 200);
  await assert.rejects(response.text());
  await waitFor(() => isClosed && proxy.records.length === 1);
  assert.deepEqual(
    [proxy.records[0]?.code, proxy.records[0]?.flags, proxy.records[0]?.details],
    [200, "UT", "response_timeout"],
  );
});
