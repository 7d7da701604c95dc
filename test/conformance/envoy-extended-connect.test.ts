import assert from "node:assert/strict";
import { once } from "node:events";
import {
  connect as connectHttp2,
  createServer as createHttp2Server,
  type OutgoingHttpHeaders,
  type ServerHttp2Stream,
} from "node:http2";
import { type AddressInfo, connect, createServer, type Socket } from "node:net";
import { type TestContext, test } from "node:test";
import { closedPort, waitFor } from "../support/proxy-fixture.ts";
import { skipWithout } from "../support/tools.ts";
import { address, httpBootstrap, type ProxyPlaces, sideBySide } from "./support/side-by-side.ts";

const skip = skipWithout("envoy");

type Version = "http1" | "http2";

/** One request for a tunnel: over HTTP/1.1 an upgrade, over HTTP/2 an extended CONNECT. */
interface Row {
  readonly name: string;
  /** Path of an upgrade, or undefined for a CONNECT. */
  readonly path?: string;
  readonly protocol?: string;
  /** Authority of a CONNECT. */
  readonly authority?: string;
  /** What Envoy answers, to clients of HTTP/1.1 and of HTTP/2. */
  readonly status: readonly [http1: number, http2: number];
  /** Bytes go both ways. */
  readonly isOpen?: true;
  /** The upstream speaks one HTTP only. */
  readonly upstream?: Version;
}

const ROWS: readonly Row[] = [
  { name: "an upgrade", path: "/ws", status: [101, 200], isOpen: true },
  { name: "in other case", path: "/ws", protocol: "WebSocket", status: [101, 200], isOpen: true },
  { name: "that the upstream refuses", path: "/refused", status: [403, 403] },
  { name: "that the route forbids", path: "/off", status: [403, 403] },
  { name: "that nobody allows", path: "/ws", protocol: "bar", status: [403, 403] },
  { name: "without a route", path: "/nowhere", status: [404, 404] },
  { name: "to a dead cluster", path: "/dead", status: [503, 503] },
  { name: "on a direct response", path: "/direct", status: [418, 418] },
  {
    name: "CONNECT that ends here",
    authority: "tcp:1",
    status: [200, 200],
    isOpen: true,
    upstream: "http1",
  },
  { name: "CONNECT that goes on", authority: "on:1", status: [200, 200], isOpen: true },
  { name: "CONNECT that is not enabled", authority: "off:1", status: [403, 403] },
  { name: "CONNECT to nowhere", authority: "nowhere:1", status: [404, 404] },
  { name: "CONNECT to a dead host", authority: "dead:1", status: [503, 503] },
];

interface Outcome {
  readonly status: number;
  readonly upgrade: string | undefined;
  readonly echo: string;
  /** What the upstream was asked, in the order of its fields. */
  readonly asked: string;
}

interface Upstream {
  readonly port: number;
  readonly asked: string[];
}

/** Opens tunnels over HTTP/1.1 and echoes in them; to raw bytes too. */
async function startHttp1(t: TestContext): Promise<Upstream> {
  const asked: string[] = [];
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on("error", () => socket.destroy());
    socket.on("data", (bytes: Buffer) => {
      const text = bytes.toString("latin1");
      const line = /^(GET|CONNECT) \S+ HTTP\/1\.1/.exec(text)?.[0];
      if (line === undefined) {
        socket.write(`echo:${text}`);
        return;
      }
      const protocol = /^upgrade: (.*)\r$/im.exec(text)?.[1] ?? "";
      asked.push(`${line} ${protocol} ${/^x-kept: (.*)\r$/im.exec(text)?.[1]}`);
      if (line.startsWith("CONNECT")) socket.write("HTTP/1.1 200 OK\r\n\r\n");
      else if (line.includes("/refused")) {
        socket.write("HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno");
      } else {
        socket.write(
          `HTTP/1.1 101 Switching\r\nConnection: Upgrade\r\nUpgrade: ${protocol}\r\n\r\n`,
        );
      }
    });
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  t.after(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  return { port: (server.address() as AddressInfo).port, asked };
}

/** The same over HTTP/2. */
async function startHttp2(t: TestContext): Promise<Upstream> {
  const asked: string[] = [];
  const server = createHttp2Server({ settings: { enableConnectProtocol: true } });
  const sessions = new Set<{ destroy(): void }>();
  server.on("session", (session) => sessions.add(session));
  server.on("stream", (stream: ServerHttp2Stream, headers) => {
    stream.on("error", () => {});
    const { ":method": method, ":protocol": protocol, ":path": path } = headers;
    asked.push(`${method} ${path} ${headers[":authority"]} ${protocol} ${headers["x-kept"]}`);
    if (path === "/refused") {
      stream.respond({ ":status": 403 });
      stream.end("no");
      return;
    }
    stream.respond({ ":status": 200 });
    stream.on("data", (bytes: Buffer) => stream.write(`echo:${bytes}`));
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  t.after(() => {
    for (const session of sessions) session.destroy();
    server.close();
  });
  return { port: (server.address() as AddressInfo).port, asked };
}

async function askHttp1(port: number, row: Row): Promise<Omit<Outcome, "asked">> {
  const socket = connect({ port, host: "127.0.0.1" });
  let text = "";
  let isClosed = false;
  socket.on("data", (chunk) => {
    text += chunk.toString("latin1");
  });
  socket.on("error", () => {});
  socket.on("close", () => {
    isClosed = true;
  });
  const head =
    row.path === undefined
      ? `CONNECT ${row.authority} HTTP/1.1\r\nHost: ${row.authority}\r\nX-Kept: 1\r\n\r\n`
      : `GET ${row.path} HTTP/1.1\r\nHost: a\r\nX-Kept: 1\r\nConnection: Upgrade\r\n` +
        `Upgrade: ${row.protocol ?? "websocket"}\r\n\r\n`;
  socket.write(head);
  await waitFor(
    () => text.includes("\r\n\r\n") || isClosed,
    () => row.name,
  );
  const status = Number(text.split(" ")[1]);
  if (row.isOpen && status < 300) {
    socket.write("hello");
    await waitFor(
      () => text.endsWith("hello") || isClosed,
      () => row.name,
    );
  }
  socket.destroy();
  const upgrade = /^upgrade: (.*)\r$/im.exec(text)?.[1]?.toLowerCase();
  return { status, upgrade, echo: /echo:.*$/.exec(text)?.[0] ?? "" };
}

async function askHttp2(port: number, row: Row): Promise<Omit<Outcome, "asked">> {
  // A connection each: Envoy ends one on which streams are reset.
  const session = connectHttp2(`http://127.0.0.1:${port}`);
  session.on("error", () => {});
  await once(session, "remoteSettings");
  assert.equal(session.remoteSettings.enableConnectProtocol, true);
  const headers: OutgoingHttpHeaders =
    row.path === undefined
      ? { ":method": "CONNECT", ":authority": row.authority ?? "", "x-kept": "1" }
      : {
          ":method": "CONNECT",
          ":protocol": row.protocol ?? "websocket",
          ":scheme": "http",
          ":path": row.path,
          ":authority": "a",
          "x-kept": "1",
        };
  const stream = session.request(headers, { endStream: false });
  let text = "";
  let status = 0;
  let upgrade: string | undefined;
  let isClosed = false;
  // Before the answer: it must reach the upstream behind its own answer, and not before.
  if (row.isOpen) stream.write("hello");
  stream.on("response", (fields) => {
    status = Number(fields[":status"]);
    upgrade = fields["upgrade"];
  });
  stream.on("data", (chunk) => {
    text += chunk;
  });
  stream.on("error", () => {});
  stream.on("close", () => {
    isClosed = true;
  });
  stream.on("end", () => {
    isClosed = true;
  });
  await waitFor(
    () => (status !== 0 && (row.isOpen !== true || text.endsWith("hello"))) || isClosed,
    () => `${row.name}: ${status} ${text}`,
  );
  session.destroy();
  return { status, upgrade, echo: row.isOpen ? text : "" };
}

for (const client of ["http1", "http2"] as const) {
  for (const upstream of ["http1", "http2"] as const) {
    test(`tunnels as Envoy's: clients ${client}, upstreams ${upstream}`, { skip }, async (t) => {
      const up = upstream === "http1" ? await startHttp1(t) : await startHttp2(t);
      const dead = await closedPort();
      const options = {
        "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
        explicit_http_config: { http2_protocol_options: { allow_connect: true } },
      };
      const cluster = (name: string, port: number) => ({
        name,
        type: "STATIC",
        ...(upstream === "http2"
          ? {
              typed_extension_protocol_options: {
                "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": options,
              },
            }
          : {}),
        load_assignment: {
          cluster_name: name,
          endpoints: [{ lb_endpoints: [{ endpoint: { address: address(port) } }] }],
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
        http2_protocol_options: { allow_connect: true },
        upgrade_configs: [{ upgrade_type: "websocket" }],
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
                ...["/ws", "/refused", "/dead"].map((path) => to(path)),
                to("/off", { upgrade_configs: [{ upgrade_type: "websocket", enabled: false }] }),
                { match: { path: "/direct" }, direct_response: { status: 418 } },
              ],
            },
          ],
        },
      };
      const rows = ROWS.filter((row) => row.upstream === undefined || row.upstream === upstream);
      const bootstrap = (places: ProxyPlaces) =>
        httpBootstrap(places, [cluster("up", up.port), cluster("dead", dead)], [], manager);
      const { envoy, ours } = await sideBySide(bootstrap, async (places) => {
        const outcomes: Outcome[] = [];
        for (const row of rows) {
          up.asked.length = 0;
          const ask = client === "http1" ? askHttp1 : askHttp2;
          const outcome = await ask(places.listener, row);
          outcomes.push({ ...outcome, asked: up.asked.join(" ") });
        }
        return outcomes;
      });
      for (const [i, row] of rows.entries()) {
        await t.test(row.name, () => {
          assert.equal(envoy[i]?.status, row.status[client === "http1" ? 0 : 1], "Envoy itself");
          if (row.isOpen) assert.equal(envoy[i]?.echo, "echo:hello", "Envoy itself");
          assert.deepEqual(ours[i], envoy[i]);
        });
      }
    });
  }
}
