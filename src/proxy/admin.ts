import type { IncomingMessage, Server, ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { messageOf, SerinError } from "../base/index.ts";
import type { Logger } from "../runtime/index.ts";
import { toJson } from "../xds/index.ts";
import { certs } from "./admin/certs.ts";
import { clustersJson, clustersText } from "./admin/clusters.ts";
import { configDump } from "./admin/config-dump.ts";
import type { Bootstrap } from "./config/bootstrap.ts";
import type { Telemetry } from "./telemetry.ts";
import type { ConfigStore } from "./xds/config-store.ts";

// An import of node:http reads all its exports, and with `WebSocket` loads a whole fetch: 4 MB.
const { createServer } = process.getBuiltinModule("node:http");

export type ServerState = "LIVE" | "DRAINING" | "PRE_INITIALIZING" | "INITIALIZING";

/** What the admin pages show and do. */
export interface AdminOptions {
  readonly bootstrap: Bootstrap;
  readonly startedMs: number;
  readonly nowMs: () => number;
  readonly store: ConfigStore;
  readonly telemetry: Telemetry;
  readonly logger: Logger;
  readonly state: () => ServerState;
  readonly drain: () => void;
  readonly quit: () => void;
}

/** A small HTTP server of the proxy's own. */
export interface LocalServer {
  readonly port: number;
  stop(): Promise<void>;
}

interface Reply {
  readonly status?: number;
  readonly type?: string;
  readonly body: string;
}
type Page = (query: URLSearchParams) => Reply;

const LEVELS = ["trace", "debug", "info", "warn", "error", "fatal"];

/** Envoy's admin interface. Throws SERIN_PORT_IN_USE, SERIN_PERMISSION. */
export function startAdmin(
  options: AdminOptions,
  address: string,
  port: number,
): Promise<LocalServer> {
  const reads = readPages(options);
  const writes = writePages(options);
  return serve(address, port, options.logger, (request, path, query) => {
    const write = writes[path];
    if (write !== undefined) {
      // Envoy answers 405 to a GET that would change something.
      if (request.method === "POST") return write(query);
      return { status: 405, body: `Method ${request.method} not allowed, POST required.` };
    }
    const read = reads[path];
    return read === undefined
      ? notFound([...Object.keys(reads), ...Object.keys(writes)])
      : read(query);
  });
}

/** The readiness port (`/healthz/ready`) and, likewise, the metrics port of a sidecar. */
export function startSidecarPorts(
  telemetry: Telemetry,
  state: () => ServerState,
  logger: Logger,
  address: string,
  port: number,
): Promise<LocalServer> {
  return serve(address, port, logger, (_request, path) => {
    if (path === "/healthz/ready") {
      const isReady = state() === "LIVE";
      return { status: isReady ? 200 : 503, body: isReady ? "" : `${state()}\n` };
    }
    if (path === "/stats/prometheus") return prometheus(telemetry);
    return notFound(["/healthz/ready", "/stats/prometheus"]);
  });
}

function readPages(options: AdminOptions): Readonly<Record<string, Page>> {
  const { store, telemetry } = options;
  const config = () => store.current();
  return {
    "/config_dump": () => json(configDump(options.bootstrap, options.startedMs, store)),
    "/clusters": (query) =>
      query.get("format") === "json"
        ? json(clustersJson(store, config()))
        : { body: clustersText(store, config()) },
    "/listeners": (query) => listeners(store, query),
    "/stats": (query) => stats(telemetry, query),
    "/stats/prometheus": () => prometheus(telemetry),
    "/certs": () => json(certs(store, options.nowMs())),
    "/ready": () => ({
      status: options.state() === "LIVE" ? 200 : 503,
      body: `${options.state()}\n`,
    }),
    "/server_info": () => json(serverInfo(options)),
  };
}

function writePages(options: AdminOptions): Readonly<Record<string, Page>> {
  const { logger } = options;
  return {
    "/logging": (query) => {
      const level = query.get("level") ?? [...query.values()][0];
      if (level !== undefined && !LEVELS.includes(level)) {
        return { status: 400, body: `unknown level ${level} (${LEVELS.join(", ")})\n` };
      }
      if (level !== undefined) logger.level = level;
      return { body: `active loggers:\n  proxy: ${logger.level}\n` };
    },
    "/drain_listeners": () => {
      options.drain();
      return { body: "OK\n" };
    },
    "/quitquitquit": () => {
      options.quit();
      return { body: "OK\n" };
    },
  };
}

function listeners(store: ConfigStore, query: URLSearchParams): Reply {
  const active = [...store.current().listeners.values()];
  if (query.get("format") !== "json") {
    return { body: active.map((l) => `${l.name}::${l.address}:${l.port}\n`).join("") };
  }
  return json({
    listener_statuses: active.map((l) => ({
      name: l.name,
      local_address: { socket_address: { address: l.address, port_value: l.port } },
    })),
  });
}

function stats(telemetry: Telemetry, query: URLSearchParams): Reply {
  const filter = query.get("filter");
  let pattern: RegExp | undefined;
  try {
    pattern = filter === null ? undefined : new RegExp(filter);
  } catch (error) {
    return { status: 400, body: `Invalid regex: "${messageOf(error)}"\n` };
  }
  const format = query.get("format");
  if (format === "prometheus") return prometheus(telemetry);
  const list = telemetry.stats.list().filter((stat) => pattern?.test(stat.name) ?? true);
  if (format === "json") {
    return json({ stats: list.map(({ name, value }) => ({ name, value })) });
  }
  return { body: list.map((stat) => `${stat.name}: ${stat.value}\n`).join("") };
}

function prometheus(telemetry: Telemetry): Reply {
  return { type: "text/plain; version=0.0.4; charset=utf-8", body: telemetry.prometheus() };
}

function serverInfo(options: AdminOptions): unknown {
  const uptimeS = Math.floor((options.nowMs() - options.startedMs) / 1000);
  return {
    version: "serin",
    state: options.state(),
    uptime_current_epoch: `${uptimeS}s`,
    uptime_all_epochs: `${uptimeS}s`,
    node: toJson("envoy.config.core.v3.Node", options.bootstrap.node ?? {}),
  };
}

function json(value: unknown): Reply {
  return { type: "application/json", body: `${JSON.stringify(value, null, 1)}\n` };
}

function notFound(paths: readonly string[]): Reply {
  return { status: 404, body: `invalid path. known paths:\n${[...paths].sort().join("\n")}\n` };
}

function serve(
  address: string,
  port: number,
  logger: Logger,
  answer: (request: IncomingMessage, path: string, query: URLSearchParams) => Reply,
): Promise<LocalServer> {
  const handle = (request: IncomingMessage, response: ServerResponse): void => {
    const [path = "/", query = ""] = (request.url ?? "/").split("?", 2);
    let reply: Reply;
    try {
      reply = answer(request, path, new URLSearchParams(query));
    } catch (error) {
      logger.error({ path, reason: messageOf(error) }, "admin request failed");
      reply = { status: 500, body: `${messageOf(error)}\n` };
    }
    request.resume();
    response.writeHead(reply.status ?? 200, {
      "content-type": reply.type ?? "text/plain; charset=UTF-8",
      "cache-control": "no-cache, max-age=0",
      "x-content-type-options": "nosniff",
    });
    response.end(reply.body);
  };
  const server = createServer(handle);
  return new Promise((resolve, reject) => {
    server.once("error", (error: NodeJS.ErrnoException) => {
      reject(listenError(error, address, port));
    });
    server.listen(port, address, () => {
      server.removeAllListeners("error");
      server.on("error", (error) => logger.error({ reason: error.message }, "admin server failed"));
      resolve(localServer(server));
    });
  });
}

function localServer(server: Server): LocalServer {
  return {
    port: (server.address() as AddressInfo).port,
    stop: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

/** A failed listen in our words; EADDRINUSE and EACCES are the operator's to solve. */
export function listenError(
  error: NodeJS.ErrnoException,
  address: string,
  port: number,
): SerinError {
  const where = `${address}:${port}`;
  if (error.code === "EADDRINUSE") {
    return new SerinError("SERIN_PORT_IN_USE", `cannot listen on ${where}: the port is taken`, {
      source: "caller",
      cause: error,
    });
  }
  if (error.code === "EACCES") {
    return new SerinError("SERIN_PERMISSION", `cannot listen on ${where}: permission denied`, {
      source: "caller",
      cause: error,
    });
  }
  return new SerinError("SERIN_UNAVAILABLE", `cannot listen on ${where}: ${error.message}`, {
    cause: error,
  });
}
