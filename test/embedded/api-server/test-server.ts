import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import type { IncomingHttpHeaders, IncomingMessage } from "node:http";
import { request } from "node:https";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { TestContext } from "node:test";
import { parse } from "yaml";
import { type ApiServer, startApiServer } from "../../../src/embedded/api-server/index.ts";
import { type Clock, createLogger, systemClock } from "../../../src/runtime/index.ts";

export type Json = { readonly [field: string]: unknown };

export interface Answer {
  readonly code: number;
  readonly headers: IncomingHttpHeaders;
  readonly text: string;
  /** The body, parsed; throws when it is not a JSON object. */
  readonly json: Json;
}

export interface Call {
  readonly body?: unknown;
  readonly type?: string;
  readonly accept?: string;
  readonly token?: string;
  readonly headers?: Readonly<Record<string, string>>;
}

export interface TestServer {
  readonly api: ApiServer;
  readonly dataDir: string;
  readonly caPem: string;
  readonly token: string;
  call(method: string, path: string, call?: Call): Promise<Answer>;
  /** As call, but fails unless the answer is 2xx. */
  ok(method: string, path: string, call?: Call): Promise<Json>;
  /** Opens a watch and returns its events as they come. */
  watch(path: string, accept?: string): WatchClient;
}

/** A watch: `next` gives the next event, or fails when none comes in time. */
export interface WatchClient {
  next(): Promise<{ readonly type: string; readonly object: Json }>;
  /** Resolves when the server has ended the stream. */
  readonly ended: Promise<void>;
  close(): void;
}

export function temporaryDir(t: TestContext): string {
  const dir = mkdtempSync(join(tmpdir(), "serin-api-"));
  t.after(() => rmSync(dir, { recursive: true, force: true }));
  return dir;
}

/** An API server on a free port and its own directory, stopped when the test ends. */
export async function startTestServer(
  t: TestContext,
  options: { readonly dataDir?: string; readonly clock?: Clock } = {},
): Promise<TestServer> {
  const dataDir = options.dataDir ?? temporaryDir(t);
  const api = await startApiServer({
    dataDir,
    port: 0,
    logger: createLogger("test", "silent"),
    clock: options.clock ?? systemClock,
  });
  t.after(() => api.stop().catch(() => undefined));
  return connect(t, api, dataDir);
}

function connect(t: TestContext, api: ApiServer, dataDir: string): TestServer {
  const config = parse(readFileSync(api.kubeconfigPath, "utf8")) as {
    readonly clusters: readonly [
      { readonly cluster: { readonly "certificate-authority-data": string } },
    ];
    readonly users: readonly [{ readonly user: { readonly token: string } }];
  };
  const caPem = Buffer.from(
    config.clusters[0].cluster["certificate-authority-data"],
    "base64",
  ).toString();
  const { token } = config.users[0].user;
  const open = (method: string, path: string, call: Call): Promise<IncomingMessage> => {
    const { promise, resolve, reject } = Promise.withResolvers<IncomingMessage>();
    const body =
      call.body === undefined
        ? undefined
        : typeof call.body === "string"
          ? call.body
          : JSON.stringify(call.body);
    const outgoing = request(
      `${api.url}${path}`,
      {
        method,
        ca: caPem,
        agent: false,
        headers: {
          authorization: `Bearer ${call.token ?? token}`,
          accept: call.accept ?? "application/json",
          ...(body === undefined
            ? {}
            : {
                "content-type": call.type ?? "application/json",
                "content-length": Buffer.byteLength(body),
              }),
          ...call.headers,
        },
      },
      resolve,
    );
    outgoing.on("error", reject);
    outgoing.end(body);
    return promise;
  };
  const server: TestServer = {
    api,
    dataDir,
    caPem,
    token,
    async call(method, path, call = {}) {
      const incoming = await open(method, path, call);
      const chunks: Buffer[] = [];
      for await (const chunk of incoming as AsyncIterable<Buffer>) chunks.push(chunk);
      const text = Buffer.concat(chunks).toString();
      return {
        code: incoming.statusCode ?? 0,
        headers: incoming.headers,
        text,
        get json() {
          return JSON.parse(text) as Json;
        },
      };
    },
    async ok(method, path, call = {}) {
      const answer = await server.call(method, path, call);
      if (answer.code >= 300) throw new Error(`${method} ${path}: ${answer.code} ${answer.text}`);
      return answer.json;
    },
    watch(path, accept = "application/json") {
      const client = new EventQueue(open("GET", path, { accept }));
      t.after(() => client.close());
      return client;
    },
  };
  return server;
}

class EventQueue implements WatchClient {
  readonly #events: { type: string; object: Json }[] = [];
  readonly #waiting: ((event: { type: string; object: Json }) => void)[] = [];
  readonly ended: Promise<void>;
  #incoming: IncomingMessage | undefined;
  #isClosed = false;

  constructor(opening: Promise<IncomingMessage>) {
    this.ended = this.#read(opening);
  }

  async next(): Promise<{ readonly type: string; readonly object: Json }> {
    const ready = this.#events.shift();
    if (ready !== undefined) return ready;
    const { promise, resolve, reject } = Promise.withResolvers<{ type: string; object: Json }>();
    const timer = setTimeout(() => reject(new Error("no watch event within 10 s")), 10_000);
    this.#waiting.push(resolve);
    try {
      return await promise;
    } finally {
      clearTimeout(timer);
    }
  }

  close(): void {
    this.#isClosed = true;
    this.#incoming?.destroy();
  }

  async #read(opening: Promise<IncomingMessage>): Promise<void> {
    try {
      this.#incoming = await opening;
      if (this.#isClosed) this.#incoming.destroy();
      let rest = "";
      for await (const chunk of this.#incoming as AsyncIterable<Buffer>) {
        const lines = (rest + chunk.toString()).split("\n");
        rest = lines.pop() ?? "";
        for (const line of lines) this.#take(JSON.parse(line) as { type: string; object: Json });
      }
    } catch (error) {
      if (!this.#isClosed) throw error;
    }
  }

  #take(event: { type: string; object: Json }): void {
    const waiting = this.#waiting.shift();
    if (waiting === undefined) this.#events.push(event);
    else waiting(event);
  }
}

/** Calls until a condition holds; fails after 10 s. */
export async function eventually(what: string, holds: () => Promise<boolean>): Promise<void> {
  const deadlineMs = performance.now() + 10_000;
  while (!(await holds())) {
    if (performance.now() > deadlineMs) throw new Error(`still not so after 10 s: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

/** The value at a path, for short assertions. */
export function at(value: unknown, ...path: readonly (string | number)[]): unknown {
  let current = value;
  for (const key of path)
    current = (current as Record<string | number, unknown> | undefined)?.[key];
  return current;
}
