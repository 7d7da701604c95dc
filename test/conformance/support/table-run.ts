import assert from "node:assert/strict";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { runProxy } from "../../../src/proxy/index.ts";
import { createLogger, systemClock } from "../../../src/runtime/index.ts";
import { startEchoUpstream } from "./echo-upstream.ts";
import { ended, freePort, startEnvoy } from "./envoy-process.ts";
import { exchange, type RawResponse } from "./raw-http.ts";
import { ROWS, type Row } from "./table.ts";
import { tableBootstrap } from "./table-bootstrap.ts";
import { asHttp2, exchangeHttp2 } from "./table-http2.ts";

export type HttpVersion = "http1" | "http2";

/** What the client and the upstreams speak. */
export interface Protocols {
  readonly client: HttpVersion;
  readonly upstream: HttpVersion;
}

/** What a proxy did with the table. */
export interface Run {
  /** By the row's name. */
  readonly answers: ReadonlyMap<string, RawResponse>;
  /** The lines of the access log, by the row's name. */
  readonly log: ReadonlyMap<string, string>;
  /** The counters that both must agree on. */
  readonly stats: Readonly<Record<string, number>>;
}

/** The rows that a client of this protocol can send. */
export function rowsFor({ client }: Protocols): readonly Row[] {
  return client === "http1" ? ROWS : ROWS.filter((row) => asHttp2(row) !== undefined);
}

/** Gives the table to Envoy, then to our proxy, from one bootstrap. */
export async function runTable(
  protocols: Protocols,
): Promise<{ readonly envoy: Run; readonly ours: Run }> {
  const dir = mkdtempSync(join(tmpdir(), "serin-table-"));
  const isHttp2 = protocols.upstream === "http2";
  const upstreams = [await startEchoUpstream("a", isHttp2), await startEchoUpstream("b", isHttp2)];
  try {
    const [a = 0, b = 0] = upstreams.map(({ port }) => port);
    const [listener, admin, dead] = [await freePort(), await freePort(), await freePort()];
    const log = join(dir, "access.log");
    const text = tableBootstrap({ listener, admin, a, b, dead, log }, isHttp2);
    const file = join(dir, "bootstrap.json");
    writeFileSync(file, text);
    // One after the other, because it is one file with one listener port.
    const child = await startEnvoy(file, admin);
    let envoy: Run;
    try {
      envoy = await ask(protocols, { listener, admin, log }, "run1");
    } finally {
      await ended(child);
    }
    rmSync(log);
    const proxy = await runProxy({
      bootstrapText: text,
      logger: createLogger("table", "silent"),
      clock: systemClock,
    });
    try {
      await proxy.ready;
      return { envoy, ours: await ask(protocols, { listener, admin, log }, "run2") };
    } finally {
      await proxy.stop(0);
    }
  } finally {
    for (const upstream of upstreams) await upstream.stop();
    rmSync(dir, { recursive: true });
  }
}

/** Fails unless both answered a row alike, and Envoy as the row says. */
export function assertAlike(row: Row, theirs: RawResponse, mine: RawResponse): void {
  const allowed = typeof row.status === "number" ? [row.status] : row.status;
  assert.ok(allowed.includes(theirs.status), `Envoy itself answers ${theirs.status}`);
  if (row.upstream !== undefined && row.upstream !== "either") {
    assert.equal(JSON.parse(theirs.body).upstream, row.upstream, "Envoy's own choice");
  }
  if (row.refusal) {
    assert.ok([400, 426, 431, 501, 505].includes(mine.status), `not refused: ${mine.status}`);
    assert.equal(mine.rest, "", "nothing more may be answered on the connection");
    return;
  }
  assert.deepEqual(visible(row, mine), visible(row, theirs));
}

/** What both must agree on: ids, dates and times apart. */
function visible(row: Row, response: RawResponse) {
  const { headers, status, interim } = response;
  const pick = (names: readonly string[]) =>
    Object.fromEntries(names.map((name) => [name, headers[name]]));
  const shown = {
    status,
    interim,
    ...pick([
      "location",
      "content-type",
      "x-extra",
      "x-upstream-secret",
      "x-envoy-overloaded",
      "www-authenticate",
      "server",
    ]),
    ...pick(CORS_HEADERS),
    hasServiceTime: headers["x-envoy-upstream-service-time"] !== undefined,
  };
  if (row.upstream === undefined) return { ...shown, body: response.body };
  const seen = JSON.parse(response.body);
  return {
    ...shown,
    upstream: seen.upstream,
    method: seen.method,
    path: seen.path,
    body: seen.body,
    seen: Object.fromEntries(SEEN_HEADERS.map((name) => [name, seen.headers[name]])),
    // What a retry has left depends on how long the try before it took.
    expectedMs: Math.round(Number(seen.headers["x-envoy-expected-rq-timeout-ms"] ?? -1) / 500),
    hasRequestId: /^[0-9a-f]{8}-/.test(seen.headers["x-request-id"] ?? ""),
  };
}

/** Without x-forwarded-for: for a loopback peer Envoy names one of the machine's own addresses. */
const CORS_HEADERS = [
  "access-control-allow-origin",
  "access-control-allow-credentials",
  "access-control-allow-methods",
  "access-control-allow-headers",
  "access-control-expose-headers",
  "access-control-max-age",
];
const SEEN_HEADERS = [
  ":authority",
  ":scheme",
  "host",
  "content-length",
  "transfer-encoding",
  "expect",
  "x-forwarded-proto",
  "x-envoy-attempt-count",
  "x-envoy-original-path",
  "x-envoy-internal",
  "x-envoy-original-host",
  "x-forwarded-host",
  "x-envoy-upstream-rq-timeout-ms",
  "x-envoy-retry-on",
  "x-envoy-max-retries",
  "grpc-timeout",
  "x-gone",
  "x-set",
  "x-add",
  "x-user",
  "authorization",
  "x-token",
  "x-payload",
  "x-sub",
  "x-age",
  "x-nested",
  "x-groups",
];

interface Places {
  readonly listener: number;
  readonly admin: number;
  /** The access log's file. */
  readonly log: string;
}

async function ask(protocols: Protocols, places: Places, run: string): Promise<Run> {
  const answers = new Map<string, RawResponse>();
  const send = async (row: Row): Promise<void> => {
    // Failures are counted per key, and each proxy starts with none.
    const request = marked(row, rowIndex(row)).replace(/key=(KEY\d+)/, `key=$1-${run}`);
    const http2 = protocols.client === "http2" ? asHttp2({ ...row, request }) : undefined;
    const response =
      http2 === undefined
        ? await exchange(places.listener, request, row.isHead)
        : await exchangeHttp2(places.listener, http2);
    answers.set(row.name, { ...response, body: response.body.replaceAll(`-${run}`, "") });
  };
  const rows = rowsFor(protocols);
  for (const row of rows) if (row.refusal !== true) await send(row);
  // Before the refusals: their status is each proxy's own.
  const log = await logOf(protocols, places.log);
  const stats = await statsOf(places.admin);
  for (const row of rows) if (row.refusal === true) await send(row);
  return { answers, log, stats };
}

function rowIndex(row: Row): number {
  return ROWS.indexOf(row);
}

/** A request that says which row it is; a malformed one stays as it is. */
function marked(row: Row, index: number): string {
  return row.refusal === true
    ? row.request
    : row.request.replace("\r\n", `\r\nx-row: r${index}\r\n`);
}

/** The access log once it holds every row that both proxies log. */
async function logOf(protocols: Protocols, file: string): Promise<Run["log"]> {
  // Of an old HTTP version neither reads the fields.
  const isLogged = (row: Row) => row.refusal !== true && row.status !== 426;
  const wanted = rowsFor(protocols).filter(isLogged);
  const deadline = Date.now() + 20_000;
  for (;;) {
    const lines = existsSync(file) ? readFileSync(file, "utf8").split("\n") : [];
    const byMark = new Map(lines.map((line) => [line.split(" ", 1)[0] ?? "", line]));
    const log = new Map<string, string>();
    for (const row of wanted) {
      const line = byMark.get(`r${rowIndex(row)}`);
      if (line !== undefined) log.set(row.name, comparable(row, line));
    }
    if (log.size === wanted.length || Date.now() > deadline) return log;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

/** Without what differs by nature: run marks, and the size of what the echo says of addresses. */
function comparable(row: Row, line: string): string {
  const fields = line.replaceAll(/-run[12]/g, "").split(" ");
  if (row.upstream !== undefined) fields[6] = "*";
  return fields.join(" ");
}

const COUNTERS =
  /^(cluster\.[a-z]+\.(upstream_rq_(\d\d\d|\dxx|total|completed|timeout|per_try_timeout|retry|retry_success|retry_overflow|retry_limit_exceeded|retry_backoff_exponential|retry_backoff_ratelimited|per_try_idle_timeout|pending_overflow)|retry\.upstream_rq_.*|upstream_cx_connect_(fail|timeout))|(limit\w*\.http_local_rate_limit\..*)|http\.table\.(rbac\..*|jwt_authn\.(allowed|denied)|downstream_rq_(total|[1-5]xx)|rq_direct_response|rq_redirect|no_route|no_cluster|fault\..*)): (\d+)$/;

async function statsOf(admin: number): Promise<Run["stats"]> {
  const response = await fetch(`http://127.0.0.1:${admin}/stats`);
  const stats: Record<string, number> = {};
  for (const line of (await response.text()).split("\n")) {
    if (!COUNTERS.test(line)) continue;
    const [name = "", value] = line.split(": ");
    if (Number(value) > 0) stats[name] = Number(value);
  }
  return stats;
}
