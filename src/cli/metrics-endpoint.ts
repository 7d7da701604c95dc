import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { messageOf, SerinError } from "../base/index.ts";

/** What Prometheus reads of the parts that run in one process. */
export interface MetricsEndpoint {
  readonly port: number;
  stop(): Promise<void>;
}

/** Prometheus text, or an object to be sent as JSON. */
export type MetricsPage = (query: URLSearchParams) => Promise<string | object>;

/**
 * Serves these pages over HTTP and nothing else: unlike the control plane's debug pages, they can be
 * shown to every pod. Listens on `host`; port 0 = any free one. Throws SERIN_PORT_IN_USE.
 */
export async function startMetricsEndpoint(
  host: string,
  pages: Readonly<Record<string, MetricsPage>>,
  port = 0,
): Promise<MetricsEndpoint> {
  const server = createServer((request, response) => {
    const say = (code: number, text: string, type = "text/plain; version=0.0.4"): void => {
      response.writeHead(code, { "content-type": `${type}; charset=utf-8` });
      response.end(text);
    };
    const { pathname, searchParams } = new URL(request.url ?? "/", "http://localhost");
    const page = Object.hasOwn(pages, pathname) ? pages[pathname] : undefined;
    if (request.method !== "GET") say(405, "only GET\n");
    else if (page === undefined) say(404, `there is only ${Object.keys(pages).join(", ")}\n`);
    else {
      page(searchParams).then(
        (answer) => {
          if (typeof answer === "string") say(200, answer);
          else say(200, JSON.stringify(answer), "application/json");
        },
        (error: unknown) => say(503, `${messageOf(error)}\n`),
      );
    }
  });
  await new Promise<void>((resolve, reject) => {
    server.once("error", (error) => {
      const message = `metrics cannot listen on ${host}:${port}: ${messageOf(error)}`;
      reject(new SerinError("SERIN_PORT_IN_USE", message, { cause: error }));
    });
    server.listen(port, host, resolve);
  });
  return {
    port: (server.address() as AddressInfo).port,
    stop: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}
