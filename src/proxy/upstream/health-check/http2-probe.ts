import {
  type ClientHttp2Session,
  type ClientHttp2Stream,
  connect as connectHttp2,
  type IncomingHttpHeaders,
  type OutgoingHttpHeaders,
} from "node:http2";
import type { ProbeResult } from "../../core/health-check.ts";
import { connectProbe, type Probe, type ProbeTarget } from "./probe.ts";

const MAX_BODY_BYTES = 1_048_576;

/** What is asked of a host over HTTP/2, and what its answer means. */
export interface Http2Question {
  /** Pseudo headers too, all but the scheme. */
  readonly headers: OutgoingHttpHeaders;
  readonly body: Buffer | undefined;
  judge(answer: Http2Answer): ProbeResult;
}

export interface Http2Answer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly trailers: IncomingHttpHeaders;
  readonly body: Buffer;
}

/**
 * Asks over HTTP/2, on one connection or on a new one each time. Node's own HTTP/2 will do: checks
 * are few.
 */
export class Http2Probe implements Probe {
  readonly #target: ProbeTarget;
  readonly #question: Http2Question;
  #session: ClientHttp2Session | undefined;
  #stream: ClientHttp2Stream | undefined;
  #onResult: ((result: ProbeResult) => void) | undefined;

  constructor(target: ProbeTarget, question: Http2Question) {
    this.#target = target;
    this.#question = question;
  }

  check(onResult: (result: ProbeResult) => void): void {
    this.#onResult = onResult;
    try {
      this.#session ??= this.#open();
      this.#ask(this.#session);
    } catch {
      // TLS material that OpenSSL refuses, or a session that has just ended.
      this.#drop();
      queueMicrotask(() => this.#finish({ kind: "unreachable" }));
    }
  }

  abandon(): void {
    this.close();
  }

  close(): void {
    this.#onResult = undefined;
    this.#drop();
  }

  #open(): ClientHttp2Session {
    const isTls = this.#target.cluster.tlsFor(this.#target.endpoint) !== undefined;
    const session = connectHttp2(isTls ? "https://host" : "http://host", {
      createConnection: () => connectProbe(this.#target, () => {}, "http2"),
    });
    session.on("error", () => this.#ended(session));
    session.on("close", () => this.#ended(session));
    session.on("goaway", () => this.#ended(session));
    return session;
  }

  #ask(session: ClientHttp2Session): void {
    const { headers, body } = this.#question;
    const stream = session.request(headers, { endStream: body === undefined });
    const chunks: Buffer[] = [];
    let bytes = 0;
    let received: IncomingHttpHeaders | undefined;
    let trailers: IncomingHttpHeaders = {};
    stream.on("response", (fields) => {
      received = fields;
    });
    stream.on("trailers", (fields) => {
      trailers = fields;
    });
    stream.on("data", (chunk: Buffer) => {
      bytes += chunk.length;
      if (bytes > MAX_BODY_BYTES) stream.destroy();
      else chunks.push(chunk);
    });
    // Asked about this stream only: a late end of one that was given up says nothing of the next.
    const isCurrent = (): boolean => this.#stream === stream;
    this.#stream = stream;
    stream.on("error", () => {
      if (isCurrent()) this.#finish({ kind: "unreachable" });
    });
    stream.on("end", () => {
      if (received === undefined || !isCurrent()) return;
      const status = Number(received[":status"] ?? 0);
      // An answer of trailers alone has them as its headers.
      this.#finish(
        this.#question.judge({
          status,
          headers: received,
          trailers: { ...received, ...trailers },
          body: Buffer.concat(chunks),
        }),
      );
      if (!this.#target.config.reusesConnection) this.#drop();
    });
    stream.on("close", () => {
      if (isCurrent()) this.#finish({ kind: "unreachable" });
    });
    if (body !== undefined) stream.end(body);
  }

  #ended(session: ClientHttp2Session): void {
    if (this.#session !== session) return;
    this.#session = undefined;
    session.destroy();
    this.#finish({ kind: "unreachable" });
  }

  #drop(): void {
    const session = this.#session;
    this.#session = undefined;
    this.#stream = undefined;
    session?.destroy();
  }

  #finish(result: ProbeResult): void {
    const onResult = this.#onResult;
    this.#onResult = undefined;
    this.#stream = undefined;
    onResult?.(result);
  }
}
