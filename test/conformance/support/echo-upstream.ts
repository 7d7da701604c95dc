import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import {
  createServer as createHttp2Server,
  type Http2ServerRequest,
  type Http2ServerResponse,
  type ServerHttp2Session,
} from "node:http2";
import type { AddressInfo } from "node:net";

/** An upstream that says who it is and what it was asked; `fail=N&key=K` fails N times per key. */
export interface EchoUpstream {
  readonly port: number;
  stop(): Promise<void>;
}

export async function startEchoUpstream(name: string, isHttp2: boolean): Promise<EchoUpstream> {
  const failures = new Map<string, number>();
  const answer = (
    request: IncomingMessage | Http2ServerRequest,
    response: ServerResponse | Http2ServerResponse,
    body: string,
  ): void => {
    const url = new URL(request.url ?? "/", "http://x");
    if (url.pathname.startsWith("/slow")) return;
    const key = url.searchParams.get("key");
    const failed = key === null ? 0 : (failures.get(key) ?? 0);
    const isFailing = key !== null && failed < Number(url.searchParams.get("fail"));
    if (isFailing) failures.set(key, failed + 1);
    const asked = Number(url.searchParams.get("status") ?? (isFailing ? 503 : 200));
    const status = key === null || isFailing ? asked : 200;
    response.statusCode = status;
    response.setHeader("content-type", "application/json");
    response.setHeader("x-upstream-secret", "1");
    const { method, url: path, headers } = request;
    const text =
      status === 204 ? "" : JSON.stringify({ upstream: name, method, path, headers, body });
    if ("stream" in response) response.end(text);
    else response.end(text);
  };
  const receive = (
    request: IncomingMessage | Http2ServerRequest,
    response: ServerResponse | Http2ServerResponse,
  ): void => {
    let body = "";
    request.on("data", (chunk) => {
      body += chunk;
    });
    request.on("end", () => answer(request, response, body));
  };
  const server = isHttp2 ? createHttp2Server(receive) : createServer(receive);
  const sessions = new Set<ServerHttp2Session>();
  server.on("session", (session: ServerHttp2Session) => {
    sessions.add(session);
    session.on("close", () => sessions.delete(session));
    session.on("error", () => session.destroy());
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    port: (server.address() as AddressInfo).port,
    stop: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        for (const session of sessions) session.destroy();
        if ("closeAllConnections" in server) server.closeAllConnections();
      }),
  };
}
