import { encodeChunkSize, encodeLastChunk } from "../../src/proxy/core/http1/encode.ts";
import type { RequestHead, ResponseHead } from "../../src/proxy/core/http1/head-parser.ts";
import type { HeaderBlock } from "../../src/proxy/core/http1/header-block.ts";
import {
  type MessageSink,
  RequestDecoder,
  ResponseDecoder,
} from "../../src/proxy/core/http1/message-decoder.ts";
import type { ProtocolError } from "../../src/proxy/core/http1/protocol-error.ts";
import { CORPUS } from "../../test/proxy/http1/corpus/corpus.ts";
import { cut, mutate } from "./mutate.ts";
import { type FuzzTarget, promise } from "./target.ts";

const LIMITS = { maxHeadBytes: 61_440, maxHeaders: 100 };
/** Long inputs find nothing that short ones do not, and cost the time of many. */
const MAX_SEED_BYTES = 2_000;

const REQUESTS = CORPUS.filter((c) => c.bytes.length < MAX_SEED_BYTES).map((c) =>
  Buffer.from(c.bytes, "latin1"),
);
const RESPONSES = [
  "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc",
  "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX-T: v\r\n\r\n",
  "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204\r\n\r\n",
  "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 0\r\n\r\n",
  "HTTP/1.1 304 Not Modified\r\nETag: x\r\n\r\nHTTP/1.1 200 OK\r\n\r\nuntil the end",
  "HTTP/1.1 503 \r\nKeep-Alive: timeout=5\r\nConnection: close\r\nA:\t b \r\n\r\n",
].map((text) => Buffer.from(text, "latin1"));

type Head = RequestHead | ResponseHead;

/** What a decoder says, in a form that can be compared and written out again. */
class Transcript implements MessageSink<Head> {
  readonly messages: { head: Head; body: string; trailers: string; isWhole: boolean }[] = [];
  /** The error, its wording apart: which of several is found first depends on the reads. */
  isRefused = false;
  /** Events that break the order head, data…, end. */
  disorder: string | undefined;
  error: ProtocolError | undefined;

  onHead(head: Head): void {
    this.#expectWhole("a head inside a message");
    this.messages.push({ head, body: "", trailers: "", isWhole: false });
  }
  onData(bytes: Buffer, start: number, end: number): void {
    const message = this.#current("data");
    if (start >= end) this.disorder ??= "empty data";
    if (message !== undefined) message.body += bytes.toString("latin1", start, end);
  }
  onEnd(trailers: HeaderBlock | undefined): void {
    const message = this.#current("an end");
    if (message === undefined) return;
    message.isWhole = true;
    message.trailers = trailers?.encode() ?? "";
  }
  onProtocolError(error: ProtocolError): void {
    if (this.isRefused) this.disorder ??= "two errors";
    this.isRefused = true;
    this.error = error;
  }

  #current(what: string) {
    if (this.isRefused) this.disorder ??= `${what} behind an error`;
    const message = this.messages.at(-1);
    if (message === undefined || message.isWhole) this.disorder ??= `${what} outside a message`;
    return message;
  }

  #expectWhole(problem: string): void {
    if (this.isRefused) this.disorder ??= "a head behind an error";
    if (this.messages.at(-1)?.isWhole === false) this.disorder ??= problem;
  }

  text(): string {
    const shown = this.messages.map(({ head, body, trailers, isWhole }) => [
      describe(head),
      body,
      trailers,
      isWhole,
    ]);
    return JSON.stringify([shown, this.isRefused]);
  }
}

function describe(head: Head): unknown {
  const { headers, framing } = head;
  const line =
    "method" in head
      ? [head.method, head.target, head.authority, head.close, head.upgrade, head.expectsContinue]
      : [head.status, head.reason, head.close];
  return [line, headers.entries(), framing];
}

type Decoder = RequestDecoder | ResponseDecoder;

function decode(create: () => Decoder, pieces: readonly Buffer[]): Transcript {
  const transcript = new Transcript();
  const decoder = create();
  for (const piece of pieces) {
    for (let offset = 0; offset < piece.length; ) {
      const next = decoder.decode(piece, offset, piece.length, transcript);
      if (decoder.hasFailed) return transcript;
      if (decoder.isDone) decoder.next();
      else if (next === offset) {
        transcript.disorder ??= "the decoder takes nothing";
        return transcript;
      }
      offset = next;
    }
  }
  return transcript;
}

function createTarget(
  name: string,
  create: () => Decoder,
  seeds: readonly Buffer[],
  write: (transcript: Transcript) => string,
): FuzzTarget {
  return {
    name,
    run(random) {
      const input = mutate(random.pick(seeds), seeds, random);
      const whole = decode(create, [input]);
      promise(whole.disorder === undefined, whole.disorder ?? "", input);
      const inPieces = decode(create, cut(input, random));
      promise(
        inPieces.text() === whole.text(),
        `reads decide the result:\n${whole.text()}\n${inPieces.text()}`,
        input,
      );
      // What goes out must mean the same to the next hop.
      const output = Buffer.from(write(whole), "latin1");
      const again = decode(create, [output]);
      promise(!again.isRefused, `own output refused (${again.error?.details}):\n${output}`, input);
      const [before, after] = [whole, again].map((t) => t.messages.filter((m) => m.isWhole));
      promise(
        before?.length === after?.length &&
          before?.every((m, i) => isSameMessage(m, after?.[i])) === true,
        `own output means something else:\n${output}`,
        input,
      );
    },
  };
}

type Message = Transcript["messages"][number];

/** Hop-by-hop fields and framing apart, which belong to the connection. */
function isSameMessage(a: Message, b: Message | undefined): boolean {
  if (b === undefined || a.body !== b.body || a.trailers !== b.trailers) return false;
  const own = (m: Message) =>
    JSON.stringify(m.head.headers.entries().filter(([name]) => name !== "content-length"));
  if (own(a) !== own(b)) return false;
  if ("method" in a.head && "method" in b.head) {
    return a.head.method === b.head.method && a.head.target === b.head.target;
  }
  return "status" in a.head && "status" in b.head && a.head.status === b.head.status;
}

function writeRequests({ messages }: Transcript): string {
  let out = "";
  for (const { head, body, trailers, isWhole } of messages) {
    if (!isWhole || !("method" in head)) break;
    out += `${head.method} ${head.target} HTTP/1.1\r\n${encodeFields(head)}`;
    out += encodeBody(head, body, trailers);
  }
  return out;
}

function writeResponses({ messages }: Transcript): string {
  let out = "";
  for (const { head, body, trailers, isWhole } of messages) {
    if (!isWhole || !("status" in head)) break;
    out += `HTTP/1.1 ${head.status}${head.reason}\r\n${encodeFields(head)}`;
    out += encodeBody(head, body, trailers);
  }
  return out;
}

function isChunked(head: Head): boolean {
  // RFC 9112 §6.3.1: these end with their head, whatever their fields say.
  const isBodiless = "status" in head && (head.status === 204 || head.status === 304);
  return head.framing.kind === "chunked" && !isBodiless;
}

function encodeFields(head: Head): string {
  const coding = isChunked(head) ? "transfer-encoding: chunked\r\n" : "";
  return `${head.headers.encode()}${coding}\r\n`;
}

function encodeBody(head: Head, body: string, trailers: string): string {
  if (!isChunked(head)) return body;
  const chunk = body === "" ? "" : `${encodeChunkSize(body.length)}${body}\r\n`;
  // As encodeLastChunk writes them; here they are text already.
  const end = trailers === "" ? encodeLastChunk(undefined) : `0\r\n${trailers}\r\n`;
  return chunk + end;
}

/** HTTP/1 from both sides: the same whatever the reads, and what is written reads the same again. */
export const HTTP1_TARGETS: readonly FuzzTarget[] = [
  createTarget("http1 requests", () => new RequestDecoder(LIMITS), REQUESTS, writeRequests),
  createTarget("http1 responses", () => new ResponseDecoder(LIMITS), RESPONSES, writeResponses),
];
