import { once } from "node:events";
import { createServer, request, type Server, type ServerResponse } from "node:http";
import { messageOf, SerinError } from "../../base/index.ts";

/** Envoy's admin interface. */
export interface AdminAddress {
  readonly host: string;
  readonly port: number;
}

/** Asks a page of the admin interface; rejects when Envoy does not answer. */
export async function askAdmin(
  admin: AdminAddress,
  path: string,
  method: "GET" | "POST" = "GET",
): Promise<{ readonly status: number; readonly body: string; readonly type: string }> {
  const outgoing = request({ ...admin, path, method, agent: false, timeout: TIMEOUT_MS });
  outgoing.on("timeout", () => outgoing.destroy(new Error("no answer in time")));
  outgoing.end();
  const [response] = await once(outgoing, "response");
  let body = "";
  for await (const chunk of response) body += chunk;
  return {
    status: response.statusCode ?? 0,
    body,
    type: response.headers["content-type"] ?? "text/plain",
  };
}

const TIMEOUT_MS = 5000;
const METRICS = "/stats/prometheus";
/** What the sidecar's ports show, and where Envoy has it. */
const PAGES: Readonly<Record<string, string>> = { "/healthz/ready": "/ready", [METRICS]: METRICS };
/** Istio's metrics as stock Envoy writes them, in samples and in comments. */
const PREFIXED = /^(# (?:TYPE|HELP) )?envoy_(?=istio_)/gm;

/**
 * The ports of a sidecar for readiness and metrics, answered by Envoy's admin interface. Throws
 * SERIN_PORT_IN_USE.
 */
export async function startHealthPorts(
  admin: AdminAddress,
  host: string,
  ports: readonly number[],
): Promise<{ stop(): void }> {
  const servers: Server[] = [];
  const stop = (): void => {
    for (const server of servers) {
      server.close();
      server.closeAllConnections();
    }
  };
  for (const port of ports) {
    const server = createServer((incoming, response) => {
      const page = PAGES[(incoming.url ?? "").split("?")[0] ?? ""];
      void answer(admin, page, response);
    });
    server.listen(port, host);
    try {
      await once(server, "listening");
    } catch (error) {
      stop();
      const message = `cannot listen on ${host}:${port}: ${messageOf(error)}`;
      throw new SerinError("SERIN_PORT_IN_USE", message, { cause: error });
    }
    servers.push(server);
  }
  return { stop };
}

async function answer(
  admin: AdminAddress,
  page: string | undefined,
  response: ServerResponse,
): Promise<void> {
  if (page === undefined) {
    response.writeHead(404).end(`known paths:\n${Object.keys(PAGES).join("\n")}\n`);
    return;
  }
  try {
    const { status, body, type } = await askAdmin(admin, page);
    const text = page === METRICS ? withIstioNames(body) : body;
    response.writeHead(status, { "content-type": type }).end(text);
  } catch (error) {
    response.writeHead(503).end(`Envoy does not answer: ${messageOf(error)}\n`);
  }
}

/**
 * Metrics under the names that Istio gives them. Stock Envoy puts `envoy_` before all that no extension
 * has registered as a namespace of its own (custom_stat_namespaces, which no configuration sets); Istio's
 * build registers them in its code.
 */
function withIstioNames(text: string): string {
  return text.replace(PREFIXED, "$1");
}
