import { existsSync } from "node:fs";
import { Agent as HttpAgent, request as httpRequest, type IncomingMessage } from "node:http";
import { Agent as HttpsAgent, request as httpsRequest, type RequestOptions } from "node:https";
import { KubeConfig } from "@kubernetes/client-node";
import { messageOf, SerinError } from "../base/index.ts";

export interface ConnectionOptions {
  /** Default: KUBECONFIG, ~/.kube/config, else the pod's own service account. */
  readonly kubeconfigPath?: string;
  /** Default: the kubeconfig's current context. */
  readonly context?: string;
  /** How long an answer may take (default 30 s); watches are bounded by the server. */
  readonly requestTimeoutMs?: number;
}

export interface HttpCall {
  readonly method: "GET" | "POST" | "PUT" | "PATCH" | "DELETE";
  /** Path and query. */
  readonly path: string;
  readonly body?: unknown;
  readonly contentType?: string;
  readonly signal?: AbortSignal;
  /** A watch may be silent for long once it has begun; any other answer may not. */
  readonly isWatch?: boolean;
}

/** The way to one API server: address, credentials, kept connections. */
export interface Connection {
  /** Resolves with the response's head; the caller reads the body. Throws SERIN_UNAVAILABLE. */
  send(call: HttpCall): Promise<IncomingMessage>;
}

const DEFAULT_TIMEOUT_MS = 30_000;
/** Sockets kept for requests; a watch takes one for as long as it lasts. */
const MAX_FREE_SOCKETS = 16;
/** Dead peers are noticed by TCP keep-alive. */
const KEEP_ALIVE_MS = 15_000;

/**
 * Opens nothing yet: reads the kubeconfig. Throws SERIN_UNREADABLE_INPUT when it cannot be read or
 * names no cluster.
 */
export function createConnection(options: ConnectionOptions): Connection {
  const config = loadConfig(options);
  const cluster = config.getCurrentCluster();
  if (cluster === null) {
    throw unreadable(`the kubeconfig${at(options)} names no cluster for its context`, undefined);
  }
  const server = new URL(cluster.server);
  const isTls = server.protocol === "https:";
  const agentOptions = {
    keepAlive: true,
    keepAliveMsecs: KEEP_ALIVE_MS,
    maxFreeSockets: MAX_FREE_SOCKETS,
  };
  let agent: HttpAgent | HttpsAgent | undefined;
  let agentIdentity = "";
  const prefix = server.pathname.replace(/\/$/, "");
  const timeoutMs = options.requestTimeoutMs ?? DEFAULT_TIMEOUT_MS;

  return {
    async send(call) {
      // Asked each time: tokens and exec plugins' credentials expire.
      const credentials = await credentialsOf(config, cluster.server);
      const { ca, cert, key, servername, rejectUnauthorized, auth } = credentials;
      // A rotated client certificate needs connections of its own.
      const identity = `${String(cert)}${String(key)}`;
      if (agent === undefined || identity !== agentIdentity) {
        agent?.destroy();
        agentIdentity = identity;
        agent = isTls
          ? new HttpsAgent({
              ...agentOptions,
              ...withoutAbsent({ ca, cert, key, servername, rejectUnauthorized }),
            })
          : new HttpAgent(agentOptions);
      }
      const body = call.body === undefined ? undefined : Buffer.from(JSON.stringify(call.body));
      const headers: Record<string, string | number> = {
        ...(credentials.headers as Record<string, string> | undefined),
        accept: "application/json",
        "user-agent": "serin",
      };
      if (body !== undefined) {
        headers["content-type"] = call.contentType ?? "application/json";
        headers["content-length"] = body.length;
      }
      return await exchange(
        isTls ? httpsRequest : httpRequest,
        {
          host: server.hostname.replace(/^\[|\]$/g, ""),
          port: server.port || (isTls ? 443 : 80),
          method: call.method,
          path: prefix + call.path,
          agent,
          headers,
          ...withoutAbsent({ auth, signal: call.signal }),
        },
        body,
        { timeoutMs, isWatch: call.isWatch ?? false, server: cluster.server },
      );
    },
  };
}

function exchange(
  request: typeof httpsRequest,
  options: RequestOptions,
  body: Buffer | undefined,
  how: { readonly timeoutMs: number; readonly isWatch: boolean; readonly server: string },
): Promise<IncomingMessage> {
  const { timeoutMs, isWatch, server } = how;
  const unavailable = (error: unknown): SerinError =>
    new SerinError("SERIN_UNAVAILABLE", `the Kubernetes API at ${server}: ${messageOf(error)}`, {
      source: "remote",
      retry: "yes",
      cause: error,
    });
  return new Promise((resolve, reject) => {
    const outgoing = request(options, (response) => {
      // From here a broken connection is the body's error.
      if (isWatch) outgoing.setTimeout(0);
      resolve(response);
    });
    if (timeoutMs > 0) {
      outgoing.setTimeout(timeoutMs, () =>
        outgoing.destroy(new Error(`no answer within ${timeoutMs} ms`)),
      );
    }
    outgoing.on("error", (error) => reject(unavailable(error)));
    outgoing.end(body);
  });
}

/** Asked for each call: tokens and the credentials of exec plugins expire. */
async function credentialsOf(config: KubeConfig, server: string): Promise<RequestOptions> {
  const credentials: RequestOptions = {};
  // Over plain text there is nothing to prove, and the library would refuse it.
  if (!server.startsWith("https:")) return credentials;
  try {
    await config.applyToHTTPSOptions(credentials);
    return credentials;
  } catch (error) {
    throw unreadable(`no credentials for ${server}: ${messageOf(error)}`, error);
  }
}

function loadConfig({ kubeconfigPath, context }: ConnectionOptions): KubeConfig {
  const config = new KubeConfig();
  try {
    if (kubeconfigPath === undefined) config.loadFromDefault();
    else if (!existsSync(kubeconfigPath)) throw new Error("no such file");
    else config.loadFromFile(kubeconfigPath);
    if (context !== undefined) config.setCurrentContext(context);
    return config;
  } catch (error) {
    throw unreadable(
      `cannot read the kubeconfig${at({ kubeconfigPath })}: ${messageOf(error)}`,
      error,
    );
  }
}

function at({ kubeconfigPath }: { readonly kubeconfigPath?: string | undefined }): string {
  return kubeconfigPath === undefined ? "" : ` ${kubeconfigPath}`;
}

function unreadable(message: string, cause: unknown): SerinError {
  return new SerinError("SERIN_UNREADABLE_INPUT", message, { source: "caller", cause });
}

type Present<T> = { [Key in keyof T]: Exclude<T[Key], undefined> };

/** Node takes a present `undefined` for a value. */
function withoutAbsent<T extends object>(values: T): Partial<Present<T>> {
  return Object.fromEntries(
    Object.entries(values).filter(([, value]) => value !== undefined),
  ) as Partial<Present<T>>;
}
