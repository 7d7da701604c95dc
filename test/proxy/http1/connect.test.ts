import assert from "node:assert/strict";
import { test } from "node:test";
import {
  closedPort,
  cluster,
  endpoint,
  forwardTo,
  httpConfig,
  rawClient,
  route,
  startProxy,
  startTcp,
} from "../../support/proxy-fixture.ts";

const CONNECT = new Map([["connect", true]]);
const ASK = "CONNECT db.test:5432 HTTP/1.1\r\nHost: db.test:5432\r\n\r\n";
const tunnel = (more: object) => ({
  ...route(forwardTo("a", { upgrades: CONNECT, ...more })),
  path: { kind: "connect" } as const,
});

test("a CONNECT that ends here becomes a raw connection to the cluster", async (t) => {
  let seen = "";
  const port = await startTcp(t, (socket) => {
    socket.write("server speaks first;");
    socket.on("data", (bytes: Buffer) => {
      seen += bytes.toString("latin1");
      if (seen.endsWith("bye")) socket.end("bye too");
    });
  });
  const proxy = await startProxy(
    t,
    httpConfig([cluster("a", [endpoint(port)])], [tunnel({ terminatesConnect: true })]),
  );
  const client = await rawClient(t, proxy.port);
  client.send(`${ASK}GET / HTTP/1.1\r\n\r\n`);
  await client.until("server speaks first;");
  client.send("bye");
  const text = await client.closed();
  assert.match(text, /^HTTP\/1\.1 200 OK\r\n/);
  assert.doesNotMatch(text, /content-length|transfer-encoding|connection: close/i);
  assert.match(text, /\r\n\r\nserver speaks first;bye too$/);
  assert.equal(seen, "GET / HTTP/1.1\r\n\r\nbye");
  assert.equal(proxy.counters.get("cluster.a.upstream_cx_active"), 0);
  assert.equal(proxy.counters.get("cluster.a.upstream_cx_total"), 1);
});

test("a CONNECT whose host cannot be reached is answered 503", async (t) => {
  const proxy = await startProxy(
    t,
    httpConfig(
      [cluster("a", [endpoint(await closedPort())])],
      [tunnel({ terminatesConnect: true })],
    ),
  );
  const client = await rawClient(t, proxy.port);
  client.send(ASK);
  assert.match(await client.closed(), /^HTTP\/1\.1 503 [\s\S]*remote connection failure/);
  assert.equal(proxy.records[0]?.flags, "UF");
});

test("a CONNECT without connect_config goes on as a CONNECT", async (t) => {
  let seen = "";
  const port = await startTcp(t, (socket) => {
    socket.on("data", (bytes: Buffer) => {
      seen += bytes.toString("latin1");
      if (seen.endsWith("\r\n\r\n")) socket.write("HTTP/1.1 200 Go\r\nContent-Length: 5\r\n\r\n");
      else socket.end("pong");
    });
  });
  const proxy = await startProxy(t, httpConfig([cluster("a", [endpoint(port)])], [tunnel({})]));
  const client = await rawClient(t, proxy.port);
  client.send(ASK);
  await client.until("\r\n\r\n");
  client.send("ping");
  // A length in the answer to CONNECT counts for nothing (RFC 9110 §9.3.6).
  assert.match(await client.closed(), /^HTTP\/1\.1 200 Go\r\n[\s\S]*\r\n\r\npong$/);
  assert.match(seen, /^CONNECT db\.test:5432 HTTP\/1\.1\r\n[\s\S]*\r\n\r\nping$/);
});

test("a CONNECT that the next proxy refuses is answered as that one does", async (t) => {
  const port = await startTcp(t, (socket) => {
    socket.on("data", () => socket.write("HTTP/1.1 407 No\r\nContent-Length: 2\r\n\r\nno"));
  });
  const proxy = await startProxy(t, httpConfig([cluster("a", [endpoint(port)])], [tunnel({})]));
  const client = await rawClient(t, proxy.port);
  client.send(`${ASK}GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n`);
  assert.match(await client.closed(), /^HTTP\/1\.1 407 No\r\n[\s\S]*\r\n\r\nno$/);
  assert.equal(proxy.records.length, 1);
});

test("CONNECT takes connect routes only, and they take nothing else", async (t) => {
  const port = await startTcp(t, (socket) => socket.end("x"));
  const anything = { ...route(forwardTo("a", { upgrades: CONNECT })), path: prefix("") };
  const proxy = await startProxy(t, httpConfig([cluster("a", [endpoint(port)])], [anything]));
  const client = await rawClient(t, proxy.port);
  client.send(ASK);
  assert.match(await client.closed(), /^HTTP\/1\.1 404 /);

  await proxy.apply(httpConfig([cluster("a", [endpoint(port)])], [tunnel({})]));
  const other = await rawClient(t, proxy.port);
  other.send("GET / HTTP/1.1\r\nHost: db.test:5432\r\n\r\n");
  assert.match(await other.until("\r\n\r\n"), /^HTTP\/1\.1 404 /);
});

function prefix(text: string) {
  return { kind: "prefix", prefix: text, ignoreCase: false } as const;
}
