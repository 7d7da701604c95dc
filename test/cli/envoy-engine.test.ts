import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import {
  type ClientHttp2Session,
  connect,
  createServer,
  type IncomingHttpHeaders,
  type ServerHttp2Stream,
} from "node:http2";
import type { AddressInfo } from "node:net";
import { connect as connectSocket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { envoyBootstrap } from "../../src/cli/envoy-engine/run-envoy.ts";
import { startXdsRelay } from "../../src/cli/envoy-engine/xds-relay.ts";
import { createLogger } from "../../src/runtime/index.ts";
import { findTool, skipWithout } from "../support/tools.ts";

const logger = createLogger("test", "silent");

/** A control plane that echoes, and says in its trailers who asked; refuses the token `bad`. */
async function controlPlane(t: TestContext): Promise<string> {
  const server = createServer();
  server.on("stream", (stream: ServerHttp2Stream, headers: IncomingHttpHeaders) => {
    stream.on("error", () => {});
    if (headers.authorization === "Bearer bad") {
      stream.respond({ ":status": 200, "grpc-status": "16" }, { endStream: true });
      return;
    }
    stream.respond({ ":status": 200 }, { waitForTrailers: true });
    stream.on("wantTrailers", () =>
      stream.sendTrailers({ "x-asked": `${headers[":path"]} ${headers.authorization}` }),
    );
    stream.pipe(stream);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  t.after(() => server.close());
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

async function relayOf(
  t: TestContext,
  url: string,
): Promise<{ readonly session: ClientHttp2Session; setToken(token: string): void }> {
  const dir = mkdtempSync(join(tmpdir(), "serin-relay-"));
  t.after(() => rmSync(dir, { recursive: true }));
  const tokenPath = join(dir, "token");
  const socketPath = join(dir, "xds.sock");
  const setToken = (token: string): void => writeFileSync(tokenPath, `${token}\n`);
  setToken("one");
  const relay = await startXdsRelay({ socketPath, url, tokenPath, logger });
  t.after(() => relay.stop());
  const session = connect("http://xds", { createConnection: () => connectSocket(socketPath) });
  session.on("error", () => {});
  t.after(() => session.destroy());
  return { session, setToken };
}

interface Answer {
  readonly body: string;
  readonly head: IncomingHttpHeaders;
  readonly trailers: IncomingHttpHeaders;
}

/** One stream, from its first byte to its end; rejects when it breaks. */
async function stream(session: ClientHttp2Session, text: string): Promise<Answer> {
  const request = session.request({ ":method": "POST", ":path": "/ads", authorization: "forged" });
  let head: IncomingHttpHeaders = {};
  let trailers: IncomingHttpHeaders = {};
  let body = "";
  request.on("response", (headers) => {
    head = headers;
  });
  request.on("trailers", (headers) => {
    trailers = headers;
  });
  request.setEncoding("utf8").on("data", (chunk: string) => {
    body += chunk;
  });
  request.end(text);
  await once(request, "close");
  if (request.rstCode !== 0) throw new Error(`reset with ${request.rstCode}`);
  return { head, trailers, body };
}

test("a stream of Envoy's carries the token that is valid when it begins", async (t) => {
  const { session, setToken } = await relayOf(t, await controlPlane(t));
  const first = await stream(session, "request");
  assert.equal(first.body, "request");
  assert.equal(first.trailers["x-asked"], "/ads Bearer one");
  setToken("two");
  assert.equal((await stream(session, "x".repeat(300_000))).trailers["x-asked"], "/ads Bearer two");
  setToken("bad");
  assert.equal((await stream(session, "")).head["grpc-status"], "16", "an answer without a body");
});

test("a control plane that is away breaks the stream, and not the relay", async (t) => {
  const gone = createServer().listen(0, "127.0.0.1");
  await once(gone, "listening");
  const { port } = gone.address() as AddressInfo;
  gone.close();
  await once(gone, "close");
  const { session } = await relayOf(t, `http://127.0.0.1:${port}`);
  await assert.rejects(stream(session, "request"), /reset with/);
  await assert.rejects(stream(session, "again"), /reset with/);
  assert.equal(session.destroyed, false);
});

test("Envoy takes the bootstrap that our own proxy has, without its token", {
  skip: skipWithout("envoy"),
}, async () => {
  const { json, admin } = envoyBootstrap(
    {
      POD_NAME: "reviews-v1-7d5b8c9f4-x2x9z",
      POD_NAMESPACE: "default",
      POD_IP: "10.240.0.7",
      SERIN_TOKEN_PATH: "/does/not/exist",
      ISTIO_META_INTERCEPTION_MODE: "REDIRECT",
    },
    "/tmp/xds.sock",
  );
  assert.deepEqual(admin, { host: "127.0.0.1", port: 15000 });
  const text = JSON.stringify(json);
  assert.match(text, /"sidecar~10\.240\.0\.7~reviews-v1-7d5b8c9f4-x2x9z\.default~/);
  assert.match(text, /"pipe":\{"path":"\/tmp\/xds\.sock"\}/);
  assert.doesNotMatch(text, /authorization/);
  const args = ["--mode", "validate", "--config-yaml", text, "-l", "critical"];
  const child = spawn(findTool("envoy") ?? "", args, { stdio: ["ignore", "ignore", "pipe"] });
  let said = "";
  child.stderr.on("data", (chunk: Buffer) => {
    said += chunk.toString();
  });
  const [code] = await once(child, "close");
  assert.equal(code, 0, said);
});
