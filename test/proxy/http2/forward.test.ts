import assert from "node:assert/strict";
import { once } from "node:events";
import {
  type ClientHttp2Session,
  connect,
  createServer,
  type IncomingHttpHeaders,
  type ServerHttp2Stream,
} from "node:http2";
import { type TestContext, test } from "node:test";
import {
  cluster,
  endpoint,
  forwardTo,
  httpConfig,
  portOf,
  route,
  startHttp,
  startProxy,
  waitFor,
} from "../../support/proxy-fixture.ts";

interface Answer {
  readonly headers: IncomingHttpHeaders;
  readonly trailers: IncomingHttpHeaders | undefined;
  readonly body: Buffer;
}

function client(t: TestContext, port: number): ClientHttp2Session {
  const session = connect(`http://127.0.0.1:${port}`);
  session.on("error", () => {});
  t.after(() => session.destroy());
  return session;
}

async function ask(
  session: ClientHttp2Session,
  headers: Record<string, string>,
  body?: Buffer | string,
): Promise<Answer> {
  const stream = session.request(headers, { endStream: body === undefined });
  if (body !== undefined) stream.end(body);
  let answered: IncomingHttpHeaders = {};
  let trailers: IncomingHttpHeaders | undefined;
  const chunks: Buffer[] = [];
  stream.on("response", (h) => {
    answered = h;
  });
  stream.on("trailers", (h) => {
    trailers = h;
  });
  stream.on("data", (chunk: Buffer) => chunks.push(chunk));
  await once(stream, "end");
  stream.close();
  return { headers: answered, trailers, body: Buffer.concat(chunks) };
}

async function startHttp2(
  t: TestContext,
  onStream: (stream: ServerHttp2Stream, headers: IncomingHttpHeaders) => void,
): Promise<number> {
  const server = createServer();
  const sessions = new Set<{ destroy(): void }>();
  server.on("session", (session) => {
    sessions.add(session);
    session.on("error", () => {});
  });
  server.on("stream", (stream: ServerHttp2Stream, headers: IncomingHttpHeaders) => {
    stream.on("error", () => {});
    onStream(stream, headers);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  t.after(() => {
    for (const session of sessions) session.destroy();
    server.close();
  });
  return portOf(server);
}

test("an HTTP/2 client in front of an HTTP/1.1 upstream", async (t) => {
  const port = await startHttp(t, (request, response) => {
    const chunks: Buffer[] = [];
    request.on("data", (chunk: Buffer) => chunks.push(chunk));
    request.on("end", () => {
      response.setHeader("x-seen", JSON.stringify([request.method, request.url, request.headers]));
      response.end(Buffer.concat(chunks));
    });
  });
  const proxy = await startProxy(
    t,
    httpConfig([cluster("a", [endpoint(port)])], [route(forwardTo("a"))]),
  );
  const session = client(t, proxy.port);
  const get = await ask(session, { ":path": "/a?b=1", cookie: "one=1" });
  assert.equal(get.headers[":status"], 200);
  assert.equal(get.headers["server"], "envoy");
  assert.equal(get.headers["content-length"], "0");
  assert.equal(get.headers.connection, undefined);
  const [method, url, seen] = JSON.parse(String(get.headers["x-seen"]));
  assert.deepEqual(
    [method, url, seen.host, seen.cookie],
    ["GET", "/a?b=1", `127.0.0.1:${proxy.port}`, "one=1"],
  );
  const big = Buffer.alloc(1_000_000, "x");
  const post = await ask(session, { ":method": "POST", ":path": "/p" }, big);
  assert.equal(post.body.length, big.length);
  const [, , postSeen] = JSON.parse(String(post.headers["x-seen"]));
  assert.equal(postSeen["transfer-encoding"], "chunked");
  const sized = await ask(
    session,
    { ":method": "POST", ":path": "/p", "content-length": "5" },
    "hello",
  );
  assert.equal(sized.body.toString(), "hello");
  await waitFor(() => proxy.records.length === 3);
  assert.deepEqual(
    proxy.records.map(({ code, bytesReceived, bytesSent }) => [code, bytesReceived, bytesSent]),
    [
      [200, 0, 0],
      [200, 1_000_000, 1_000_000],
      [200, 5, 5],
    ],
  );
});

test("an HTTP/1.1 client in front of an HTTP/2 upstream", async (t) => {
  const seen: IncomingHttpHeaders[] = [];
  const port = await startHttp2(t, (stream, headers) => {
    seen.push(headers);
    stream.respond({ ":status": headers[":path"] === "/none" ? 204 : 200, "x-a": "b" });
    stream.pipe(stream);
  });
  const proxy = await startProxy(
    t,
    httpConfig([cluster("a", [endpoint(port)], { protocol: "http2" })], [route(forwardTo("a"))]),
  );
  const base = `http://127.0.0.1:${proxy.port}`;
  const post = await fetch(`${base}/echo?x`, { method: "POST", body: "hello" });
  assert.equal(await post.text(), "hello");
  assert.equal(post.headers.get("x-a"), "b");
  const none = await fetch(`${base}/none`);
  assert.deepEqual([none.status, await none.text()], [204, ""]);
  const head = await fetch(`${base}/echo`, { method: "HEAD" });
  assert.equal(head.status, 200);
  assert.deepEqual(
    seen.map((h) => [h[":method"], h[":path"], h[":authority"], h[":scheme"]]),
    [
      ["POST", "/echo?x", `127.0.0.1:${proxy.port}`, "http"],
      ["GET", "/none", `127.0.0.1:${proxy.port}`, "http"],
      ["HEAD", "/echo", `127.0.0.1:${proxy.port}`, "http"],
    ],
  );
  assert.equal(proxy.counters.get("cluster.a.upstream_cx_total"), 1);
});

test("HTTP/2 on both sides: many streams on one connection, trailers both ways", async (t) => {
  const port = await startHttp2(t, (stream, headers) => {
    let trailers: IncomingHttpHeaders = {};
    stream.on("trailers", (fields) => {
      trailers = fields;
    });
    stream.respond(
      { ":status": 200, "content-type": "application/grpc" },
      { waitForTrailers: true },
    );
    stream.on("wantTrailers", () =>
      stream.sendTrailers({ "grpc-status": "0", "x-got": String(trailers["x-up"] ?? "none") }),
    );
    stream.write(`path ${headers[":path"]} `);
    stream.on("data", (chunk) => stream.write(chunk));
    stream.on("end", () => stream.end());
  });
  const proxy = await startProxy(
    t,
    httpConfig([cluster("a", [endpoint(port)], { protocol: "http2" })], [route(forwardTo("a"))]),
  );
  const session = client(t, proxy.port);
  const answers = await Promise.all(
    Array.from({ length: 60 }, (_, index) =>
      ask(session, { ":method": "POST", ":path": `/${index}`, te: "trailers" }, `body ${index}`),
    ),
  );
  for (const [index, answer] of answers.entries()) {
    assert.equal(answer.body.toString(), `path /${index} body ${index}`);
    assert.equal(answer.trailers?.["grpc-status"], "0");
  }
  assert.equal(proxy.counters.get("cluster.a.upstream_cx_total"), 1);

  const stream = session.request(
    { ":method": "POST", ":path": "/t", te: "trailers" },
    { waitForTrailers: true },
  );
  stream.on("wantTrailers", () => stream.sendTrailers({ "x-up": "yes" }));
  let trailers: IncomingHttpHeaders | undefined;
  stream.on("trailers", (fields) => {
    trailers = fields;
  });
  stream.resume();
  stream.end("body");
  await once(stream, "end");
  await waitFor(() => trailers !== undefined);
  assert.equal(trailers?.["x-got"], "yes");
});

test("a stream that talks both ways at once is passed on as it comes", async (t) => {
  const port = await startHttp2(t, (stream) => {
    stream.respond({ ":status": 200 });
    stream.on("data", (chunk: Buffer) => stream.write(`re:${chunk.toString()}`));
    stream.on("end", () => stream.end());
  });
  const proxy = await startProxy(
    t,
    httpConfig([cluster("a", [endpoint(port)], { protocol: "http2" })], [route(forwardTo("a"))]),
  );
  const session = client(t, proxy.port);
  const stream = session.request({ ":method": "POST", ":path": "/" });
  stream.setEncoding("utf8");
  for (const word of ["one", "two", "three"]) {
    stream.write(word);
    const [answer] = await once(stream, "data");
    assert.equal(answer, `re:${word}`);
  }
  stream.end();
  stream.resume();
  await once(stream, "end");
});

test("flow control: a reader that stops holds its own stream up and no other", async (t) => {
  const size = 8_000_000;
  const port = await startHttp2(t, (stream, headers) => {
    stream.respond({ ":status": 200 });
    stream.end(Buffer.alloc(headers[":path"] === "/big" ? size : 10, "y"));
  });
  const proxy = await startProxy(
    t,
    httpConfig([cluster("a", [endpoint(port)], { protocol: "http2" })], [route(forwardTo("a"))]),
  );
  const session = client(t, proxy.port);
  const slow = session.request({ ":path": "/big" });
  await once(slow, "response");
  // Not read: its window closes.
  for (let index = 0; index < 20; index += 1) {
    assert.equal((await ask(session, { ":path": "/small" })).body.length, 10);
  }
  let received = 0;
  slow.on("data", (chunk: Buffer) => {
    received += chunk.length;
  });
  await once(slow, "end");
  assert.equal(received, size);
});

test("a large upload to an upstream that reads slowly arrives whole", async (t) => {
  const port = await startHttp2(t, (stream) => {
    let received = 0;
    stream.pause();
    setTimeout(() => stream.resume(), 200);
    stream.on("data", (chunk: Buffer) => {
      received += chunk.length;
    });
    stream.on("end", () => {
      stream.respond({ ":status": 200 });
      stream.end(String(received));
    });
  });
  const proxy = await startProxy(
    t,
    httpConfig([cluster("a", [endpoint(port)], { protocol: "http2" })], [route(forwardTo("a"))]),
  );
  const session = client(t, proxy.port);
  const answer = await ask(session, { ":method": "POST", ":path": "/" }, Buffer.alloc(5_000_000));
  assert.equal(answer.body.toString(), "5000000");
});

test("an upstream that resets or goes away inside a response breaks the client's stream", async (t) => {
  const port = await startHttp2(t, (stream, headers) => {
    stream.respond({ ":status": 200 });
    stream.write("part");
    setTimeout(() => {
      if (headers[":path"] === "/reset") stream.destroy(new Error("on purpose"));
      else stream.session?.destroy();
    }, 30);
  });
  const proxy = await startProxy(
    t,
    httpConfig([cluster("a", [endpoint(port)], { protocol: "http2" })], [route(forwardTo("a"))]),
  );
  const session = client(t, proxy.port);
  for (const path of ["/reset", "/gone"]) {
    const stream = session.request({ ":path": path });
    stream.resume();
    stream.on("error", () => {});
    await new Promise((resolve) => stream.on("close", resolve));
    assert.equal(stream.rstCode, 2, path);
  }
  await waitFor(() => proxy.records.length === 2);
  assert.deepEqual(
    proxy.records.map(({ code, flags }) => [code, flags]),
    [
      [200, "UR"],
      [200, "UC"],
    ],
  );
});

test("a client that resets its stream frees the upstream's, and is logged", async (t) => {
  let upstreamClosed = false;
  const port = await startHttp2(t, (stream) => {
    stream.on("close", () => {
      upstreamClosed = true;
    });
  });
  const proxy = await startProxy(
    t,
    httpConfig([cluster("a", [endpoint(port)], { protocol: "http2" })], [route(forwardTo("a"))]),
  );
  const session = client(t, proxy.port);
  const stream = session.request({ ":path": "/" });
  stream.on("error", () => {});
  await waitFor(() => proxy.counters.get("cluster.a.upstream_rq_active") === 1);
  stream.close(8);
  await waitFor(() => upstreamClosed && proxy.records.length === 1);
  assert.deepEqual([proxy.records[0]?.flags, proxy.records[0]?.code], ["DR", 0]);
  assert.equal(proxy.counters.get("cluster.a.upstream_rq_active"), 0);
});

test("no upstream: the answer comes on the stream, the connection lives on", async (t) => {
  const proxy = await startProxy(t, httpConfig([cluster("a", [])], [route(forwardTo("a"))]));
  const session = client(t, proxy.port);
  for (let index = 0; index < 3; index += 1) {
    const answer = await ask(session, { ":path": "/" });
    assert.equal(answer.headers[":status"], 503);
    assert.equal(answer.body.toString(), "no healthy upstream");
  }
  const post = await ask(session, { ":method": "POST", ":path": "/" }, "x".repeat(100_000));
  assert.equal(post.headers[":status"], 503);
});

test("a drain lets open streams finish and the client go elsewhere", async (t) => {
  const port = await startHttp2(t, (stream) => {
    stream.respond({ ":status": 200 });
    stream.on("data", () => stream.end("done"));
  });
  const proxy = await startProxy(
    t,
    httpConfig([cluster("a", [endpoint(port)], { protocol: "http2" })], [route(forwardTo("a"))]),
  );
  const session = client(t, proxy.port);
  let goaway = false;
  session.on("goaway", () => {
    goaway = true;
  });
  const stream = session.request({ ":method": "POST", ":path": "/" });
  await once(stream, "response");
  const stopped = proxy.server.stop(10_000);
  await waitFor(() => goaway);
  stream.setEncoding("utf8");
  stream.end("go");
  const [body] = await once(stream, "data");
  assert.equal(body, "done");
  await stopped;
});
