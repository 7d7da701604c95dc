import { type ClientRequest, createServer, type IncomingHttpHeaders, request } from "node:http";
import type { AddressInfo } from "node:net";
import type { TestContext } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";

/** An answer; status 0 = the connection failed. */
export interface Answer {
  readonly status: number;
  readonly body: string;
  readonly headers: IncomingHttpHeaders;
}

/**
 * Asks through the sidecar of a pod, as its application does that heeds HTTP_PROXY: a request in
 * absolute form to port 15001 of the pod's address.
 */
export function askThrough(
  podIp: string,
  url: string,
  headers: Readonly<Record<string, string>> = {},
): Promise<Answer> {
  const outgoing = request({
    host: podIp,
    port: 15_001,
    path: url,
    headers: { host: new URL(url).host, connection: "close", ...headers },
    timeout: 20_000,
  });
  outgoing.on("timeout", () => outgoing.destroy());
  return answerTo(outgoing);
}

/** Sends a request without a body, and gives its answer. */
export function answerTo(outgoing: ClientRequest): Promise<Answer> {
  return new Promise((resolve) => {
    outgoing.on("response", (response) => {
      let body = "";
      response.setEncoding("utf8").on("data", (text: string) => {
        body += text;
      });
      response.on("close", () =>
        resolve({ status: response.statusCode ?? 0, body, headers: response.headers }),
      );
    });
    outgoing.on("error", () => resolve({ status: 0, body: "", headers: {} }));
    outgoing.end();
  });
}

/** An HTTP server outside of the mesh that answers with its name, host and path. */
export async function startOutsider(t: TestContext, name: string): Promise<number> {
  const server = createServer((incoming, response) => {
    response.end(`${name} ${incoming.headers.host} ${incoming.url}`);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  t.after(() => {
    server.close();
    server.closeAllConnections();
  });
  return (server.address() as AddressInfo).port;
}

const DEADLINE_MS = 60_000;
/** Answers in a row that must be right: configuration reaches proxies and their threads one by one. */
const IN_A_ROW = 5;

/** Asks until the answers stay right; fails with the last one after a minute. */
export async function becomes(
  what: string,
  ask: () => Promise<Answer>,
  isRight: (answer: Answer) => boolean,
): Promise<Answer> {
  const deadlineMs = Date.now() + DEADLINE_MS;
  let inARow = 0;
  for (;;) {
    const answer = await ask();
    inARow = isRight(answer) ? inARow + 1 : 0;
    if (inARow === IN_A_ROW) return answer;
    if (Date.now() > deadlineMs) {
      throw new Error(`${what}: last answer ${answer.status} ${answer.body.slice(0, 300)}`);
    }
    await sleep(50);
  }
}
