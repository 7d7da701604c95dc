import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { connect, createServer, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { runProxy } from "../../src/proxy/index.ts";
import { createLogger, systemClock } from "../../src/runtime/index.ts";
import { closedPort, portOf, waitFor } from "../support/proxy-fixture.ts";
import { findTool, skipWithout } from "../support/tools.ts";

const TYPE = "type.googleapis.com/envoy.extensions.filters";
const skip = skipWithout("envoy");

const upgrade = (path: string, protocol = "websocket", version = "1.1"): string =>
  `GET ${path} HTTP/${version}\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: ${protocol}\r\n\r\n`;
const tunnel = (authority: string): string =>
  `CONNECT ${authority} HTTP/1.1\r\nHost: ${authority}\r\n\r\n`;

interface Row {
  readonly name: string;
  readonly request: string;
  /** Sent once the response head has arrived; the upstream answers `echo:` and the same. */
  readonly send?: string;
  /** What Envoy answers: a guard against both being wrong in the same way. */
  readonly status: number;
}

// Not here because ours differs on purpose: HTTP/1.0 with chunks (refused), and a 200 in answer to an
// upgrade, whose body Envoy drops and we pass on.
const ROWS: readonly Row[] = [
  { name: "an upgrade that the manager allows", request: upgrade("/ws"), send: "hi", status: 101 },
  { name: "in other case", request: upgrade("/ws", "WebSocket"), send: "hi", status: 101 },
  { name: "that the upstream refuses", request: upgrade("/refused"), status: 426 },
  { name: "that the route forbids", request: upgrade("/off"), status: 403 },
  { name: "that only the route allows", request: upgrade("/foo", "foo"), send: "hi", status: 101 },
  { name: "that nobody allows", request: upgrade("/ws", "bar"), status: 403 },
  { name: "of two protocols", request: upgrade("/ws", "websocket, foo"), status: 403 },
  { name: "without a route", request: upgrade("/nowhere"), status: 404 },
  { name: "to h2c", request: upgrade("/plain", "h2c"), status: 200 },
  { name: "on a direct response", request: upgrade("/direct"), status: 418 },
  { name: "on a direct response, not allowed", request: upgrade("/direct", "bar"), status: 403 },
  { name: "to a dead cluster", request: upgrade("/dead"), status: 503 },
  { name: "CONNECT that ends here", request: tunnel("tcp:1"), send: "hi", status: 200 },
  { name: "CONNECT that goes on", request: tunnel("on:1"), send: "hi", status: 200 },
  { name: "CONNECT that is not enabled", request: tunnel("off:1"), status: 403 },
  { name: "CONNECT without a port", request: tunnel("a"), status: 400 },
  { name: "CONNECT to nowhere", request: tunnel("nowhere:1"), status: 404 },
  { name: "CONNECT to a dead host", request: tunnel("dead:1"), status: 503 },
  { name: "GET on a connect route", request: "GET / HTTP/1.1\r\nHost: on:1\r\n\r\n", status: 404 },
  { name: "HTTP/1.0", request: "GET /plain HTTP/1.0\r\nHost: a\r\n\r\n", status: 200 },
  { name: "HTTP/1.0 without Host", request: "GET /plain HTTP/1.0\r\n\r\n", status: 200 },
  {
    name: "HTTP/1.0 kept alive",
    request: "GET /plain HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\n\r\n",
    status: 200,
  },
  {
    name: "HTTP/1.0, a body without length",
    request: "GET /chunks HTTP/1.0\r\nHost: a\r\n\r\n",
    status: 200,
  },
];

interface Answer {
  readonly line: string;
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly rest: string;
}

const answers = { envoy: new Map<string, Answer>(), ours: new Map<string, Answer>() };
const dir = mkdtempSync(join(tmpdir(), "serin-upgrade-"));
const upstream = createServer(serve);

/** Answers by path; behind a 101 or a CONNECT, and to raw bytes, it echoes. */
function serve(socket: Socket): void {
  socket.on("error", () => socket.destroy());
  socket.on("data", (bytes: Buffer) => {
    const text = bytes.toString("latin1");
    if (/^GET \/(ws|foo)/.test(text)) {
      const protocol = /^upgrade: (.*)\r$/im.exec(text)?.[1] ?? "";
      socket.write(`HTTP/1.1 101 Switching\r\nConnection: Upgrade\r\nUpgrade: ${protocol}\r\n\r\n`);
    } else if (text.startsWith("CONNECT ")) socket.write("HTTP/1.1 200 OK\r\n\r\n");
    else if (text.startsWith("GET /refused")) {
      socket.write("HTTP/1.1 426 Upgrade Required\r\nContent-Length: 2\r\n\r\nno");
    } else if (text.startsWith("GET /chunks")) {
      socket.write("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n");
    } else if (/ HTTP\/1\.[01]\r\n/.test(text)) {
      socket.write("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    } else socket.write(`echo:${text}`);
  });
}

before(async () => {
  if (skip !== false) return;
  upstream.listen(0, "127.0.0.1");
  await once(upstream, "listening");
  const [port, admin] = [await closedPort(), await closedPort()];
  const text = JSON.stringify(bootstrap(port, admin, portOf(upstream), await closedPort()));
  const file = join(dir, "bootstrap.json");
  writeFileSync(file, text);
  const args = ["-c", file, "--concurrency", "1", "--log-level", "off", "--use-dynamic-base-id"];
  const child = spawn(findTool("envoy") ?? "", args, { stdio: "ignore" });
  try {
    await reachable(port);
    for (const row of ROWS) answers.envoy.set(row.name, await ask(port, row));
  } finally {
    child.kill("SIGKILL");
    await once(child, "exit");
  }
  const logger = createLogger("upgrade", "silent");
  const proxy = await runProxy({ bootstrapText: text, logger, clock: systemClock });
  try {
    await proxy.ready;
    for (const row of ROWS) answers.ours.set(row.name, await ask(port, row));
  } finally {
    await proxy.stop(0);
  }
});

after(() => {
  upstream.close();
  rmSync(dir, { recursive: true });
});

for (const row of ROWS) {
  test(`as Envoy: ${row.name}`, { skip }, () => {
    const [theirs, mine] = [answers.envoy.get(row.name), answers.ours.get(row.name)];
    assert.ok(theirs !== undefined && mine !== undefined);
    assert.equal(theirs.status, row.status, "Envoy itself");
    assert.deepEqual(visible(mine), visible(theirs));
  });
}

function visible({ line, status, headers, rest }: Answer) {
  const pick = (name: string) => headers[name]?.toLowerCase();
  return {
    // Envoy words its own 400s otherwise.
    version: status === 400 ? "" : line.slice(0, 8),
    status,
    upgrade: pick("upgrade"),
    connection: status === 101 ? pick("connection") : undefined,
    isChunked: pick("transfer-encoding"),
    length: status === 400 ? undefined : pick("content-length"),
    rest: status === 400 || status === 503 ? undefined : rest,
  };
}

async function ask(port: number, row: Row): Promise<Answer> {
  const socket = connect({ port, host: "127.0.0.1" });
  socket.setEncoding("latin1");
  let text = "";
  let isClosed = false;
  socket.on("data", (chunk: string) => {
    text += chunk;
  });
  socket.on("error", () => {});
  socket.on("close", () => {
    isClosed = true;
  });
  await once(socket, "connect");
  socket.write(row.request, "latin1");
  const waiting = (): string => `${row.name}: ${JSON.stringify(text)}`;
  await waitFor(() => text.includes("\r\n\r\n") || isClosed, waiting);
  if (row.send !== undefined && !isClosed) {
    socket.write(row.send);
    await waitFor(() => text.endsWith(`echo:${row.send}`) || isClosed, waiting);
  } else {
    await waitFor(() => isClosed || isWhole(text), waiting);
  }
  socket.destroy();
  const [head = "", ...rest] = text.split("\r\n\r\n");
  const [line = "", ...lines] = head.split("\r\n");
  const fields = lines.map((field) => field.split(/:\s*/, 2));
  const headers = Object.fromEntries(
    fields.map(([name = "", value = ""]) => [name.toLowerCase(), value]),
  );
  return { line, status: Number(line.split(" ")[1]), headers, rest: rest.join("\r\n\r\n") };
}

/** Whether a response with a length, or one without any body, is all there. */
function isWhole(text: string): boolean {
  const end = text.indexOf("\r\n\r\n");
  const length = /^content-length: (\d+)\r$/im.exec(text.slice(0, end + 2))?.[1];
  return length !== undefined && text.length >= end + 4 + Number(length);
}

async function reachable(port: number): Promise<void> {
  let isReady = false;
  await waitFor(() => {
    if (!isReady) {
      const socket = connect({ port, host: "127.0.0.1" });
      socket.on("error", () => {});
      socket.on("connect", () => {
        isReady = true;
        socket.destroy();
      });
    }
    return isReady;
  });
}

function bootstrap(port: number, admin: number, up: number, dead: number) {
  const address = (to: number) => ({
    socket_address: { address: "127.0.0.1", port_value: to },
  });
  const cluster = (name: string, to: number) => ({
    name,
    type: "STATIC",
    load_assignment: {
      cluster_name: name,
      endpoints: [{ lb_endpoints: [{ endpoint: { address: address(to) } }] }],
    },
  });
  const to = (path: string, more: object = {}) => ({
    match: { path },
    route: { cluster: path === "/dead" ? "dead" : "up", ...more },
  });
  const connectHost = (name: string, more: object, target = "up") => ({
    name,
    domains: [`${name}:1`],
    routes: [{ match: { connect_matcher: {} }, route: { cluster: target, ...more } }],
  });
  const connectTo = (more: object = {}) => ({
    upgrade_configs: [{ upgrade_type: "CONNECT", ...more }],
  });
  const manager = {
    "@type": `${TYPE}.network.http_connection_manager.v3.HttpConnectionManager`,
    stat_prefix: "upgrade",
    upgrade_configs: [{ upgrade_type: "websocket" }],
    http_protocol_options: { accept_http_10: true, default_host_for_http_10: "a" },
    http_filters: [{ name: "router", typed_config: { "@type": `${TYPE}.http.router.v3.Router` } }],
    route_config: {
      virtual_hosts: [
        connectHost("tcp", connectTo({ connect_config: {} })),
        connectHost("dead", connectTo({ connect_config: {} }), "dead"),
        connectHost("on", connectTo()),
        connectHost("off", {}),
        {
          name: "a",
          domains: ["a"],
          routes: [
            ...["/ws", "/refused", "/plain", "/chunks", "/dead"].map((path) => to(path)),
            to("/off", { upgrade_configs: [{ upgrade_type: "websocket", enabled: false }] }),
            to("/foo", { upgrade_configs: [{ upgrade_type: "foo" }] }),
            { match: { path: "/direct" }, direct_response: { status: 418 } },
          ],
        },
      ],
    },
  };
  return {
    admin: { address: address(admin) },
    static_resources: {
      listeners: [
        {
          name: "l",
          address: address(port),
          filter_chains: [{ filters: [{ name: "http", typed_config: manager }] }],
        },
      ],
      clusters: [cluster("up", up), cluster("dead", dead)],
    },
  };
}
