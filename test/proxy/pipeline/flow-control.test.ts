import assert from "node:assert/strict";
import { once } from "node:events";
import { connect } from "node:net";
import { test } from "node:test";
import {
  cluster,
  endpoint,
  forwardTo,
  httpConfig,
  rawClient,
  retryPolicy,
  route,
  startProxy,
  startTcp,
  waitFor,
} from "../../support/proxy-fixture.ts";

const BODY_BYTES = 256 * 1024 * 1024;
/** Kernel buffers of both connections plus what the proxy may hold. */
const BOUND_BYTES = 48 * 1024 * 1024;
const BLOCK = Buffer.alloc(256 * 1024, "x");

/** Writes as fast as the socket takes it, up to `total` bytes; returns how much was taken so far. */
function flood(
  socket: { write(bytes: Buffer): boolean; once(event: "drain", f: () => void): unknown },
  total: number,
  frame: (block: Buffer) => Buffer = (block) => block,
): () => number {
  let sent = 0;
  const more = (): void => {
    while (sent < total) {
      sent += BLOCK.length;
      if (!socket.write(frame(BLOCK))) {
        socket.once("drain", more);
        return;
      }
    }
  };
  more();
  return () => sent;
}

/** Waits until a growing number stands still for a while. */
async function settled(value: () => number): Promise<number> {
  let last = -1;
  let unchangedSince = performance.now();
  await waitFor(() => {
    const now = value();
    if (now !== last) {
      last = now;
      unchangedSince = performance.now();
    }
    return last > 0 && performance.now() - unchangedSince > 300;
  });
  return last;
}

for (const kind of ["length", "chunked"] as const) {
  test(`a client that stops reading stops the upstream (${kind})`, async (t) => {
    let sent = (): number => 0;
    const port = await startTcp(t, (socket) => {
      socket.once("data", () => {
        if (kind === "length") {
          socket.write(`HTTP/1.1 200 OK\r\nContent-Length: ${BODY_BYTES}\r\n\r\n`);
          sent = flood(socket, BODY_BYTES);
        } else {
          socket.write("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
          const size = `${BLOCK.length.toString(16)}\r\n`;
          sent = flood(socket, BODY_BYTES, (block) =>
            Buffer.concat([Buffer.from(size), block, Buffer.from("\r\n")]),
          );
        }
      });
    });
    const proxy = await startProxy(
      t,
      httpConfig([cluster("a", [endpoint(port)])], [route(forwardTo("a"))]),
    );
    const client = connect({ port: proxy.port, host: "127.0.0.1" });
    t.after(() => client.destroy());
    client.write("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    await once(client, "readable");
    const before = process.memoryUsage().arrayBuffers;
    const taken = await settled(() => sent());
    assert.ok(taken < BOUND_BYTES, `the upstream got rid of ${taken} bytes`);
    const grown = process.memoryUsage().arrayBuffers - before;
    assert.ok(grown < BOUND_BYTES, `memory grew by ${grown} bytes`);
    // It goes on when the client does.
    let received = 0;
    client.on("data", (chunk) => {
      received += chunk.length;
    });
    await waitFor(() => received > 3 * BOUND_BYTES);
  });
}

test("an upstream that stops reading stops the client, retries or not", async (t) => {
  for (const retry of [undefined, retryPolicy("5xx")]) {
    const upstream: { resume(): void }[] = [];
    let received = 0;
    const port = await startTcp(t, (socket) => {
      socket.pause();
      upstream.push(socket);
      socket.on("data", (chunk) => {
        received += chunk.length;
      });
      socket.pause();
    });
    const proxy = await startProxy(
      t,
      httpConfig([cluster("a", [endpoint(port)])], [route(forwardTo("a", { retry }))]),
    );
    const client = connect({ port: proxy.port, host: "127.0.0.1" });
    client.on("error", () => {});
    t.after(() => client.destroy());
    client.write(`POST / HTTP/1.1\r\nHost: a\r\nContent-Length: ${BODY_BYTES}\r\n\r\n`);
    const sent = flood(client, BODY_BYTES);
    const taken = await settled(sent);
    assert.ok(taken < BOUND_BYTES, `the client got rid of ${taken} bytes`);
    await waitFor(() => upstream.length === 1);
    upstream[0]?.resume();
    await waitFor(() => received > BOUND_BYTES);
  }
});

test("a client that asks and asks and never reads is answered only so far", async (t) => {
  const proxy = await startProxy(
    t,
    httpConfig([], [route({ kind: "direct", status: 200, body: Buffer.alloc(65_536, "b") })]),
  );
  const client = await rawClient(t, proxy.port);
  client.socket.pause();
  const requests = Buffer.from("GET / HTTP/1.1\r\nHost: a\r\n\r\n".repeat(10_000));
  client.send(requests);
  const answered = await settled(() => proxy.records.length);
  assert.ok(answered * 65_536 < BOUND_BYTES, `${answered} answers`);
  client.socket.resume();
  await waitFor(() => proxy.records.length > 2 * answered);
});

test("a head that never ends is cut off at the limit and after the time", async (t) => {
  const proxy = await startProxy(
    t,
    httpConfig([], [], { maxRequestHeadersBytes: 4096, requestHeadersTimeoutMs: 200 }),
  );
  const endless = await rawClient(t, proxy.port);
  endless.send(`GET / HTTP/1.1\r\nHost: a\r\nA: ${"b".repeat(5000)}`);
  assert.match(await endless.closed(), /^HTTP\/1\.1 431 Request Header Fields Too Large\r\n/);
  const slow = await rawClient(t, proxy.port);
  slow.send("GET / HT");
  assert.match(await slow.closed(), /^HTTP\/1\.1 408 Request Timeout\r\n/);
});

test("an idle client is sent away", async (t) => {
  const proxy = await startProxy(t, httpConfig([], [], { idleTimeoutMs: 100 }));
  const client = await rawClient(t, proxy.port);
  assert.equal(await client.closed(), "");
});
