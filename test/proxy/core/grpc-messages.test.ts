import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { GrpcMessageCounter } from "../../../src/proxy/core/grpc-messages.ts";

function framed(messages: readonly Uint8Array[]): Buffer {
  return Buffer.concat(
    messages.flatMap((message) => {
      const prefix = Buffer.alloc(5);
      prefix.writeUInt32BE(message.length, 1);
      return [prefix, message];
    }),
  );
}

test("messages are counted however the body is cut", () => {
  fc.assert(
    fc.property(
      fc.array(fc.uint8Array({ maxLength: 400 }), { maxLength: 12 }),
      fc.array(fc.nat({ max: 3000 }), { maxLength: 20 }),
      (messages, cuts) => {
        const body = framed(messages);
        const at = [0, ...cuts.filter((cut) => cut < body.length), body.length].sort(
          (a, b) => a - b,
        );
        const counter = new GrpcMessageCounter();
        for (let i = 1; i < at.length; i += 1) counter.add(body, at[i - 1] ?? 0, at[i] ?? 0);
        assert.equal(counter.count, messages.length);
      },
    ),
  );
});

test("a length of four bytes is read whole", () => {
  const counter = new GrpcMessageCounter();
  counter.add(Buffer.from([0, 0xff, 0xff, 0xff, 0xff, 1, 2, 3]), 0, 8);
  counter.add(Buffer.alloc(100_000), 0, 100_000);
  assert.equal(counter.count, 1);
});
