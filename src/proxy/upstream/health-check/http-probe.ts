import type { Socket } from "node:net";
import type { HttpProbeConfig, ProbeResult } from "../../core/health-check.ts";
import type { ResponseHead } from "../../core/http1/head-parser.ts";
import { type MessageSink, ResponseDecoder } from "../../core/http1/message-decoder.ts";
import { connectProbe, type Probe, type ProbeTarget } from "./probe.ts";
import { authorityFor, judgeHttp } from "./questions.ts";

const LIMITS = { maxHeadBytes: 61_440, maxHeaders: 200 };
/** A body is read to its end up to this size, or costs the connection. */
const MAX_BODY_BYTES = 1_048_576;

/** Sends requests over HTTP/1.1 and looks at the answers. Source: Envoy docs, "HTTP" health checking. */
export class HttpProbe implements Probe, MessageSink<ResponseHead> {
  readonly #target: ProbeTarget;
  readonly #probe: HttpProbeConfig;
  readonly #request: string;
  #socket: Socket | undefined;
  #decoder = new ResponseDecoder(LIMITS);
  #head: ResponseHead | undefined;
  #body: Buffer[] = [];
  #bodyBytes = 0;
  #onResult: ((result: ProbeResult) => void) | undefined;

  constructor(target: ProbeTarget, probe: HttpProbeConfig) {
    this.#target = target;
    this.#probe = probe;
    this.#request = requestText(target, probe);
  }

  check(onResult: (result: ProbeResult) => void): void {
    this.#onResult = onResult;
    this.#head = undefined;
    this.#body = [];
    this.#bodyBytes = 0;
    if (this.#socket !== undefined) {
      this.#send(this.#socket);
      return;
    }
    this.#decoder = new ResponseDecoder(LIMITS);
    try {
      const socket = connectProbe(this.#target, () => this.#send(socket));
      this.#socket = socket;
      socket.on("data", (bytes: Buffer) => {
        if (this.#socket === socket) this.#receive(bytes);
      });
      socket.on("error", () => socket.destroy());
      socket.on("end", () => {
        if (this.#socket === socket && this.#onResult !== undefined) this.#decoder.endOfInput(this);
        socket.destroy();
      });
      socket.on("close", () => this.#closed(socket));
    } catch {
      // TLS material that OpenSSL refuses: nobody can be reached with it.
      queueMicrotask(() => this.#finish({ kind: "unreachable" }));
    }
  }

  abandon(): void {
    this.close();
  }

  close(): void {
    this.#onResult = undefined;
    const socket = this.#socket;
    this.#socket = undefined;
    socket?.destroy();
  }

  onHead(head: ResponseHead): void {
    this.#head = head;
  }

  onData(bytes: Buffer, start: number, end: number): void {
    if (this.#bodyBytes < this.#probe.bodyLimitBytes && this.#probe.receive.length > 0) {
      this.#body.push(Buffer.from(bytes.subarray(start, end)));
    }
    this.#bodyBytes += end - start;
    if (this.#bodyBytes > MAX_BODY_BYTES) this.#fail();
  }

  onEnd(): void {
    const head = this.#head;
    if (head === undefined) return;
    const mustClose = head.close || !this.#target.config.reusesConnection;
    this.#decoder.next();
    const onResult = this.#onResult;
    if (mustClose) this.close();
    this.#onResult = undefined;
    onResult?.(this.#judge(head));
  }

  onProtocolError(): void {
    this.#fail();
  }

  #judge({ status, headers }: ResponseHead): ProbeResult {
    return judgeHttp(this.#probe, {
      status,
      body: Buffer.concat(this.#body),
      isDegraded: headers.has("x-envoy-degraded"),
      serviceName: headers.get("x-envoy-upstream-healthchecked-cluster") ?? "",
    });
  }

  #send(socket: Socket): void {
    this.#decoder.expect(this.#probe.method);
    socket.write(this.#request, "latin1");
  }

  #receive(bytes: Buffer): void {
    // Bytes that answer nothing: the connection is out of step.
    if (this.#onResult === undefined) {
      this.close();
      return;
    }
    const taken = this.#decoder.decode(bytes, 0, bytes.length, this);
    if (taken < bytes.length && this.#onResult === undefined) this.close();
  }

  /** The answer is no answer: as if nobody had been there. */
  #fail(): void {
    const onResult = this.#onResult;
    this.close();
    onResult?.({ kind: "unreachable" });
  }

  #closed(socket: Socket): void {
    if (this.#socket !== socket) return;
    this.#socket = undefined;
    this.#finish({ kind: "unreachable" });
  }

  #finish(result: ProbeResult): void {
    const onResult = this.#onResult;
    this.#onResult = undefined;
    onResult?.(result);
  }
}

function requestText(target: ProbeTarget, probe: HttpProbeConfig): string {
  const { method, path, removedHeaders } = probe;
  const fields: (readonly [string, string])[] = [
    ["host", authorityFor(target, probe.host)],
    ["user-agent", "Envoy/HC"],
    ...probe.headers,
  ];
  if (method === "POST" || method === "PUT" || method === "PATCH") {
    fields.push(["content-length", "0"]);
  }
  const kept = fields.filter(([name]) => name === "host" || !removedHeaders.has(name));
  return `${method} ${path} HTTP/1.1\r\n${kept.map(([n, v]) => `${n}: ${v}\r\n`).join("")}\r\n`;
}
