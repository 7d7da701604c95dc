import {
  Agent as HttpAgent,
  type AgentOptions as HttpAgentOptions,
  request as httpRequest,
  type IncomingMessage,
} from "node:http";
import { Agent as HttpsAgent, request as httpsRequest, type RequestOptions } from "node:https";
import { messageOf, SerinError } from "../base/index.ts";
import { type Clock, systemClock } from "../runtime/index.ts";
import { type Credentials, createCredentials } from "./credentials.ts";
import { type ApiAccess, readKubeconfig } from "./kubeconfig.ts";
import { unreadable } from "./unreadable.ts";

export interface ConnectionOptions {
  /** Default: KUBECONFIG, ~/.kube/config, else the pod's own service account. */
  readonly kubeconfigPath?: string;
  /** Default: the kubeconfig's current context. */
  readonly context?: string;
  /** How long an answer may take (default 30 s); watches are bounded by the server. */
  readonly requestTimeoutMs?: number;
  /** When credentials of plugins end. */
  readonly clock?: Clock;
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
  const { kubeconfigPath: path, context, clock = systemClock } = options;
  const access = readKubeconfig({ path, context });
  const credentials = createCredentials(access, clock);
  const server = new URL(access.server);
  const isTls = server.protocol === "https:";
  const agentOptions = {
    keepAlive: true,
    keepAliveMsecs: KEEP_ALIVE_MS,
    maxFreeSockets: MAX_FREE_SOCKETS,
    ...proxyOf(access),
  };
  let agent: HttpAgent | HttpsAgent | undefined;
  let agentIdentity = "";
  const prefix = server.pathname.replace(/\/$/, "");
  const timeoutMs = options.requestTimeoutMs ?? DEFAULT_TIMEOUT_MS;

  const agentFor = (tls: Credentials["tls"]): HttpAgent | HttpsAgent => {
    // A rotated certificate or authority needs connections of its own.
    const identity = JSON.stringify(tls);
    if (agent !== undefined && identity === agentIdentity) return agent;
    if (agent !== undefined) retire(agent);
    agentIdentity = identity;
    agent = isTls
      ? new HttpsAgent({ ...agentOptions, ...withoutAbsent(tls) })
      : new HttpAgent(agentOptions);
    return agent;
  };

  const sendOnce = async (call: HttpCall, body: Buffer | undefined): Promise<IncomingMessage> => {
    const { tls, headers } = await credentials.get();
    return await exchange(
      isTls ? httpsRequest : httpRequest,
      {
        host: server.hostname.replace(/^\[|\]$/g, ""),
        port: server.port || (isTls ? 443 : 80),
        method: call.method,
        path: prefix + call.path,
        agent: agentFor(tls),
        headers: {
          ...headers,
          accept: "application/json",
          "user-agent": "serin",
          ...(body === undefined
            ? {}
            : {
                "content-type": call.contentType ?? "application/json",
                "content-length": body.length,
              }),
        },
        ...withoutAbsent({ signal: call.signal }),
      },
      body,
      { timeoutMs, isWatch: call.isWatch ?? false, server: access.server },
    );
  };

  return {
    async send(call) {
      const body = call.body === undefined ? undefined : Buffer.from(JSON.stringify(call.body));
      const response = await sendOnce(call, body);
      if (response.statusCode !== 401 || !credentials.refused()) return response;
      // A plugin's credential may have been withdrawn before its time (as kubectl, once).
      response.resume();
      return await sendOnce(call, body);
    },
  };
}

/** Connections in use, watches above all, end in their own time; no other request gets them. */
function retire(agent: HttpAgent): void {
  agent.maxFreeSockets = 0;
  for (const sockets of Object.values(agent.freeSockets)) {
    for (const socket of sockets ?? []) socket.destroy();
  }
}

/** The cluster's `proxy-url`: the API is reached through it. */
function proxyOf({ cluster, source }: ApiAccess): Pick<HttpAgentOptions, "proxyEnv"> {
  const url = cluster["proxy-url"];
  if (!url) return {};
  if (!/^https?:\/\//.test(url) || !URL.canParse(url)) {
    const found = JSON.stringify(url);
    throw unreadable(
      `the kubeconfig ${source}: proxy-url must be an http or https URL (found ${found})`,
    );
  }
  return { proxyEnv: { HTTP_PROXY: url, HTTPS_PROXY: url } };
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

type Present<T> = { [Key in keyof T]: Exclude<T[Key], undefined> };

/** Node takes a present `undefined` for a value. */
function withoutAbsent<T extends object>(values: T): Partial<Present<T>> {
  return Object.fromEntries(
    Object.entries(values).filter(([, value]) => value !== undefined),
  ) as Partial<Present<T>>;
}
