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
} from "../../support/proxy-fixture.ts";

type Ask = readonly [name: string, request: string, answer: RegExp, then: "closes" | "stays"];
const http10 = { defaultHost: "default.test" };

/** `/length` is answered with a length, `/chunks` in chunks; the body says what the upstream saw. */
const CASES: readonly Ask[] = [
  [
    "a body with a length ends the connection",
    "GET /length HTTP/1.0\r\nHost: a\r\n\r\n",
    /^HTTP\/1\.0 200 OK\r\n[\s\S]*connection: close\r\n\r\n1\.1 a$/i,
    "closes",
  ],
  [
    "a body without a length is sent as it is until the end",
    "GET /chunks HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\n\r\n",
    /^HTTP\/1\.0 200 OK\r\n(?![\s\S]*transfer-encoding)[\s\S]*connection: close\r\n\r\n1\.1 a$/i,
    "closes",
  ],
  [
    "keep-alive is granted",
    "GET /length HTTP/1.0\r\nHost: a\r\nConnection: Keep-Alive\r\n\r\n",
    /^HTTP\/1\.0 200 OK\r\n[\s\S]*connection: keep-alive\r\n\r\n1\.1 a$/i,
    "stays",
  ],
  [
    "the default host stands in for Host",
    "GET /length HTTP/1.0\r\n\r\n",
    /\r\n\r\n1\.1 default\.test$/,
    "closes",
  ],
  [
    "chunks are refused",
    "POST /length HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    /^HTTP\/1\.1 400 /,
    "closes",
  ],
  [
    "an upgrade is not looked at",
    "GET /length HTTP/1.0\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
    /^HTTP\/1\.0 200 OK\r\n/,
    "closes",
  ],
];

for (const [name, request, answer, then] of CASES) {
  test(`HTTP/1.0: ${name}`, async (t) => {
    const port = await startHttp(t, (asked, response) => {
      const body = `${asked.httpVersion} ${asked.headers.host}`;
      if (asked.url === "/chunks") {
        response.write(body.slice(0, 3));
        response.end(body.slice(3));
      } else response.end(body);
    });
    const config = httpConfig([cluster("a", [endpoint(port)])], [route(forwardTo("a"))], {
      http10,
    });
    const proxy = await startProxy(t, config);
    const client = await rawClient(t, proxy.port);
    client.send(request);
    if (then === "closes") {
      assert.match(await client.closed(), answer);
      return;
    }
    await client.until(answer);
    client.send("GET /length HTTP/1.1\r\nHost: b\r\n\r\n");
    await client.until(/HTTP\/1\.1 200 OK\r\n[\s\S]*1\.1 b$/);
  });
}

test("HTTP/1.0 without Host and without a default host is refused", async (t) => {
  const config = httpConfig([], [], { http10: { defaultHost: undefined } });
  const proxy = await startProxy(t, config);
  const client = await rawClient(t, proxy.port);
  client.send("GET / HTTP/1.0\r\n\r\n");
  assert.match(await client.closed(), /^HTTP\/1\.1 400 /);
});
