import assert from "node:assert/strict";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { runProxy } from "../../../src/proxy/index.ts";
import { createLogger, systemClock } from "../../../src/runtime/index.ts";
import { ended, freePort, startEnvoy } from "./envoy-process.ts";
import { exchange } from "./raw-http.ts";
import { asHttp2, exchangeHttp2 } from "./table-http2.ts";

const TYPE = "type.googleapis.com/";

/** A listener of its own, for what one connection manager can be only once. */
export interface TableListener {
  /** Fields of the HttpConnectionManager beside those all of them have. */
  readonly manager: object;
  readonly routes: object;
}

/** One request to one of the listeners; its name is unique. */
export interface ConfigRow {
  readonly name: string;
  readonly listener: string;
  readonly request: string;
  /** What Envoy answers: a guard against both being wrong in the same way. */
  readonly status: number;
  /** The route that it takes, where that matters. */
  readonly route?: string;
  /** Only refused or not matters: the words of the refusal are each proxy's own. */
  readonly refusal?: true;
}

/** What a proxy did with a request: what the client saw, the upstream saw, and the access log says. */
export interface Outcome {
  readonly status: number;
  /** Sorted; without what differs from one moment to the next. */
  readonly fields: readonly string[];
  readonly body: string;
  /** Undefined where no upstream was asked. */
  readonly asked: { readonly line: string; readonly fields: readonly string[] } | undefined;
  readonly log: string;
}

export type Outcomes = ReadonlyMap<string, Outcome>;

/** Listeners, what to ask them, and the format of their access log (`route=%ROUTE_NAME%` in it). */
export interface ConfigTable {
  readonly listeners: Readonly<Record<string, TableListener>>;
  readonly rows: readonly Omit<ConfigRow, "status">[];
  readonly logFormat: string;
}

/** Fails unless an outcome is what the row says. */
export function assertExpected(row: ConfigRow, outcome: Outcome): void {
  assert.equal(outcome.status, row.status);
  if (row.route !== undefined) assert.match(outcome.log, new RegExp(`route=${row.route} `));
}

/** Sends the rows to our proxy, and before that, from the same bootstrap, to real Envoy if asked. */
export async function runConfigTable(
  { listeners, rows, logFormat }: ConfigTable,
  withEnvoy: boolean,
  client: "http1" | "http2" = "http1",
): Promise<{ readonly envoy: Outcomes | undefined; readonly ours: Outcomes }> {
  const dir = mkdtempSync(join(tmpdir(), "serin-config-table-"));
  const upstream = await startUpstream();
  try {
    const log = join(dir, "access.log");
    const admin = await freePort();
    const ports = new Map<string, number>();
    for (const name of Object.keys(listeners)) ports.set(name, await freePort());
    const text = JSON.stringify({
      node: { id: "table", cluster: "table" },
      admin: { address: address(admin) },
      static_resources: {
        listeners: Object.entries(listeners).map(([name, listener]) =>
          listenerOf(name, ports.get(name) ?? 0, listener, { log, logFormat }),
        ),
        clusters: [
          cluster("a", [upstream.port]),
          cluster("dead", [await freePort()]),
          cluster("empty", []),
        ],
      },
    });
    const file = join(dir, "bootstrap.json");
    writeFileSync(file, text);
    // One after the other, because they listen on the same ports.
    const names = new Map([
      [upstream.port, "upstream"],
      ...[...ports].map(([name, port]) => [port, name] as const),
    ]);
    const ask = () => askAll(rows, client, { ports, asked: upstream.asked, log, names });
    const envoy = withEnvoy ? await askEnvoy(file, admin, ask) : undefined;
    rmSync(log, { force: true });
    const logger = createLogger("table", "silent");
    const proxy = await runProxy({ bootstrapText: text, logger, clock: systemClock });
    try {
      await proxy.ready;
      return { envoy, ours: await ask() };
    } finally {
      await proxy.stop(0);
    }
  } finally {
    await upstream.stop();
    rmSync(dir, { recursive: true });
  }
}

async function askEnvoy(
  file: string,
  admin: number,
  ask: () => Promise<Outcomes>,
): Promise<Outcomes> {
  const child = await startEnvoy(file, admin);
  try {
    return await ask();
  } finally {
    await ended(child);
  }
}

function address(port: number) {
  return { socket_address: { address: "127.0.0.1", port_value: port } };
}

function cluster(name: string, ports: readonly number[]) {
  const lb_endpoints = ports.map((port) => ({ endpoint: { address: address(port) } }));
  return {
    name,
    type: "STATIC",
    connect_timeout: "1s",
    load_assignment: { cluster_name: name, endpoints: [{ lb_endpoints }] },
  };
}

function listenerOf(
  name: string,
  port: number,
  { manager, routes }: TableListener,
  { log, logFormat }: { readonly log: string; readonly logFormat: string },
) {
  const typed_config = {
    "@type": `${TYPE}envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager`,
    stat_prefix: name,
    use_remote_address: true,
    access_log: [
      {
        name: "envoy.access_loggers.file",
        typed_config: {
          "@type": `${TYPE}envoy.extensions.access_loggers.file.v3.FileAccessLog`,
          path: log,
          log_format: {
            text_format_source: { inline_string: `%REQ(X-ROW)% ${logFormat}\n` },
          },
        },
      },
    ],
    http_filters: [
      {
        name: "envoy.filters.http.router",
        typed_config: { "@type": `${TYPE}envoy.extensions.filters.http.router.v3.Router` },
      },
    ],
    route_config: routes,
    ...manager,
  };
  const filters = [{ name: "envoy.filters.network.http_connection_manager", typed_config }];
  return { name, address: address(port), filter_chains: [{ filters }] };
}

type Asked = NonNullable<Outcome["asked"]>;

/** An upstream that keeps what it was asked, by row, and answers with two fields of its own. */
async function startUpstream() {
  const asked = new Map<string, Asked>();
  const server = createServer((request, response) => {
    const fields: string[] = [];
    for (let i = 0; i < request.rawHeaders.length; i += 2) {
      fields.push(`${request.rawHeaders[i]?.toLowerCase()}: ${request.rawHeaders[i + 1]}`);
    }
    const line = `${request.method} ${request.url}`;
    asked.set(String(request.headers["x-row"]), { line, fields });
    response.setHeader("x-there", ["one", "two"]);
    response.setHeader("x-secret", "1");
    response.end("ok");
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    port: (server.address() as AddressInfo).port,
    asked,
    stop: (): Promise<void> =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

/** The rows that a client of HTTP/2 can send. */
export function http2Rows(rows: readonly ConfigRow[]): readonly ConfigRow[] {
  return rows.filter((row) => asHttp2(row) !== undefined);
}

interface Places {
  readonly ports: ReadonlyMap<string, number>;
  readonly asked: Map<string, Asked>;
  /** The file of the access log. */
  readonly log: string;
  readonly names: ReadonlyMap<number, string>;
}

async function askAll(
  rows: ConfigTable["rows"],
  client: "http1" | "http2",
  { ports, asked, log, names }: Places,
): Promise<Outcomes> {
  asked.clear();
  const answers = new Map<string, Awaited<ReturnType<typeof exchange>>>();
  for (const [index, row] of rows.entries()) {
    const port = ports.get(row.listener) ?? 0;
    const request = row.request
      .replace("\r\n", `\r\nx-row: r${index}\r\n`)
      .replaceAll("PORT", String(port));
    const http2 = client === "http2" ? asHttp2({ ...row, request }) : undefined;
    answers.set(
      row.name,
      http2 === undefined ? await exchange(port, request) : await exchangeHttp2(port, http2),
    );
  }
  const lines = await logged(rows, log);
  const steady = (texts: readonly string[]) =>
    texts
      .filter((text) => !VOLATILE.test(text))
      .map((text) => lasting(text, names))
      .sort();
  return new Map(
    rows.map((row, index) => {
      const answer = answers.get(row.name);
      const seen = asked.get(`r${index}`);
      return [
        row.name,
        {
          status: answer?.status ?? 0,
          fields: steady((answer?.fields ?? []).map(([name, value]) => `${name}: ${value}`)),
          body: lasting(answer?.body ?? "", names),
          asked: seen && { line: seen.line, fields: steady(seen.fields) },
          log: lasting(lines.get(`r${index}`) ?? "", names),
        },
      ];
    }),
  );
}

/** For a loopback peer Envoy names one of the machine's own addresses in x-forwarded-for. */
const VOLATILE = /^(date|x-envoy-upstream-service-time|x-request-id|x-forwarded-for|connection):/;

/** Text in which ports have names and times are gone. */
function lasting(text: string, names: ReadonlyMap<number, string>): string {
  return text
    .replaceAll(/(?<=127\.0\.0\.1:|port=)\d+/g, (port) => names.get(Number(port)) ?? "ephemeral")
    .replaceAll(/\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z/g, "<time>");
}

/** The access log once it holds every row that both proxies log. */
async function logged(
  rows: ConfigTable["rows"],
  file: string,
): Promise<ReadonlyMap<string, string>> {
  const wanted = rows.flatMap((row, index) => (row.refusal === true ? [] : `r${index}`));
  const deadline = Date.now() + 20_000;
  for (;;) {
    const lines = existsSync(file) ? readFileSync(file, "utf8").split("\n") : [];
    const byRow = new Map(
      lines
        .filter((line) => /^r\d+ /.test(line))
        .map((line) => [line.split(" ", 1)[0] ?? "", line]),
    );
    if (wanted.every((row) => byRow.has(row)) || Date.now() > deadline) return byRow;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}
