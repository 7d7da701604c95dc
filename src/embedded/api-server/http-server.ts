import { type IncomingMessage, ServerResponse } from "node:http";
import { createServer, type Server } from "node:https";
import type { Socket } from "node:net";
import { messageOf, SerinError } from "../../base/index.ts";
import { parseResourcePath } from "../core/api/request-path.ts";
import {
  internalError,
  methodNotAllowed,
  noSuchPath,
  StatusError,
  unauthorized,
} from "../core/api/status-error.ts";
import { sendDocument, sendText } from "./answer.ts";
import { readDocumentBody } from "./body.ts";
import type { ServingCertificate } from "./certificates.ts";
import type { Cluster } from "./cluster.ts";
import { ADMIN, API_AUDIENCE, type User } from "./credentials.ts";
import { DiscoveryHandler } from "./discovery-handler.ts";
import { handleResource, type Upgrade } from "./resource-handler.ts";
import {
  answerVirtual,
  authenticateServiceAccount,
  VIRTUAL_RESOURCES,
} from "./virtual-resources.ts";

const HEALTH_PATHS = ["/healthz", "/readyz", "/livez"];

/** The HTTPS side of the API server. */
export class HttpServer {
  readonly #cluster: Cluster;
  readonly #discovery: DiscoveryHandler;
  readonly #server: Server;
  readonly #stopping = new AbortController();

  constructor(cluster: Cluster, certificate: ServingCertificate) {
    this.#cluster = cluster;
    this.#discovery = new DiscoveryHandler(cluster.registry);
    this.#server = createServer(
      // Watches are silent for long: only the request itself has a time limit.
      {
        key: certificate.keyPem,
        cert: certificate.certificatePem,
        keepAliveTimeout: 120_000,
        // Another protocol (SPDY, h2c) is answered like any request: with what it says to that path.
        shouldUpgradeCallback: isWebSocket,
      },
      (request, response) => {
        // Never rejects: every failure becomes an answer.
        void this.#answer(request, response);
      },
    );
    this.#server.on("upgrade", (request: IncomingMessage, socket: Socket, head: Buffer) => {
      socket.on("error", () => socket.destroy());
      const response = new ServerResponse(request);
      response.shouldKeepAlive = false;
      response.assignSocket(socket);
      response.on("finish", () => socket.end());
      void this.#answer(request, response, { socket, head });
    });
  }

  /** Listens and returns the port. Throws SERIN_PORT_IN_USE, SERIN_PERMISSION. */
  async listen(host: string, port: number): Promise<number> {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    this.#server.once("error", reject);
    this.#server.listen(port, host, resolve);
    try {
      await promise;
    } catch (error) {
      throw listenError(error, host, port);
    } finally {
      this.#server.off("error", reject);
    }
    const address = this.#server.address();
    return typeof address === "object" && address !== null ? address.port : port;
  }

  /** Ends watches and open connections, then the listener. */
  async close(): Promise<void> {
    this.#stopping.abort();
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#server.close(() => resolve());
    this.#server.closeIdleConnections();
    const cancel = this.#cluster.clock.schedule(1000, () => this.#server.closeAllConnections());
    await promise;
    cancel();
  }

  async #answer(
    request: IncomingMessage,
    response: ServerResponse,
    upgrade?: Upgrade,
  ): Promise<void> {
    try {
      await this.#route(request, response, upgrade);
    } catch (error) {
      this.#fail(request, response, error);
    }
  }

  async #route(
    request: IncomingMessage,
    response: ServerResponse,
    upgrade: Upgrade | undefined,
  ): Promise<void> {
    const url = new URL(request.url ?? "/", "https://localhost");
    const path = decodePath(url.pathname);
    const method = request.method ?? "GET";
    // Health and version are open, as on kube-apiserver (system:public-info-viewer).
    if (HEALTH_PATHS.includes(path)) return sendText(response, 200, "ok", "text/plain");
    if (path === "/version" && this.#discovery.handle(path, request, response)) return;
    const user = this.#authenticate(request);
    if (method === "GET" && this.#discovery.handle(path, request, response)) return;
    const resourcePath = parseResourcePath(path);
    if (resourcePath === undefined) throw noSuchPath();
    const virtual = VIRTUAL_RESOURCES.find(
      (v) =>
        v.group === resourcePath.group &&
        v.version === resourcePath.version &&
        v.plural === resourcePath.plural,
    );
    if (virtual !== undefined) {
      if (method !== "POST") throw methodNotAllowed();
      const body = await readDocumentBody(request);
      const { credentials, storage, clock } = this.#cluster;
      const context = { user, credentials, storage, nowMs: clock.nowMs() };
      return sendDocument(response, 201, answerVirtual(virtual, body, context));
    }
    const call = { cluster: this.#cluster, request, response, method, path: resourcePath, user };
    const { signal } = this.#stopping;
    await handleResource({ ...call, query: url.searchParams, signal, upgrade });
  }

  #authenticate(request: IncomingMessage): User {
    const token = /^Bearer\s+(\S+)\s*$/i.exec(request.headers.authorization ?? "")?.[1];
    if (token === undefined) throw unauthorized();
    const { credentials, storage, clock } = this.#cluster;
    if (credentials.isAdminToken(token)) return ADMIN;
    const context = { credentials, storage, nowMs: clock.nowMs() };
    const found = authenticateServiceAccount(token, [API_AUDIENCE], context);
    if (found === undefined) throw unauthorized();
    return found.user;
  }

  #fail(request: IncomingMessage, response: ServerResponse, error: unknown): void {
    let status: StatusError;
    if (error instanceof StatusError) status = error;
    else if (response.destroyed) return;
    else {
      const { method, url } = request;
      this.#cluster.logger.error(
        { method, url, error: messageOf(error), stack: stackOf(error) },
        "request failed",
      );
      status = internalError(messageOf(error));
    }
    if (response.headersSent) {
      response.destroy();
      return;
    }
    // The rest of an unread body would be taken for the next request.
    if (!request.complete) response.setHeader("Connection", "close");
    sendDocument(response, status.code, status.toStatus());
  }
}

function isWebSocket({ headers }: IncomingMessage): boolean {
  return headers.upgrade?.toLowerCase() === "websocket";
}

function decodePath(pathname: string): string {
  try {
    return decodeURIComponent(pathname);
  } catch {
    throw noSuchPath(); // a broken %-escape names nothing
  }
}

function stackOf(error: unknown): string | undefined {
  return error instanceof Error ? error.stack : undefined;
}

function listenError(error: unknown, host: string, port: number): SerinError {
  const code = error instanceof Error && "code" in error ? error.code : undefined;
  if (code === "EADDRINUSE") {
    const message = `port ${port} on ${host} is in use: stop what listens there or choose another --api-port`;
    return new SerinError("SERIN_PORT_IN_USE", message, { cause: error });
  }
  if (code === "EACCES") {
    const message = `not allowed to listen on port ${port}: choose one above 1023 with --api-port`;
    return new SerinError("SERIN_PERMISSION", message, { cause: error });
  }
  const message = `cannot listen on ${host}:${port}: ${messageOf(error)}`;
  return new SerinError("SERIN_INTERNAL", message, { cause: error });
}
