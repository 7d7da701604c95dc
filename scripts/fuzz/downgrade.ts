import { RequestDecoder } from "../../src/proxy/core/http1/message-decoder.ts";
import { HpackDecoder } from "../../src/proxy/core/http2/hpack-decoder.ts";
import { HpackEncoder } from "../../src/proxy/core/http2/hpack-encoder.ts";
import { HeadBuilder, isProblem } from "../../src/proxy/core/http2/message-head.ts";
import { Bytes } from "./http2.ts";
import { mutate } from "./mutate.ts";
import { type FuzzTarget, promise } from "./target.ts";

const LIMITS = { maxHeadBytes: 61_440, maxHeaders: 100 };
const FIELDS: readonly (readonly [name: string, value: string])[] = [
  [":method", "GET"],
  [":method", "GET / HTTP/1.1\r\nHost: y\r\n\r\nGET"],
  [":path", "/first"],
  [":path", "/first HTTP/1.1\r\nX: y"],
  [":path", "*"],
  [":scheme", "https"],
  [":authority", "x:80"],
  [":authority", "x\r\nTransfer-Encoding: chunked"],
  ["host", "x:80"],
  ["host", "y"],
  ["content-length", "0"],
  ["content-length", "5"],
  ["transfer-encoding", "chunked"],
  ["connection", "keep-alive"],
  ["te", "trailers"],
  ["cookie", "a=b"],
  ["a b", "c"],
  ["a:b", "c"],
  ["a\r\nb", "c"],
  ["x", "y\r\ntransfer-encoding: chunked"],
  ["x", "y\nz"],
  ["x", " y "],
  ["X", "y"],
];
const PIECES = FIELDS.flat().map((text) => Buffer.from(text, "latin1"));

/**
 * H2.TE, H2.CL and their kin (Kettle, HTTP/2: The Sequel is Always Worse, 2021): a head that HTTP/2
 * lets through is one head of HTTP/1, with the same method, target and authority, and nothing behind it.
 */
export const DOWNGRADE: FuzzTarget = {
  name: "http2 heads as http1",
  run(random) {
    const encoder = new HpackEncoder();
    const block = new Bytes();
    const usual = FIELDS.filter(([, value]) => /^(GET|\/first|https|x:80)$/.test(value));
    const chosen = [
      ...usual.filter(([name]) => name.startsWith(":") && random.chance(0.95)),
      ...Array.from({ length: random.below(4) }, () => random.pick(FIELDS)),
    ];
    for (const [name, value] of chosen) {
      const text = random.chance(0.2)
        ? mutate(Buffer.from(value, "latin1"), PIECES, random).toString("latin1")
        : value;
      encoder.field(block, name, text);
    }
    const bytes = Buffer.from(block.parts);
    const builder = new HeadBuilder(LIMITS);
    new HpackDecoder(4096).decode(bytes, 0, bytes.length, builder.add);
    const head = builder.request(random.chance(0.5));
    if (isProblem(head) || head.method === "CONNECT") return;
    const coding = head.framing.kind === "untilClose" || head.framing.kind === "chunked";
    const text = `${head.method} ${head.target} HTTP/1.1\r\n${head.headers.encode()}${coding ? "transfer-encoding: chunked\r\n" : ""}\r\n`;
    const seen: string[] = [];
    const decoder = new RequestDecoder(LIMITS);
    const output = Buffer.from(text, "latin1");
    const taken = decoder.decode(output, 0, output.length, {
      onHead: (again) => seen.push(`${again.method} ${again.target} ${again.authority}`),
      onData: () => seen.push("data"),
      onEnd: () => {},
      onProtocolError: ({ details }) => seen.push(details),
    });
    const wanted = `${head.method} ${head.target} ${head.authority}`;
    promise(
      seen.length === 1 && seen[0] === wanted && taken === output.length,
      `means something else in HTTP/1: ${seen.join(", ")}\n${text}`,
      bytes,
    );
  },
};
