import { Agent, type IncomingMessage, request } from "node:http";
import type { Environment } from "./settings.ts";

/** What another service answered. */
export interface Answer {
  readonly status: number;
  readonly body: string;
}

/** Calls other services over kept-alive connections. */
export interface Caller {
  /** GET. Rejects when there is no complete answer within `timeoutMs`. */
  get(url: string, headers: Record<string, string>, timeoutMs: number): Promise<Answer>;
  close(): void;
}

/**
 * A caller that goes through HTTP_PROXY where it is set: on the loopback network that is how
 * requests find the sidecar (Node then sends the absolute form and keeps the connection).
 */
export function createCaller(env: Environment): Caller {
  const agent = new Agent({ keepAlive: true, proxyEnv: { ...env } });
  return {
    get: (url, headers, timeoutMs) => get(agent, url, headers, AbortSignal.timeout(timeoutMs)),
    close: () => agent.destroy(),
  };
}

async function get(
  agent: Agent,
  url: string,
  headers: Record<string, string>,
  signal: AbortSignal,
): Promise<Answer> {
  const outgoing = request(url, { agent, headers, signal });
  try {
    return await answerTo(outgoing);
  } catch (error) {
    // The other side may close an idle connection at the very moment it is used again. Nothing
    // was processed then, so a GET is sent once more, on another connection.
    if (outgoing.reusedSocket && isReset(error) && !signal.aborted) {
      return await get(agent, url, headers, signal);
    }
    throw error;
  }
}

function answerTo(outgoing: ReturnType<typeof request>): Promise<Answer> {
  return new Promise((resolve, reject) => {
    outgoing.on("error", reject);
    outgoing.on("response", (response: IncomingMessage) => {
      const chunks: Buffer[] = [];
      response.on("data", (chunk: Buffer) => chunks.push(chunk));
      response.on("error", reject);
      response.on("end", () =>
        resolve({
          status: response.statusCode ?? 0,
          body: Buffer.concat(chunks).toString("utf8"),
        }),
      );
    });
    outgoing.end();
  });
}

function isReset(error: unknown): boolean {
  return error instanceof Error && "code" in error && error.code === "ECONNRESET";
}
