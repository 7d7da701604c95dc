import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import {
  createServer as createHttp2Server,
  type Http2ServerRequest,
  type Http2ServerResponse,
  type ServerHttp2Session,
} from "node:http2";
import { type AddressInfo, connect, createServer as createTcpServer, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connect as connectTls } from "node:tls";
import { freePort } from "./envoy-process.ts";
import { exchange } from "./raw-http.ts";
import { address, httpBootstrap, sideBySide } from "./side-by-side.ts";

const TYPE = "type.googleapis.com/";
const HTTP2_OPTIONS = {
  "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
    "@type": `${TYPE}envoy.extensions.upstreams.http.v3.HttpProtocolOptions`,
    explicit_http_config: { http2_protocol_options: {} },
  },
};
const FILE_LOG = `${TYPE}envoy.extensions.access_loggers.file.v3.FileAccessLog`;

/** An access logger under test; its name is unique. */
export interface LogUnderTest {
  readonly name: string;
  readonly filter?: object;
  /** What it writes; in place of a text a JSON format. */
  readonly format?: string | Readonly<Record<string, unknown>>;
  readonly omitEmpty?: boolean;
}

/** A request that both proxies get; its name is unique. */
export interface LoggedRequest {
  readonly name: string;
  /** Raw bytes; the field `x-row` is put in. */
  readonly request: string;
}

/** One listener with many access loggers, and what to ask it. */
export interface LogTable {
  readonly logs: readonly LogUnderTest[];
  readonly requests: readonly LoggedRequest[];
  readonly routes: readonly object[];
  readonly manager?: object;
  /** Fields of the cluster `a` beside those all have. */
  readonly cluster?: object;
  /** PEM of both ends, for requests over mutual TLS. */
  readonly tls?: Readonly<Record<"ca" | "cert" | "key" | "clientCert" | "clientKey", string>>;
}

/** What the loggers wrote: lines by `log / request`. */
export type Logged = ReadonlyMap<string, readonly string[]>;

/** A GET of a path, with fields that end in CRLF; the upstream does what the field `x-answer` says. */
export function get(path: string, fields = "", answer?: Answer): string {
  const told = answer === undefined ? "" : `x-answer: ${JSON.stringify(answer)}\r\n`;
  return `GET ${path} HTTP/1.1\r\nhost: logs.test\r\n${fields}${told}\r\n`;
}

/** What the upstream is to do. */
export interface Answer {
  readonly status?: number;
  readonly delayMs?: number;
  readonly headers?: Readonly<Record<string, string>>;
  readonly trailers?: Readonly<Record<string, string>>;
}

/** Sends the requests to Envoy and to our proxy, from one bootstrap, and reads what each logged. */
export async function runLogTable(
  table: LogTable,
): Promise<{ readonly envoy: Logged; readonly ours: Logged }> {
  const dir = mkdtempSync(join(tmpdir(), "serin-logs-"));
  const file = join(dir, "access.log");
  const [upstream, http2] = [await startUpstream(false), await startUpstream(true)];
  const dead = await freePort();
  const clusters = [
    { ...clusterOf("a", upstream.port), alt_stat_name: "alt", ...table.cluster },
    { ...clusterOf("h2", http2.port), typed_extension_protocol_options: HTTP2_OPTIONS },
    clusterOf("dead", dead),
  ];
  try {
    return await sideBySide(
      (places) =>
        httpBootstrap(
          places,
          clusters,
          table.routes,
          {
            access_log: [...table.logs, LAST].map((log, i) => accessLog(log, i, file)),
            ...table.manager,
          },
          table.tls && downstreamTls(table.tls),
        ),
      async (places) => {
        for (const [i, { request }] of table.requests.entries()) {
          const marked = request.replace("\r\n", `\r\nx-row: r${i}\r\n`);
          if (table.tls === undefined) await exchange(places.listener, marked);
          else await exchangeTls(places.listener, marked, table.tls);
        }
        const names = new Map([
          [upstream.port, "upstream"],
          [http2.port, "http2"],
          [dead, "dead"],
          [places.listener, "listener"],
        ]);
        const logged = await readLog(table, file, names);
        rmSync(file);
        return logged;
      },
    );
  } finally {
    await upstream.stop();
    await http2.stop();
    rmSync(dir, { recursive: true });
  }
}

/** The names of the loggers that write about a TCP connection that carries two bytes each way. */
export async function runTcpLogs(
  logs: readonly LogUnderTest[],
  isReachable: boolean,
  more: object = {},
): Promise<{ readonly envoy: readonly string[]; readonly ours: readonly string[] }> {
  const dir = mkdtempSync(join(tmpdir(), "serin-tcp-logs-"));
  const path = join(dir, "access.log");
  const server = createTcpServer((socket) => {
    socket.pipe(socket);
    socket.on("error", () => socket.destroy());
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const port = isReachable ? (server.address() as AddressInfo).port : await freePort();
  const all = [...logs, { ...LAST_OF_TCP, format: "%RESPONSE_FLAGS% %RESPONSE_CODE%" }];
  const config = {
    "@type": `${TYPE}envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy`,
    stat_prefix: "tcp",
    cluster: "a",
    access_log: all.map((log, i) => accessLog(log, i, path)),
    ...more,
  };
  try {
    return await sideBySide(
      (places) =>
        JSON.stringify({
          node: { id: "test", cluster: "test" },
          admin: { address: address(places.admin) },
          static_resources: {
            listeners: [
              {
                name: "main",
                address: address(places.listener),
                filter_chains: [{ filters: [{ name: "tcp", typed_config: config }] }],
              },
            ],
            clusters: [clusterOf("a", port)],
          },
        }),
      async ({ listener }) => {
        await sayAndLeave(listener, "access_log_options" in more ? 350 : 0);
        const lines = await untilLast(path, `${logs.length}|`);
        rmSync(path);
        return lines.map((line) => {
          const [log, , text] = line.split("|");
          return `${all[Number(log)]?.name}: ${text}`;
        });
      },
    );
  } finally {
    server.close();
    rmSync(dir, { recursive: true });
  }
}

function sayAndLeave(port: number, staysMs: number): Promise<void> {
  return new Promise((resolve) => {
    const socket = connect(port, "127.0.0.1", () => socket.write("hi"));
    // Long enough for what is logged meanwhile.
    socket.on("data", () => setTimeout(() => socket.end(), staysMs));
    socket.on("error", () => socket.destroy());
    socket.on("close", () => resolve());
  });
}

async function untilLast(path: string, prefix: string): Promise<readonly string[]> {
  const deadline = Date.now() + 20_000;
  for (;;) {
    const lines = existsSync(path) ? readFileSync(path, "utf8").split("\n").slice(0, -1) : [];
    if (lines.some((line) => line.startsWith(prefix)) || Date.now() > deadline) return lines;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

const LAST_OF_TCP: LogUnderTest = {
  name: "last",
  filter: { log_type_filter: { types: ["TcpConnectionEnd"] } },
};

/** Written for every request, after all the others. */
const LAST: LogUnderTest = {
  name: "last",
  filter: { log_type_filter: { types: ["DownstreamEnd"] } },
};

function accessLog({ filter, format = "-", omitEmpty }: LogUnderTest, index: number, path: string) {
  const log_format =
    typeof format === "string"
      ? { text_format_source: { inline_string: `${index}|%REQ(X-ROW)%|${format}\n` } }
      : { json_format: { ...format, log: String(index), row: "%REQ(X-ROW)%" } };
  const omit = omitEmpty === undefined ? {} : { omit_empty_values: omitEmpty };
  return {
    name: "file",
    ...(filter === undefined ? {} : { filter }),
    typed_config: { "@type": FILE_LOG, path, log_format: { ...log_format, ...omit } },
  };
}

function clusterOf(name: string, port: number) {
  return {
    name,
    type: "STATIC",
    connect_timeout: "1s",
    load_assignment: {
      cluster_name: name,
      endpoints: [{ lb_endpoints: [{ endpoint: { address: address(port) } }] }],
    },
  };
}

function downstreamTls({ ca, cert, key }: NonNullable<LogTable["tls"]>) {
  return {
    transport_socket: {
      name: "tls",
      typed_config: {
        "@type": `${TYPE}envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext`,
        require_client_certificate: true,
        common_tls_context: {
          tls_certificates: [
            { certificate_chain: { inline_string: cert }, private_key: { inline_string: key } },
          ],
          validation_context: { trusted_ca: { inline_string: ca } },
        },
      },
    },
  };
}

/** Sends a request over mutual TLS; resolves once an answer begins and the connection is closed. */
function exchangeTls(
  port: number,
  request: string,
  { clientCert, clientKey }: NonNullable<LogTable["tls"]>,
): Promise<void> {
  return new Promise((resolve) => {
    const socket = connectTls(
      {
        host: "127.0.0.1",
        port,
        cert: clientCert,
        key: clientKey,
        rejectUnauthorized: false,
        servername: "sni.test",
        ciphers: "TLS_AES_128_GCM_SHA256",
        minVersion: "TLSv1.3",
      },
      () => socket.write(request),
    );
    socket.once("data", () => socket.end());
    socket.on("error", () => socket.destroy());
    socket.on("close", () => resolve());
  });
}

interface Upstream {
  readonly port: number;
  stop(): Promise<void>;
}

function answer(
  request: IncomingMessage | Http2ServerRequest,
  response: ServerResponse | Http2ServerResponse,
): void {
  const wanted: Answer = JSON.parse(String(request.headers["x-answer"] ?? "{}"));
  request.resume();
  request.on("end", () => {
    setTimeout(() => {
      response.statusCode = wanted.status ?? 200;
      for (const [name, value] of Object.entries(wanted.headers ?? {})) {
        response.setHeader(name, value);
      }
      if (wanted.trailers !== undefined) {
        if ("stream" in response) response.write("body");
        else response.write("body");
        response.addTrailers(wanted.trailers);
      }
      if ("stream" in response) response.end("answer");
      else response.end("answer");
    }, wanted.delayMs ?? 0);
  });
}

async function startUpstream(isHttp2: boolean): Promise<Upstream> {
  const server = isHttp2 ? createHttp2Server(answer) : createServer(answer);
  // A tunnel that ends as soon as it is there.
  server.on("upgrade", (_request: IncomingMessage, socket: Socket) =>
    socket.end("HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: echo\r\n\r\n"),
  );
  const sessions = new Set<ServerHttp2Session>();
  server.on("session", (session: ServerHttp2Session) => {
    sessions.add(session);
    session.on("error", () => session.destroy());
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    port: (server.address() as AddressInfo).port,
    stop: (): Promise<void> =>
      new Promise((resolve) => {
        server.close(() => resolve());
        for (const session of sessions) session.destroy();
        if ("closeAllConnections" in server) server.closeAllConnections();
      }),
  };
}

/** The log once it holds the last line of every request. */
async function readLog(
  { logs, requests }: LogTable,
  file: string,
  names: ReadonlyMap<number, string>,
): Promise<Logged> {
  const deadline = Date.now() + 20_000;
  for (;;) {
    const lines = existsSync(file) ? readFileSync(file, "utf8").split("\n").slice(0, -1) : [];
    const byKey = new Map<string, string[]>();
    for (const line of lines) {
      const [log = -1, row = "", text] = placeOf(line);
      const name = logs[log]?.name ?? (log === logs.length ? LAST.name : "?");
      const key = `${name} / ${requests[Number(row.slice(1))]?.name ?? row}`;
      byKey.set(key, [...(byKey.get(key) ?? []), lasting(text, names)]);
    }
    const isWhole = requests.every(({ name }) => byKey.has(`${LAST.name} / ${name}`));
    if (isWhole || Date.now() > deadline) return byKey;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

function placeOf(line: string): readonly [log: number, row: string, text: string] {
  if (line.startsWith("{")) {
    const { log, row } = JSON.parse(line);
    return [Number(log), String(row), line];
  }
  const [log = "", row = "", ...rest] = line.split("|");
  return [Number(log), row, rest.join("|")];
}

/** Text in which ports have names and what differs from moment to moment is gone. */
function lasting(text: string, names: ReadonlyMap<number, string>): string {
  return text
    .replaceAll(/(?<=127\.0\.0\.1:|port=)\d+/g, (port) => names.get(Number(port)) ?? "ephemeral")
    .replaceAll(/\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z/g, "<time>");
}
