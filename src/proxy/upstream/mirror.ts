import type { MirrorPolicy } from "../config/runtime-config.ts";
import type { RequestHead, ResponseHead } from "../core/http1/head-parser.ts";
import type { HeaderBlock } from "../core/http1/header-block.ts";
import { Deadline, type DeadlineOwner, type TimerWheel } from "../net/timer-wheel.ts";
import { bodyKind, type UpstreamRequest, type UpstreamStream } from "../streams.ts";
import type { Exchange } from "./exchange.ts";
import type { HostPool } from "./host-pool.ts";

/** Mirrored requests in flight per proxy; beyond it they are dropped, the real traffic comes first. */
const MAX_MIRRORS_IN_FLIGHT = 1024;
let inFlight = 0;

/**
 * Sends a copy of a complete request to the mirror's cluster and forgets the answer (Envoy's
 * request_mirror_policies): the authority gets `-shadow` before its port. It has as much time as the
 * request itself; `timeoutMs` 0 = any.
 */
export function sendMirror(
  exchange: Exchange,
  policy: MirrorPolicy,
  body: readonly Buffer[],
  trailers: HeaderBlock | undefined,
  timeoutMs: number,
): void {
  const { context, config, head, target } = exchange;
  if (policy.fraction < 1 && context.random() >= policy.fraction) return;
  const cluster = config.cluster(policy.cluster);
  if (cluster === undefined || inFlight >= MAX_MIRRORS_IN_FLIGHT) return;
  const host = context.clusters.get(context, cluster).pick(undefined, 0);
  if (host === undefined) return;
  const headers = head.headers.clone();
  // As Envoy: it is the proxy that asks.
  headers.set("x-envoy-internal", "true");
  if (policy.appendShadowSuffix) headers.set("host", shadowAuthority(exchange.authority));
  new Mirror(host, head, exchange.scheme, target, headers, body, trailers).start(
    context.deadlines,
    timeoutMs,
  );
}

function shadowAuthority(authority: string): string {
  const port = /:\d+$/.exec(authority)?.[0] ?? "";
  return `${authority.slice(0, authority.length - port.length)}-shadow${port}`;
}

class Mirror implements UpstreamStream, DeadlineOwner {
  readonly #host: HostPool;
  readonly #head: RequestHead;
  readonly #scheme: "http" | "https";
  readonly #target: string;
  readonly #headers: HeaderBlock;
  readonly #body: readonly Buffer[];
  readonly #trailers: HeaderBlock | undefined;
  #deadlines: TimerWheel | undefined;
  #timeout: Deadline | undefined;
  #connection: UpstreamRequest | undefined;
  #isAttached = false;
  #isOver = false;

  constructor(
    host: HostPool,
    head: RequestHead,
    scheme: "http" | "https",
    target: string,
    headers: HeaderBlock,
    body: readonly Buffer[],
    trailers: HeaderBlock | undefined,
  ) {
    this.#host = host;
    this.#head = head;
    this.#scheme = scheme;
    this.#target = target;
    this.#headers = headers;
    this.#body = [...body];
    this.#trailers = trailers;
  }

  start(deadlines: TimerWheel, timeoutMs: number): void {
    if (timeoutMs > 0) {
      this.#deadlines = deadlines;
      this.#timeout = new Deadline(this);
      deadlines.arm(this.#timeout, timeoutMs);
    }
    inFlight += 1;
    this.#host.activeRequests += 1;
    this.#host.cluster.stats.requestsTotal.add(1);
    const isAccepted = this.#host.acquire(this, this.#head.method);
    if (!isAccepted) this.onReset();
  }

  onConnection(connection: UpstreamRequest): void {
    this.#isAttached = true;
    this.#connection = connection;
    this.#host.cluster.circuit.requests.add(1);
    connection.writeHead({
      method: this.#head.method,
      target: this.#target,
      scheme: this.#scheme,
      headers: this.#headers,
      body: bodyKind(this.#head.framing),
    });
    for (const bytes of this.#body) connection.writeData(bytes, 0, bytes.length);
    connection.writeEnd(this.#trailers);
    connection.flush();
  }

  onResponseHead({ status }: ResponseHead): void {
    this.#host.cluster.countStatus(status);
  }

  onDeadline(): void {
    const { cluster } = this.#host;
    cluster.stats.requestTimeout.add(1);
    const connection = this.#connection;
    if (connection !== undefined) connection.abandon();
    else this.#host.cancel(this);
    this.#end();
  }

  onResponseData(): void {}
  onResponseFlush(): void {}
  onUpstreamDrain(): void {}

  onResponseEnd(): void {
    this.#end();
  }

  onReset(): void {
    this.#end();
  }

  #end(): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#connection = undefined;
    if (this.#timeout !== undefined) this.#deadlines?.disarm(this.#timeout);
    inFlight -= 1;
    this.#host.activeRequests -= 1;
    if (this.#isAttached) this.#host.cluster.circuit.requests.add(-1);
  }
}
