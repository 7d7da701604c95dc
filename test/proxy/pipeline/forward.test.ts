import assert from "node:assert/strict";
import { test } from "node:test";
import {
  cluster,
  endpoint,
  forwardTo,
  httpConfig,
  rawClient,
  route,
  startHttp,
  startProxy,
  startTcp,
} from "../../support/proxy-fixture.ts";

test("forwards a request and its answer, with the usual headers", async (t) => {
  const port = await startHttp(t, (request, response) => {
    response.setHeader("x-seen", JSON.stringify(request.headers));
    response.end(`hello ${request.url}`);
  });
  const proxy = await startProxy(
    t,
    httpConfig([cluster("a", [endpoint(port)])], [route(forwardTo("a"))]),
  );
  const response = await fetch(`http://127.0.0.1:${proxy.port}/path?q=1`);
  assert.equal(await response.text(), "hello /path?q=1");
  assert.equal(response.headers.get("server"), "envoy");
  assert.match(response.headers.get("x-envoy-upstream-service-time") ?? "", /^\d+$/);
  const seen = JSON.parse(response.headers.get("x-seen") ?? "{}");
  assert.match(seen["x-request-id"], /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-/);
  assert.equal(seen["x-forwarded-proto"], "http");
  assert.equal(seen["x-envoy-attempt-count"], "1");
  assert.equal(seen["host"], `127.0.0.1:${proxy.port}`);
  assert.equal(proxy.records.length, 1);
  assert.deepEqual(
    {
      code: proxy.records[0]?.code,
      flags: proxy.records[0]?.flags,
      sent: proxy.records[0]?.bytesSent,
    },
    { code: 200, flags: "", sent: 15 },
  );
});

test("takes an absolute-form target and replaces Host by its authority", async (t) => {
  const port = await startHttp(t, (request, response) => {
    response.end(`${request.headers.host} ${request.url}`);
  });
  const proxy = await startProxy(
    t,
    httpConfig([cluster("a", [endpoint(port)])], [route(forwardTo("a"))]),
  );
  const client = await rawClient(t, proxy.port);
  client.send(
    "GET http://reviews:9080/x?y HTTP/1.1\r\nHost: other\r\nProxy-Connection: keep-alive\r\n\r\n",
  );
  assert.match(await client.until("/x?y"), /\r\n\r\nreviews:9080 \/x\?y$/);
});

test("answers pipelined requests in order", async (t) => {
  const port = await startHttp(t, (request, response) => {
    // The first takes longest.
    setTimeout(() => response.end(`<${request.url}>`), request.url === "/0" ? 30 : 0);
  });
  const proxy = await startProxy(
    t,
    httpConfig([cluster("a", [endpoint(port)])], [route(forwardTo("a"))]),
  );
  const client = await rawClient(t, proxy.port);
  let bytes = "";
  for (let i = 0; i < 50; i += 1) bytes += `GET /${i} HTTP/1.1\r\nHost: a\r\n\r\n`;
  client.send(bytes);
  const text = await client.until("</49>");
  const order = [...text.matchAll(/<\/(\d+)>/g)].map((match) => Number(match[1]));
  assert.deepEqual(order, [...Array(50).keys()]);
});

test("streams bodies both ways, with a length and chunked; trailers pass where they are enabled", async (t) => {
  const port = await startHttp(t, (request, response) => {
    response.setHeader("trailer", "x-sum");
    let size = 0;
    request.on("data", (chunk: Buffer) => {
      size += chunk.length;
      response.write(chunk);
    });
    request.on("end", () => {
      response.addTrailers({ "x-sum": `${size} ${request.trailers["x-in"] ?? "-"}` });
      response.end();
    });
  });
  const proxy = await startProxy(
    t,
    httpConfig([cluster("a", [endpoint(port)])], [route(forwardTo("a"))]),
  );
  const body = Buffer.alloc(3_000_000, "abcdefg");
  const echoed = await fetch(`http://127.0.0.1:${proxy.port}/`, { method: "POST", body });
  assert.ok(body.equals(Buffer.from(await echoed.arrayBuffer())));

  const client = await rawClient(t, proxy.port);
  client.send(
    "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\nX-In: t\r\n\r\n",
  );
  assert.match(await client.until("0\r\n\r\n"), /\r\n0\r\n\r\n$/, "they end here");
  for (const [name, ofClient, ofServer, expected] of [
    ["of neither side", false, false, "0\r\n\r\n"],
    ["of the client's side", true, false, "0\r\n\r\n"],
    ["of the server's side", false, true, "0\r\n\r\n"],
    ["of both", true, true, "0\r\nx-sum: 5 t\r\n\r\n"],
  ] as const) {
    await proxy.apply(
      httpConfig(
        [cluster("a", [endpoint(port)], { http1Trailers: ofServer })],
        [route(forwardTo("a"))],
        { http1Trailers: ofClient },
      ),
    );
    const next = await rawClient(t, proxy.port);
    next.send(
      "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n5\r\nabcde\r\n0\r\nX-In: t\r\n\r\n",
    );
    const answer = await next.closed();
    assert.ok(answer.toLowerCase().endsWith(`\r\n${expected}`), `${name}: ${answer}`);
  }
});

test("a connection that its host may close any moment takes no further request", async (t) => {
  let connections = 0;
  const port = await startTcp(t, (socket) => {
    connections += 1;
    // A second, less our margin of a second.
    const answer = "HTTP/1.1 200 OK\r\nkeep-alive: timeout=1\r\ncontent-length: 0\r\n\r\n";
    socket.on("data", () => socket.write(answer));
  });
  const proxy = await startProxy(
    t,
    httpConfig([cluster("a", [endpoint(port)])], [route(forwardTo("a"))]),
  );
  for (let i = 0; i < 3; i += 1) {
    const response = await fetch(`http://127.0.0.1:${proxy.port}/`);
    assert.equal(response.status, 200);
  }
  assert.equal(connections, 3);
});
