import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { once } from "node:events";
import { createServer, type IncomingMessage } from "node:http";
import type { Socket } from "node:net";
import { type TestContext, test } from "node:test";
import {
  cluster,
  endpoint,
  forwardTo,
  httpConfig,
  portOf,
  rawClient,
  route,
  startProxy,
  startTcp,
  waitFor,
} from "../../support/proxy-fixture.ts";

const WEBSOCKET = new Map([["websocket", true]]);
const GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
const UPGRADE =
  "GET /chat HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
const SWITCHED =
  "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";

/** A WebSocket server that sends every text back (RFC 6455; frames up to 64 KiB). */
async function startEcho(t: TestContext): Promise<{ port: number; requests: IncomingMessage[] }> {
  const requests: IncomingMessage[] = [];
  const server = createServer((_, response) => response.end());
  server.on("upgrade", (request: IncomingMessage, socket: Socket) => {
    requests.push(request);
    const key = request.headers["sec-websocket-key"] ?? "";
    const accept = createHash("sha1")
      .update(key + GUID)
      .digest("base64");
    socket.write(
      `HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ${accept}\r\n\r\n`,
    );
    let input = Buffer.alloc(0);
    socket.on("data", (chunk: Buffer) => {
      input = Buffer.concat([input, chunk]);
      for (let frame = takeFrame(input); frame !== undefined; frame = takeFrame(input)) {
        const isClose = ((input[0] ?? 0) & 0x0f) === 8;
        input = input.subarray(frame.length);
        socket.write(frame.answer);
        // RFC 6455 §7.1.1: the server closes the connection first.
        if (isClose) socket.end();
      }
    });
    socket.on("error", () => socket.destroy());
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  return { port: portOf(server), requests };
}

function takeFrame(input: Buffer): { length: number; answer: Buffer } | undefined {
  if (input.length < 2) return undefined;
  const short = (input[1] ?? 0) & 0x7f;
  const head = short === 126 ? 4 : 2;
  if (input.length < head + 4) return undefined;
  const size = short === 126 ? input.readUInt16BE(2) : short;
  const length = head + 4 + size;
  if (input.length < length) return undefined;
  const mask = input.subarray(head, head + 4);
  const payload = Buffer.from(
    input.subarray(head + 4, length).map((byte, i) => byte ^ (mask[i % 4] ?? 0)),
  );
  const answerHead = Buffer.from(input.subarray(0, head));
  answerHead[1] = short;
  return { length, answer: Buffer.concat([answerHead, payload]) };
}

test("a WebSocket client talks through the proxy, and closes", async (t) => {
  const echo = await startEcho(t);
  const config = httpConfig([cluster("a", [endpoint(echo.port)])], [route(forwardTo("a"))], {
    upgrades: WEBSOCKET,
  });
  const proxy = await startProxy(t, config);
  const texts: string[] = [];
  const plain = new WebSocket(`ws://127.0.0.1:${proxy.port}/chat?room=1`);
  plain.addEventListener("message", ({ data }) => texts.push(String(data)));
  await once(plain, "open");
  assert.equal(proxy.counters.get("http.test.downstream_cx_upgrades_active"), 1);
  plain.send("hello");
  plain.send("x".repeat(60_000));
  await waitFor(() => texts.length === 2);
  assert.deepEqual(texts, ["hello", "x".repeat(60_000)]);
  plain.close();
  await once(plain, "close");
  await waitFor(() => proxy.counters.get("http.test.downstream_cx_upgrades_active") === 0);
  const request = echo.requests.at(-1);
  assert.equal(request?.url, "/chat?room=1");
  assert.equal(request?.headers.upgrade, "websocket");
  assert.equal(request?.headers["sec-websocket-version"], "13");
  const record = proxy.records.find(({ bytesSent }) => bytesSent > 60_000);
  assert.equal(record?.code, 101);
  assert.ok((record?.bytesReceived ?? 0) > 60_000);
});

test("an upstream that refuses the upgrade is heard, and nothing behind it is a request", async (t) => {
  let seen = "";
  const port = await startTcp(t, (socket) => {
    socket.on("data", (bytes: Buffer) => {
      seen += bytes.toString("latin1");
      socket.write("HTTP/1.1 426 No\r\nContent-Length: 2\r\nX-Why: old\r\n\r\nno");
    });
  });
  const proxy = await startProxy(
    t,
    httpConfig([cluster("a", [endpoint(port)])], [route(forwardTo("a"))], { upgrades: WEBSOCKET }),
  );
  const client = await rawClient(t, proxy.port);
  client.send(`${UPGRADE}GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n`);
  const text = await client.closed();
  assert.match(text, /^HTTP\/1\.1 426 No\r\n/);
  assert.match(text, /x-why: old\r\n[\s\S]*connection: close\r\n\r\nno$/i);
  assert.doesNotMatch(seen, /smuggled/);
});

test("what the client sends before the 101 reaches the upstream behind it, and not before", async (t) => {
  let seen = "";
  let switchNow = (): void => {};
  const port = await startTcp(t, (socket) => {
    socket.on("data", (bytes: Buffer) => {
      seen += bytes.toString("latin1");
      switchNow = () => socket.write(`${SWITCHED}early`);
      if (seen.includes("ping")) socket.end("pong");
    });
  });
  const proxy = await startProxy(
    t,
    httpConfig([cluster("a", [endpoint(port)])], [route(forwardTo("a"))], { upgrades: WEBSOCKET }),
  );
  const client = await rawClient(t, proxy.port);
  client.send(`${UPGRADE}ping`);
  await waitFor(() => seen.includes("\r\n\r\n"));
  assert.match(seen, /connection: Upgrade\r\nupgrade: websocket\r\n\r\n$/i);
  switchNow();
  const text = await client.closed();
  assert.match(text, /^HTTP\/1\.1 101 Switching Protocols\r\n/);
  assert.match(text, /\r\n\r\nearlypong$/);
  assert.match(seen, /\r\n\r\nping$/);
});

const RULES = [
  ["nowhere", undefined, undefined, 403],
  ["off on the connection manager", new Map([["websocket", false]]), undefined, 403],
  ["off on the route", WEBSOCKET, new Map([["websocket", false]]), 403],
  ["on on the route", undefined, WEBSOCKET, 101],
  ["off on the manager, on on the route", new Map([["websocket", false]]), WEBSOCKET, 101],
  ["on for another protocol", new Map([["foo", true]]), undefined, 403],
] as const;
for (const [name, upgrades, ofRoute, status] of RULES) {
  test(`upgrades that are ${name}: ${status}`, async (t) => {
    const port = await startTcp(t, (socket) => {
      socket.on("data", () => socket.end(SWITCHED));
    });
    const config = httpConfig(
      [cluster("a", [endpoint(port)])],
      [route(forwardTo("a", { upgrades: ofRoute }))],
      { upgrades },
    );
    const proxy = await startProxy(t, config);
    const client = await rawClient(t, proxy.port);
    client.send(UPGRADE);
    assert.match(await client.closed(), new RegExp(`^HTTP/1.1 ${status} `));
  });
}

test("a 101 that nobody asked for is refused", async (t) => {
  const port = await startTcp(t, (socket) => {
    socket.on("data", () => socket.write(SWITCHED));
  });
  const proxy = await startProxy(
    t,
    httpConfig([cluster("a", [endpoint(port)])], [route(forwardTo("a"))], { upgrades: WEBSOCKET }),
  );
  const client = await rawClient(t, proxy.port);
  client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
  assert.match(await client.until("\r\n\r\n"), /^HTTP\/1\.1 502 /);
});

test("a reader that stops stops the other side, both ways", async (t) => {
  const upstreams: Socket[] = [];
  const port = await startTcp(t, (socket) => {
    upstreams.push(socket);
    socket.once("data", () => socket.write(SWITCHED));
  });
  const proxy = await startProxy(
    t,
    httpConfig([cluster("a", [endpoint(port)])], [route(forwardTo("a"))], { upgrades: WEBSOCKET }),
  );
  const client = await rawClient(t, proxy.port);
  client.send(UPGRADE);
  await client.until("\r\n\r\n");
  const [upstream] = upstreams;
  assert.ok(upstream !== undefined);
  const block = Buffer.alloc(1_000_000, "a");
  for (const [from, to] of [
    [client.socket, upstream],
    [upstream, client.socket],
  ] as const) {
    to.pause();
    let received = 0;
    to.on("data", (chunk: Buffer | string) => {
      received += chunk.length;
    });
    to.pause();
    let written = 0;
    for (let i = 0; i < 40; i += 1) {
      from.write(block);
      written += block.length;
    }
    // Kernel and proxy hold some; most of it must wait at its source.
    await waitFor(() => from.bytesWritten > 0 && from.writableLength < written);
    assert.ok(from.writableLength > 10_000_000, `only ${from.writableLength} bytes wait`);
    to.resume();
    await waitFor(
      () => received === written,
      () => `received ${received} of ${written}`,
    );
  }
});

test("a tunnel in which nobody speaks is closed", async (t) => {
  let isClosed = false;
  const port = await startTcp(t, (socket) => {
    socket.once("data", () => socket.write(SWITCHED));
    socket.on("end", () => {
      isClosed = true;
    });
  });
  const proxy = await startProxy(
    t,
    httpConfig([cluster("a", [endpoint(port)])], [route(forwardTo("a"))], {
      upgrades: WEBSOCKET,
      streamIdleTimeoutMs: 100,
    }),
  );
  const client = await rawClient(t, proxy.port);
  client.send(UPGRADE);
  assert.match(await client.closed(), /^HTTP\/1\.1 101 [\s\S]*\r\n\r\n$/);
  client.socket.destroy();
  await waitFor(() => isClosed);
});
