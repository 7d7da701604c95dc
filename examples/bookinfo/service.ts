import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { type Environment, numberFrom } from "./settings.ts";

/** What a service answers. */
export interface Reply {
  readonly status: number;
  readonly contentType: string;
  readonly body: string;
  readonly headers?: Readonly<Record<string, string>>;
}

/** Answers one request; `url` is its parsed target. */
export type Handler = (request: IncomingMessage, url: URL) => Promise<Reply> | Reply;

/** Connections stay open longer than any proxy keeps them idle: so the proxy closes, not we. */
const KEEP_ALIVE_MS = 300_000;

export function json(status: number, value: unknown): Reply {
  return { status, contentType: "application/json", body: JSON.stringify(value) };
}

export const notFound: Reply = json(404, { error: "not found" });

/**
 * Runs a service until SIGTERM or SIGINT: listens on HOST:PORT (default 0.0.0.0:9080), answers
 * `/health` itself and everything else by `handler`.
 *
 * On SIGTERM it goes on answering for SHUTDOWN_DELAY_MS (default 2,000), because callers learn only
 * now that the pod is leaving; each answer then closes its connection. After that it stops
 * listening and ends with the last request in flight.
 */
export function runService(name: string, env: Environment, handler: Handler): void {
  const host = env["HOST"] ?? "0.0.0.0";
  const port = numberFrom(env, "PORT", { fallback: 9080, min: 0, max: 65_535 });
  const delayMs = numberFrom(env, "SHUTDOWN_DELAY_MS", { fallback: 2000, min: 0, max: 60_000 });
  const open = new Set<ServerResponse>();
  let isStopping = false;

  const server = createServer((request, response) => {
    open.add(response);
    response.on("close", () => open.delete(response));
    if (isStopping) response.setHeader("connection", "close");
    void answer(name, handler, request, response);
  });
  server.keepAliveTimeout = KEEP_ALIVE_MS;
  server.on("error", (error) => {
    console.error(`${name}: cannot listen on ${host}:${port}: ${error.message}`);
    process.exitCode = 2;
  });
  server.listen(port, host, () => console.log(`${name} listens on ${addressOf(server)}`));

  const stop = (): void => {
    if (isStopping) return;
    isStopping = true;
    for (const response of open) {
      if (!response.headersSent) response.setHeader("connection", "close");
    }
    console.log(`${name} stops`);
    // Ends the process: idle connections and timers do not hold it once the server is closed.
    setTimeout(() => server.close(() => process.exit(0)), delayMs);
  };
  process.on("SIGTERM", stop);
  process.on("SIGINT", stop);
}

async function answer(
  name: string,
  handler: Handler,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  let reply: Reply;
  try {
    const url = URL.parse(request.url ?? "/", "http://service");
    if (url === null) reply = json(400, { error: "bad request target" });
    else if (url.pathname === "/health") reply = json(200, { status: `${name} is healthy` });
    else reply = await handler(request, url);
  } catch (error) {
    console.error(`${name}: ${request.method} ${request.url}:`, error);
    reply = json(500, { error: "internal error" });
  }
  const body = Buffer.from(reply.body);
  response.writeHead(reply.status, {
    ...reply.headers,
    "content-type": reply.contentType,
    "content-length": body.length,
  });
  response.end(request.method === "HEAD" ? undefined : body);
}

function addressOf(server: Server): string {
  const address = server.address();
  if (address === null || typeof address === "string") return String(address);
  return `${address.address}:${address.port}`;
}

/** The id in `/reviews/0`, or undefined when the path is another or the id is not a number. */
export function idIn(url: URL, prefix: string): string | undefined {
  const match = /^\/([^/]+)\/(\d{1,9})$/.exec(url.pathname);
  return match?.[1] === prefix ? match[2] : undefined;
}
