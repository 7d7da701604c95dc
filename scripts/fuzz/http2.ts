import { ConnectionError } from "../../src/proxy/core/http2/frame.ts";
import { FrameReader } from "../../src/proxy/core/http2/frame-reader.ts";
import { CompressionError, HpackDecoder } from "../../src/proxy/core/http2/hpack-decoder.ts";
import { HpackEncoder } from "../../src/proxy/core/http2/hpack-encoder.ts";
import { cut, mutate } from "./mutate.ts";
import type { Random } from "./random.ts";
import { FuzzFailure, type FuzzTarget, promise } from "./target.ts";

const TABLE_BYTES = 4096;
const NAMES = [":method", ":path", ":status", "host", "cookie", "x-id", "content-type", "a"];
const VALUES = ["", "GET", "/", "200", "text/plain", "x".repeat(300), "\xe9", "gzip, br"];

/** Where an encoder writes. */
export class Bytes {
  readonly parts: number[] = [];
  byte(value: number): void {
    this.parts.push(value & 0xff);
  }
  latin1(text: string): void {
    for (const byte of Buffer.from(text, "latin1")) this.parts.push(byte);
  }
}

function blocks(random: Random): { readonly encoded: Buffer[]; readonly fields: string[][] } {
  const encoder = new HpackEncoder();
  const encoded: Buffer[] = [];
  const fields: string[][] = [];
  for (let count = 1 + random.below(4); count > 0; count -= 1) {
    const out = new Bytes();
    const sent: string[] = [];
    encoder.begin(out);
    for (let field = random.below(8); field > 0; field -= 1) {
      const [name, value] = [random.pick(NAMES), random.pick(VALUES)];
      encoder.field(out, name, value);
      sent.push(`${name}: ${value}`);
    }
    encoded.push(Buffer.from(out.parts));
    fields.push(sent);
  }
  return { encoded, fields };
}

const hpack: FuzzTarget = {
  name: "hpack",
  run(random) {
    const { encoded, fields } = blocks(random);
    const decoder = new HpackDecoder(TABLE_BYTES);
    for (const [index, block] of encoded.entries()) {
      const got: string[] = [];
      decoder.decode(block, 0, block.length, ({ name, value }) => got.push(`${name}: ${value}`));
      promise(JSON.stringify(got) === JSON.stringify(fields[index]), "hpack round trip", block);
    }
    const hurt = new HpackDecoder(TABLE_BYTES);
    for (const block of encoded) {
      const input = mutate(
        block,
        encoded.filter((b) => b.length > 0).concat(Buffer.from([0x82])),
        random,
      );
      try {
        hurt.decode(input, 0, input.length, () => {});
      } catch (error) {
        if (!(error instanceof CompressionError)) {
          throw new FuzzFailure("hpack throws something else", input, error);
        }
        return;
      }
    }
  },
};

const FRAMES = [
  "000004040000000000000301000000",
  "00000401050000000182868441",
  "000005000100000001" + "68656c6c6f",
  "00000800080000000103" + "6869000000" + "0000",
  "000008060000000000" + "0102030405060708",
  "00000408000000000000000001",
  "00000403000000000100000008",
].map((hex) => Buffer.from(hex, "hex"));

/** What a reader says about bytes: frames, data by stream, or that the connection is lost. */
function readFrames(pieces: readonly Buffer[], input: Buffer): string {
  const events: string[] = [];
  let data = "";
  const flush = (): void => {
    if (data !== "") events.push(data);
    data = "";
  };
  const reader = new FrameReader();
  try {
    for (const piece of pieces) {
      reader.read(piece, 0, piece.length, {
        onDataStart: (id, bytes, isEnd) => {
          flush();
          data = `data ${id} ${bytes} ${isEnd} `;
        },
        onData: (_id, bytes, start, end) => {
          data += bytes.toString("hex", start, end);
        },
        onFrame: (type, flags, id, bytes, start, end) => {
          flush();
          events.push(`${type} ${flags} ${id} ${bytes.toString("hex", start, end)}`);
        },
      });
    }
  } catch (error) {
    if (!(error instanceof ConnectionError)) {
      throw new FuzzFailure("the frame reader throws something else", input, error);
    }
    flush();
    // How much of a bad frame's data was handed on before depends on the reads.
    return "lost";
  }
  flush();
  return events.join("\n");
}

const frames: FuzzTarget = {
  name: "http2 frames",
  run(random) {
    const stream = Buffer.concat(
      Array.from({ length: 1 + random.below(5) }, () => random.pick(FRAMES)),
    );
    const input = mutate(stream, FRAMES, random);
    const whole = readFrames([input], input);
    const inPieces = readFrames(cut(input, random), input);
    promise(whole === inPieces, `reads decide the frames:\n${whole}\n${inPieces}`, input);
  },
};

/** HTTP/2's two codecs. */
export const HTTP2_TARGETS: readonly FuzzTarget[] = [hpack, frames];
