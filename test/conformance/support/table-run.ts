import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { runProxy } from "../../../src/proxy/index.ts";
import { createLogger, systemClock } from "../../../src/runtime/index.ts";
import { findTool } from "../../support/tools.ts";
import { startEchoUpstream } from "./echo-upstream.ts";
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

/** Answers of a proxy by the row's name. */
export type Answers = ReadonlyMap<string, RawResponse>;

/** The rows that a client of this protocol can send. */
export function rowsFor({ client }: Protocols): readonly Row[] {
  return client === "http1" ? ROWS : ROWS.filter((row) => asHttp2(row) !== undefined);
}

/** Gives the table to Envoy, then to our proxy, from one bootstrap. */
export async function runTable(
  protocols: Protocols,
): Promise<{ readonly envoy: Answers; readonly ours: Answers }> {
  const dir = mkdtempSync(join(tmpdir(), "serin-table-"));
  const isHttp2 = protocols.upstream === "http2";
  const upstreams = [await startEchoUpstream("a", isHttp2), await startEchoUpstream("b", isHttp2)];
  try {
    const [a = 0, b = 0] = upstreams.map(({ port }) => port);
    const [listener, admin, dead] = [await freePort(), await freePort(), await freePort()];
    const text = tableBootstrap({ listener, admin, a, b, dead }, isHttp2);
    const file = join(dir, "bootstrap.json");
    writeFileSync(file, text);
    // One after the other, because it is one file with one listener port.
    const child = await startEnvoy(file, admin);
    let envoy: Answers;
    try {
      envoy = await ask(protocols, listener, "run1");
    } finally {
      await ended(child);
    }
    const proxy = await runProxy({
      bootstrapText: text,
      logger: createLogger("table", "silent"),
      clock: systemClock,
    });
    try {
      await proxy.ready;
      return { envoy, ours: await ask(protocols, listener, "run2") };
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
    ...pick(["location", "content-type", "x-extra", "x-upstream-secret", "x-envoy-overloaded"]),
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
  "x-gone",
  "x-set",
  "x-add",
  "x-user",
];

async function ask(protocols: Protocols, port: number, run: string): Promise<Answers> {
  const answers = new Map<string, RawResponse>();
  for (const row of rowsFor(protocols)) {
    // Failures are counted per key, and each proxy starts with none.
    const request = row.request.replace(/key=(KEY\d)/, `key=$1-${run}`);
    const http2 = protocols.client === "http2" ? asHttp2({ ...row, request }) : undefined;
    const response =
      http2 === undefined
        ? await exchange(port, request, row.isHead)
        : await exchangeHttp2(port, http2);
    answers.set(row.name, { ...response, body: response.body.replaceAll(`-${run}`, "") });
  }
  return answers;
}

async function startEnvoy(file: string, adminPort: number): Promise<ChildProcess> {
  const args = ["-c", file, "--concurrency", "1", "--log-level", "off", "--use-dynamic-base-id"];
  const child = spawn(findTool("envoy") ?? "envoy", args, { stdio: ["ignore", "ignore", "pipe"] });
  let output = "";
  child.stderr?.on("data", (chunk) => {
    output += chunk;
  });
  const deadline = Date.now() + 60_000;
  for (;;) {
    const isReady = await fetch(`http://127.0.0.1:${adminPort}/ready`).then(
      (response) => response.ok,
      () => false,
    );
    if (isReady) return child;
    assert.ok(child.exitCode === null, `envoy ended: ${output}`);
    assert.ok(Date.now() < deadline, "envoy is not ready");
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

function ended(child: ChildProcess): Promise<void> {
  return new Promise((resolve) => {
    if (child.exitCode !== null) {
      resolve();
      return;
    }
    child.once("exit", () => resolve());
    child.kill("SIGKILL");
  });
}

/** A port that was free a moment ago. */
async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  await new Promise((resolve) => server.close(resolve));
  return typeof address === "object" && address !== null ? address.port : 0;
}
