import { Agent, type IncomingMessage, request } from "node:http";
import type { Clock } from "../../runtime/index.ts";

/** One request as its client saw it. Times are epoch milliseconds. */
export interface Exchange {
  readonly startMs: number;
  readonly endMs: number;
  /** HTTP status; undefined when there was no (complete) answer. */
  readonly status: number | undefined;
  /** Which build of reviews served it, by its own word. */
  readonly version: string | undefined;
  /** What went wrong on the way, where no answer came. */
  readonly error: string | undefined;
}

/** What counts as failed: no complete answer, or a status other than 2xx. */
export function isFailure(exchange: Exchange): boolean {
  return exchange.status === undefined || exchange.status < 200 || exchange.status > 299;
}

export interface LoadClientOptions {
  /** Where requests go; may be changed later with `retarget`. */
  readonly url: string;
  readonly requestsPerSecond: number;
  readonly clock: Clock;
  /** After this a request has failed. Default 10,000. */
  readonly timeoutMs?: number;
  /** How long exchanges are remembered. Default 10 minutes. */
  readonly retentionMs?: number;
}

/** A user of the application: counts what was really answered, never the mesh's own numbers. */
export interface LoadClient {
  /** Exchanges that ended, oldest first, of the last minutes. */
  exchanges(): readonly Exchange[];
  /** Resolves when every request that is on its way now has ended. */
  settle(): Promise<void>;
  /** All requests since the start. */
  totals(): { readonly requests: number; readonly failures: number };
  retarget(url: string): void;
  /** Sends nothing more; resolves when the requests in flight have ended. */
  stop(): Promise<void>;
}

const TICK_MS = 5;
/** After a pause of the whole process only this much is caught up: a burst would measure itself. */
const MAX_CATCH_UP_MS = 100;
/** The client closes idle connections, and sooner than any server does: no race for the last word. */
const IDLE_CONNECTION_MS = 3000;

/**
 * An open-loop client: requests leave at their scheduled time whether or not earlier ones were
 * answered, so a slow version is felt as slow instead of being asked less. Connections are kept.
 */
export function startLoadClient(options: LoadClientOptions): LoadClient {
  const { clock, requestsPerSecond, timeoutMs = 10_000, retentionMs = 600_000 } = options;
  const periodMs = 1000 / requestsPerSecond;
  const agent = new Agent({ keepAlive: true, timeout: IDLE_CONNECTION_MS });
  const ended: Exchange[] = [];
  const pending = new Set<Promise<void>>();
  let { url } = options;
  let failures = 0;
  let requests = 0;
  let dueMs = clock.nowMs();
  let isStopped = false;
  let cancelTick = clock.schedule(0, tick);

  function tick(): void {
    if (isStopped) return;
    const nowMs = clock.nowMs();
    dueMs = Math.max(dueMs, nowMs - MAX_CATCH_UP_MS);
    for (; dueMs <= nowMs; dueMs += periodMs) send();
    cancelTick = clock.schedule(TICK_MS, tick);
  }

  function send(): void {
    const startMs = clock.nowMs();
    const done = fetchOnce(url, agent, timeoutMs).then((outcome) => {
      pending.delete(done);
      record({ startMs, endMs: clock.nowMs(), ...outcome });
    });
    pending.add(done);
  }

  function record(exchange: Exchange): void {
    requests += 1;
    if (isFailure(exchange)) failures += 1;
    ended.push(exchange);
    // Now and then, not each time: removing from the front costs the whole length.
    if (requests % 1000 === 0) {
      const keepFrom = ended.findIndex(({ endMs }) => endMs >= exchange.endMs - retentionMs);
      if (keepFrom > 0) ended.splice(0, keepFrom);
    }
  }

  return {
    exchanges: () => ended,
    async settle() {
      await Promise.all(pending);
    },
    totals: () => ({ requests, failures }),
    retarget(next) {
      url = next;
    },
    async stop() {
      isStopped = true;
      cancelTick();
      await Promise.all(pending);
      agent.destroy();
    },
  };
}

type Outcome = Pick<Exchange, "status" | "version" | "error">;

/** Never rejects: what went wrong is the outcome. */
function fetchOnce(url: string, agent: Agent, timeoutMs: number): Promise<Outcome> {
  return new Promise((resolve) => {
    const failed = (error: Error): void =>
      resolve({ status: undefined, version: undefined, error: error.message });
    const signal = AbortSignal.timeout(timeoutMs);
    const outgoing = request(url, { agent, signal }, (response) => {
      readBody(response, failed, (body) =>
        resolve({ status: response.statusCode, version: versionIn(body), error: undefined }),
      );
    });
    outgoing.on("error", failed);
    outgoing.end();
  });
}

function readBody(
  response: IncomingMessage,
  failed: (error: Error) => void,
  ended: (body: string) => void,
): void {
  const chunks: Buffer[] = [];
  response.on("data", (chunk: Buffer) => chunks.push(chunk));
  response.on("error", failed);
  response.on("end", () => ended(Buffer.concat(chunks).toString("utf8")));
}

/** The `version` that bookinfo's reviews puts into every answer. */
function versionIn(body: string): string | undefined {
  try {
    const value: unknown = JSON.parse(body);
    if (typeof value !== "object" || value === null || !("version" in value)) return undefined;
    return typeof value.version === "string" ? value.version : undefined;
  } catch {
    // Not JSON: a proxy's own answer, nobody's version.
    return undefined;
  }
}
