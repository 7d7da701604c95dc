import assert from "node:assert/strict";
import { createHash, randomBytes } from "node:crypto";
import { type IncomingMessage, request } from "node:http";
import { connect, type Socket } from "node:net";
import { Readable } from "node:stream";
import { type TestContext, test } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import { isReadBuffer, readFrom } from "../../../src/proxy/net/read-buffer.ts";
import {
  chain,
  cluster,
  endpoint,
  forwardTo,
  httpConfig,
  listener,
  route,
  runtimeConfig,
  startHttp,
  startProxy,
  startTcp,
  tcpTo,
} from "../../support/proxy-fixture.ts";

/** Much more than the kernel holds for a reader that stops. */
const SIZE_BYTES = 24_000_000;
const AT_ONCE = 3;
const PAUSE_BYTES = 4_000_000;
const PIECE_BYTES = 9_000;

const digest = (bytes: Buffer): string => createHash("sha256").update(bytes).digest("hex");

/** Reads to the end, with pauses that fill every buffer on the way. */
async function readSlowly(stream: IncomingMessage | Socket): Promise<string> {
  const hash = createHash("sha256");
  let untilPause = 0;
  for await (const chunk of stream) {
    hash.update(chunk);
    untilPause -= chunk.length;
    if (untilPause > 0) continue;
    untilPause = PAUSE_BYTES;
    await delay(30);
  }
  return hash.digest("hex");
}

function* pieces(body: Buffer): Generator<Buffer> {
  for (let at = 0; at < body.length; at += PIECE_BYTES) yield body.subarray(at, at + PIECE_BYTES);
}

/** `GET` answers with a body, whole or in chunks; `POST` with the digest of the request's. */
function startApp(t: TestContext, bodies: readonly Buffer[]): Promise<number> {
  return startHttp(t, (incoming, response) => {
    if (incoming.method === "GET") {
      const [, index, kind] = (incoming.url ?? "").split("/");
      const body = bodies[Number(index)] ?? Buffer.alloc(0);
      if (kind === "whole") response.end(body);
      else Readable.from(pieces(body)).pipe(response);
    } else void readSlowly(incoming).then((text) => response.end(text));
  });
}

function send(port: number, path: string, body?: Buffer): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    const method = body === undefined ? "GET" : "POST";
    request({ port, host: "127.0.0.1", path, method, agent: false }, resolve)
      .on("error", reject)
      .end(body);
  });
}

test("a socket reads into the same memory again and again", async (t) => {
  const memory = new Set<ArrayBufferLike>();
  let received = "";
  const port = await startTcp(t, (socket) => {
    readFrom(socket, (bytes) => {
      assert.ok(isReadBuffer(bytes), "this Node has other names for the onread option");
      memory.add(bytes.buffer);
      received += bytes.toString("latin1");
      socket.write(bytes.toString("latin1").toUpperCase());
    });
  });
  const socket = connect(port, "127.0.0.1");
  t.after(() => socket.destroy());
  for (const word of ["one", "two", "three"]) {
    socket.write(word);
    const [answer] = await new Promise<Buffer[]>((resolve) =>
      socket.once("data", (bytes: Buffer) => resolve([bytes])),
    );
    assert.equal(answer?.toString(), word.toUpperCase());
  }
  assert.equal(received, "onetwothree");
  assert.equal(memory.size, 1);
});

test("bodies arrive as they were sent, however slowly they are read", async (t) => {
  const bodies = Array.from({ length: AT_ONCE }, () => randomBytes(SIZE_BYTES));
  const app = await startApp(t, bodies);
  const proxy = await startProxy(
    t,
    httpConfig([cluster("app", [endpoint(app)])], [route(forwardTo("app"))]),
  );
  await Promise.all(
    bodies.map(async (body, i) => {
      const [whole, inChunks, upload] = await Promise.all([
        send(proxy.port, `/${i}/whole`).then(readSlowly),
        send(proxy.port, `/${i}/chunks`).then(readSlowly),
        send(proxy.port, "/", body).then(async (response) => {
          let text = "";
          for await (const chunk of response) text += String(chunk);
          return text;
        }),
      ]);
      assert.equal(whole, digest(body), "download");
      assert.equal(inChunks, digest(body), "download in chunks");
      assert.equal(upload, digest(body), "upload");
    }),
  );
});

test("a raw connection arrives as it was sent, however slowly it is read", async (t) => {
  const bodies = Array.from({ length: AT_ONCE }, () => randomBytes(SIZE_BYTES));
  const echo = await startTcp(t, (socket) => socket.pipe(socket));
  const proxy = await startProxy(
    t,
    runtimeConfig([cluster("echo", [endpoint(echo)])], [listener([chain(tcpTo("echo"))])]),
  );
  await Promise.all(
    bodies.map(async (body) => {
      const socket = connect(proxy.port, "127.0.0.1");
      t.after(() => socket.destroy());
      socket.end(body);
      assert.equal(await readSlowly(socket), digest(body));
    }),
  );
});
