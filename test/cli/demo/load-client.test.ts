import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer, type RequestListener } from "node:http";
import type { AddressInfo } from "node:net";
import { type TestContext, test } from "node:test";
import { isFailure, startLoadClient } from "../../../src/cli/demo/load-client.ts";
import { systemClock } from "../../../src/runtime/index.ts";

async function load(t: TestContext, handler: RequestListener, timeoutMs = 10_000) {
  const server = createServer(handler).listen(0, "127.0.0.1");
  await once(server, "listening");
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/`;
  const client = startLoadClient({ url, requestsPerSecond: 200, clock: systemClock, timeoutMs });
  t.after(() => client.stop());
  return client;
}

async function until(condition: () => boolean): Promise<void> {
  const deadlineMs = Date.now() + 20_000;
  while (!condition()) {
    assert.ok(Date.now() < deadlineMs, "not within 20 s");
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

test("counts what was answered: version, status, and connections that broke", async (t) => {
  let requests = 0;
  const client = await load(t, (request, response) => {
    requests += 1;
    if (requests % 4 === 1) response.end('{"version":"v1"}');
    else if (requests % 4 === 2) response.writeHead(500).end('{"version":"v3"}');
    else if (requests % 4 === 3) response.writeHead(503).end("upstream connect error");
    else request.socket.destroy();
  });
  await until(() => client.totals().requests >= 20);
  await client.stop();
  const seen = new Set(client.exchanges().map(({ status, version }) => `${status} ${version}`));
  assert.deepEqual([...seen].sort(), ["200 v1", "500 v3", "503 undefined", "undefined undefined"]);
  assert.equal(client.totals().requests, client.exchanges().length);
  assert.equal(client.totals().failures, client.exchanges().filter(isFailure).length);
});

test("goes on sending while nothing is answered, and a late answer is a failure", async (t) => {
  let arrived = 0;
  const countOnly = (): void => {
    arrived += 1;
  };
  const client = await load(t, countOnly, 100);
  await until(() => arrived >= 10 && client.totals().failures >= 5);
  await client.stop();
  assert.ok(client.exchanges().every(isFailure));
});

test("keeps its connections", async (t) => {
  const sockets = new Set<unknown>();
  const client = await load(t, (request, response) => {
    sockets.add(request.socket);
    response.end("{}");
  });
  await until(() => client.totals().requests >= 40);
  assert.ok(sockets.size < 20, `${sockets.size} connections for 40 requests`);
});
