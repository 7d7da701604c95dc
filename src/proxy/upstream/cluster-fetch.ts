import type { ProxyContext } from "../context.ts";
import type { ResponseHead } from "../core/http1/head-parser.ts";
import { HeaderBlock } from "../core/http1/header-block.ts";
import type { UpstreamRequest, UpstreamStream } from "../streams.ts";
import type { HostPool } from "./host-pool.ts";

export interface FetchRequest {
  readonly method: "GET" | "POST";
  /** Path and query. */
  readonly target: string;
  readonly authority: string;
  readonly scheme: "http" | "https";
  /** Lower-case names. */
  readonly headers?: readonly (readonly [name: string, value: string])[];
  readonly body?: Buffer;
  /** Whether the body's length is announced; gRPC does not. True by default. */
  readonly hasLength?: boolean;
  readonly timeoutMs: number;
  /** A longer body is an error. */
  readonly maxBodyBytes: number;
}

export interface FetchResponse {
  readonly status: number;
  readonly body: Buffer;
}

/**
 * A request of the proxy itself to a host of a cluster, over that cluster's connections, TLS and
 * limits. Rejects with an Error that says why.
 */
export function fetchFromCluster(
  context: ProxyContext,
  clusterName: string,
  request: FetchRequest,
): Promise<FetchResponse> {
  const config = context.config.cluster(clusterName);
  if (config === undefined) return Promise.reject(new Error(`no cluster ${clusterName}`));
  const host = context.clusters.get(context, config).pick(undefined, 0);
  if (host === undefined) return Promise.reject(new Error("no healthy upstream"));
  return new Promise((resolve, reject) =>
    new Fetch(context, host, request, resolve, reject).start(),
  );
}

class Fetch implements UpstreamStream {
  readonly #context: ProxyContext;
  readonly #host: HostPool;
  readonly #request: FetchRequest;
  readonly #resolve: (response: FetchResponse) => void;
  readonly #reject: (error: Error) => void;
  #upstream: UpstreamRequest | undefined;
  #status = 0;
  #chunks: Buffer[] = [];
  #bytes = 0;
  #cancelTimeout: () => void = () => {};
  #isAttached = false;
  #isOver = false;

  constructor(
    context: ProxyContext,
    host: HostPool,
    request: FetchRequest,
    resolve: (response: FetchResponse) => void,
    reject: (error: Error) => void,
  ) {
    this.#context = context;
    this.#host = host;
    this.#request = request;
    this.#resolve = resolve;
    this.#reject = reject;
  }

  start(): void {
    this.#cancelTimeout = this.#context.clock.schedule(this.#request.timeoutMs, () =>
      this.#fail("no answer in time"),
    );
    this.#host.activeRequests += 1;
    if (!this.#host.acquire(this, this.#request.method)) this.#fail("circuit breaker overflow");
  }

  onConnection(connection: UpstreamRequest): void {
    this.#upstream = connection;
    this.#host.cluster.stats.requestsTotal.add(1);
    this.#host.cluster.circuit.requests.add(1);
    this.#isAttached = true;
    const { method, target, authority, scheme, headers = [], body } = this.#request;
    const { hasLength = true } = this.#request;
    const block = new HeaderBlock();
    block.add("host", authority);
    for (const [name, value] of headers) block.add(name, value);
    if (body !== undefined && hasLength) block.add("content-length", String(body.length));
    connection.writeHead({
      method,
      target,
      scheme,
      headers: block,
      body: body === undefined ? "none" : hasLength ? "length" : "unknown",
    });
    if (body !== undefined) connection.writeData(body, 0, body.length);
    connection.writeEnd(undefined);
    connection.flush();
  }

  onResponseHead(head: ResponseHead): void {
    this.#status = head.status;
  }

  onResponseData(bytes: Buffer, start: number, end: number): void {
    this.#bytes += end - start;
    if (this.#bytes > this.#request.maxBodyBytes) {
      this.#fail(`an answer of more than ${this.#request.maxBodyBytes} bytes`);
      return;
    }
    // The buffer is the connection's: it is used again for the next read.
    this.#chunks.push(Buffer.from(bytes.subarray(start, end)));
  }

  onResponseEnd(): void {
    this.#upstream = undefined;
    if (!this.#end()) return;
    this.#host.cluster.countStatus(this.#status);
    this.#resolve({ status: this.#status, body: Buffer.concat(this.#chunks) });
  }

  onResponseFlush(): void {}
  onUpstreamDrain(): void {}

  onReset(reason: string, transportFailure: string): void {
    this.#upstream = undefined;
    this.#fail(transportFailure === "" ? reason : `${reason}: ${transportFailure}`);
  }

  #fail(message: string): void {
    if (!this.#end()) return;
    const upstream = this.#upstream;
    this.#upstream = undefined;
    if (upstream !== undefined) upstream.abandon();
    else this.#host.cancel(this);
    this.#reject(new Error(message));
  }

  /** False when it was over already. */
  #end(): boolean {
    if (this.#isOver) return false;
    this.#isOver = true;
    this.#cancelTimeout();
    this.#host.activeRequests -= 1;
    if (this.#isAttached) this.#host.cluster.circuit.requests.add(-1);
    return true;
  }
}
