import { createServer, type Socket } from "node:net";
import { freePort } from "./envoy-process.ts";

/** What a collector of spans may be like. */
export const COLLECTOR_STATES = {
  accepts: "HTTP/1.1 202 Accepted\r\ncontent-length: 0\r\n\r\n",
  "says 200": "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok",
  fails: "HTTP/1.1 500 Internal Server Error\r\ncontent-length: 0\r\n\r\n",
  "answers garbage": "\u0000\u0001 this is no HTTP\r\n\r\n",
  /** Answers with more than it may. */
  "says a lot": `HTTP/1.1 202 Accepted\r\ncontent-length: 100000\r\n\r\n${"x".repeat(100_000)}`,
  "hangs up": "",
  hangs: undefined,
  "is dead": undefined,
} as const satisfies Readonly<Record<string, string | undefined>>;

export type CollectorState = keyof typeof COLLECTOR_STATES;

/** A collector that is as the state says. Each report gets the same answer. */
export async function startCollectorState(
  state: CollectorState,
): Promise<{ readonly port: number; stop(): Promise<void> }> {
  if (state === "is dead") return { port: await freePort(), stop: async () => {} };
  const answer = COLLECTOR_STATES[state];
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on("error", () => socket.destroy());
    socket.on("data", (bytes) => {
      // The first bytes of a report; the rest of it does not matter here.
      if (answer === undefined || !bytes.toString("latin1").includes(" HTTP/1.1\r\n")) return;
      if (answer === "") socket.destroy();
      else socket.write(answer, "latin1");
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const bound = server.address();
  return {
    port: typeof bound === "object" && bound !== null ? bound.port : 0,
    stop: () =>
      new Promise((resolve) => {
        for (const socket of sockets) socket.destroy();
        server.close(() => resolve());
      }),
  };
}
