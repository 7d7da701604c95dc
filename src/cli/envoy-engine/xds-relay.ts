import { once } from "node:events";
import { readFileSync } from "node:fs";
import {
  type ClientHttp2Session,
  connect,
  constants,
  createServer,
  type IncomingHttpHeaders,
  type ServerHttp2Session,
  type ServerHttp2Stream,
} from "node:http2";
import type { Logger } from "../../runtime/index.ts";

const {
  HTTP2_HEADER_AUTHORITY,
  HTTP2_HEADER_AUTHORIZATION,
  NGHTTP2_CANCEL,
  NGHTTP2_INTERNAL_ERROR,
} = constants;

/** The control plane as Envoy sees it. */
export interface XdsRelay {
  stop(): Promise<void>;
}

/**
 * Takes gRPC streams on a Unix socket and passes them on to the control plane with the pod's token,
 * which is read anew for every stream: Envoy's own bootstrap could only hold the one of its start.
 * Whoever may open the socket speaks with the pod's identity.
 */
export async function startXdsRelay(options: {
  readonly socketPath: string;
  /** Of the control plane, without a path. */
  readonly url: string;
  /** File of the authorities that the control plane's TLS is to be from; read at each connect. */
  readonly caPath?: string | undefined;
  readonly tokenPath: string | undefined;
  readonly logger: Logger;
}): Promise<XdsRelay> {
  const { url, caPath, tokenPath, logger } = options;
  const sessions = new Set<ServerHttp2Session>();
  let upstream: ClientHttp2Session | undefined;
  const upstreamSession = (): ClientHttp2Session => {
    if (upstream !== undefined && !upstream.closed && !upstream.destroyed) return upstream;
    const session = connect(url, caPath === undefined ? {} : { ca: readFileSync(caPath) });
    session.on("error", (error) => {
      logger.debug({ url, reason: error.message }, "no connection to the control plane");
    });
    upstream = session;
    return session;
  };
  const server = createServer();
  server.on("session", (session) => {
    sessions.add(session);
    session.on("close", () => sessions.delete(session));
    session.on("error", () => session.destroy());
  });
  server.on("stream", (stream: ServerHttp2Stream, headers: IncomingHttpHeaders) => {
    stream.on("error", () => {});
    try {
      const token = tokenPath && readFileSync(tokenPath, "utf8").trim();
      const { [HTTP2_HEADER_AUTHORITY]: _, ...rest } = headers;
      const more = token ? { [HTTP2_HEADER_AUTHORIZATION]: `Bearer ${token}` } : {};
      passOn(stream, upstreamSession(), { ...rest, ...more });
    } catch (error) {
      logger.warn({ reason: String(error) }, "stream to the control plane refused");
      stream.close(NGHTTP2_INTERNAL_ERROR);
    }
  });
  server.listen(options.socketPath);
  await once(server, "listening");
  return {
    async stop() {
      upstream?.destroy();
      server.close();
      for (const session of sessions) session.destroy();
      await once(server, "close");
    },
  };
}

function passOn(
  stream: ServerHttp2Stream,
  session: ClientHttp2Session,
  headers: IncomingHttpHeaders,
): void {
  const request = session.request(headers, { endStream: false });
  let trailers: IncomingHttpHeaders = {};
  request.on("response", ({ ":status": status, ...rest }, flags) => {
    if (stream.destroyed) return;
    const isAll = (flags & constants.NGHTTP2_FLAG_END_STREAM) !== 0;
    const head = { ":status": status ?? 200, ...rest };
    stream.respond(head, isAll ? { endStream: true } : { waitForTrailers: true });
    if (!isAll) request.pipe(stream);
  });
  request.on("trailers", (found) => {
    trailers = found;
  });
  stream.on("wantTrailers", () => stream.sendTrailers(trailers));
  stream.pipe(request);
  // Either end breaking breaks the other: Envoy then tries again, with a fresh token.
  request.on("error", () => {});
  request.on("close", () => {
    if (!stream.writableEnded && !stream.destroyed) stream.close(NGHTTP2_CANCEL);
  });
  stream.on("close", () => {
    if (!request.destroyed && !request.closed) request.close(NGHTTP2_CANCEL);
  });
}
