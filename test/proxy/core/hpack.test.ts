import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { HpackDecoder } from "../../../src/proxy/core/http2/hpack-decoder.ts";
import { HpackEncoder } from "../../../src/proxy/core/http2/hpack-encoder.ts";

type Field = readonly [name: string, value: string];

class Bytes {
  #bytes: number[] = [];
  byte(value: number): void {
    this.#bytes.push(value);
  }
  latin1(text: string): void {
    for (const byte of Buffer.from(text, "latin1")) this.#bytes.push(byte);
  }
  take(): Buffer {
    const out = Buffer.from(this.#bytes);
    this.#bytes = [];
    return out;
  }
}

function decodeAll(decoder: HpackDecoder, bytes: Buffer): Field[] {
  const fields: Field[] = [];
  decoder.decode(bytes, 0, bytes.length, ({ name, value }) => fields.push([name, value]));
  return fields;
}

const hex = (text: string): Buffer => Buffer.from(text.replaceAll(/\s/g, ""), "hex");

// RFC 7541, appendix C.4 and C.6: one connection each, three messages.
const EXAMPLES: readonly {
  readonly name: string;
  readonly tableBytes: number;
  readonly messages: readonly (readonly [bytes: string, fields: readonly Field[]])[];
}[] = [
  {
    name: "C.4: requests with Huffman coding",
    tableBytes: 4096,
    messages: [
      [
        "8286 8441 8cf1 e3c2 e5f2 3a6b a0ab 90f4 ff",
        [
          [":method", "GET"],
          [":scheme", "http"],
          [":path", "/"],
          [":authority", "www.example.com"],
        ],
      ],
      [
        "8286 84be 5886 a8eb 1064 9cbf",
        [
          [":method", "GET"],
          [":scheme", "http"],
          [":path", "/"],
          [":authority", "www.example.com"],
          ["cache-control", "no-cache"],
        ],
      ],
      [
        "8287 85bf 4088 25a8 49e9 5ba9 7d7f 8925 a849 e95b b8e8 b4bf",
        [
          [":method", "GET"],
          [":scheme", "https"],
          [":path", "/index.html"],
          [":authority", "www.example.com"],
          ["custom-key", "custom-value"],
        ],
      ],
    ],
  },
  {
    name: "C.6: responses with Huffman coding, with evictions",
    tableBytes: 256,
    messages: [
      [
        "4882 6402 5885 aec3 771a 4b61 96d0 7abe 9410 54d4 44a8 2005 9504 0b81 66e0 82a6 2d1b ff6e 919d 29ad 1718 63c7 8f0b 97c8 e9ae 82ae 43d3",
        [
          [":status", "302"],
          ["cache-control", "private"],
          ["date", "Mon, 21 Oct 2013 20:13:21 GMT"],
          ["location", "https://www.example.com"],
        ],
      ],
      [
        "4883 640e ffc1 c0bf",
        [
          [":status", "307"],
          ["cache-control", "private"],
          ["date", "Mon, 21 Oct 2013 20:13:21 GMT"],
          ["location", "https://www.example.com"],
        ],
      ],
      [
        "88c1 6196 d07a be94 1054 d444 a820 0595 040b 8166 e084 a62d 1bff c05a 839b d9ab 77ad 94e7 821d d7f2 e6c7 b335 dfdf cd5b 3960 d5af 2708 7f36 72c1 ab27 0fb5 291f 9587 3160 65c0 03ed 4ee5 b106 3d50 07",
        [
          [":status", "200"],
          ["cache-control", "private"],
          ["date", "Mon, 21 Oct 2013 20:13:22 GMT"],
          ["location", "https://www.example.com"],
          ["content-encoding", "gzip"],
          ["set-cookie", "foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1"],
        ],
      ],
    ],
  },
];

for (const { name, tableBytes, messages } of EXAMPLES) {
  test(`RFC 7541 ${name}`, () => {
    const decoder = new HpackDecoder(tableBytes);
    for (const [bytes, fields] of messages) {
      assert.deepEqual(decodeAll(decoder, hex(bytes)), fields);
    }
  });
}

const fieldOf = fc.tuple(
  fc.oneof(
    fc.constantFrom(":status", ":path", "content-type", "x-a", "set-cookie", "date", "server"),
    fc.stringMatching(/^[a-z][a-z0-9-]{0,40}$/),
  ),
  fc.oneof(
    fc.constantFrom("", "200", "a", "b", "application/grpc"),
    fc.stringMatching(/^[!-~]{0,300}$/),
  ),
);

test("what is encoded is decoded, message after message, through evictions and new limits", () => {
  const step = fc.record({
    fields: fc.array(fieldOf, { maxLength: 30 }),
    limit: fc.option(fc.constantFrom(0, 100, 1000, 4096, 65_536), { nil: undefined, freq: 4 }),
  });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 25 }), (steps) => {
      const encoder = new HpackEncoder();
      const decoder = new HpackDecoder(4096);
      const out = new Bytes();
      for (const { fields, limit } of steps) {
        if (limit !== undefined) encoder.setMaxTableBytes(limit);
        encoder.begin(out);
        for (const [name, value] of fields) encoder.field(out, name, value);
        assert.deepEqual(decodeAll(decoder, out.take()), fields);
      }
    }),
    { numRuns: 300 },
  );
});

test("a field that repeats costs one byte, one that changes does not fill the table", () => {
  const encoder = new HpackEncoder();
  const out = new Bytes();
  const encode = (value: string): number => {
    encoder.begin(out);
    encoder.field(out, "x-request-id", value);
    return out.take().length;
  };
  assert.deepEqual(
    [encode("same") > 10, encode("same") > 10, encode("same"), encode("same")],
    [true, true, 1, 1],
  );
  for (let index = 0; index < 500; index += 1) encode(`id-${index}`);
  assert.equal(encode("same"), 1, "still in the table");
});

test("credentials are never indexed", () => {
  const encoder = new HpackEncoder();
  const out = new Bytes();
  for (let index = 0; index < 3; index += 1) {
    encoder.begin(out);
    encoder.field(out, "authorization", "Bearer secret");
    const bytes = out.take();
    // §6.2.3: the pattern 0001.
    assert.equal((bytes[0] ?? 0) >> 4, 1);
  }
});

test("no bytes make the decoder do anything but decode or throw CompressionError", () => {
  fc.assert(
    fc.property(fc.array(fc.uint8Array({ maxLength: 200 }), { maxLength: 5 }), (blocks) => {
      const decoder = new HpackDecoder(4096);
      for (const bytes of blocks) {
        try {
          decodeAll(decoder, Buffer.from(bytes));
        } catch (error) {
          assert.equal((error as Error).constructor.name, "CompressionError");
          return;
        }
      }
    }),
    { numRuns: 2000 },
  );
});
