import assert from "node:assert/strict";
import { type TestContext, test } from "node:test";
import {
  cluster,
  endpoint,
  forwardTo,
  httpConfig,
  type ProxyFixture,
  route,
  startHttp,
  startProxy,
} from "../../support/proxy-fixture.ts";
import {
  block,
  frame,
  frameClient,
  GET,
  goawayCode,
  headers,
  POST,
  PREFACE,
  resetCode,
  SETTINGS,
} from "./frames.ts";

const PROTOCOL = 1;
const FLOW_CONTROL = 3;
const STREAM_CLOSED = 5;
const FRAME_SIZE = 6;
const COMPRESSION = 9;
const CALM = 11;

/** What must happen: the end of the connection, of stream 1 or 3, or an answer on stream 1 or 3. */
type Expected =
  | { readonly goaway: number }
  | { readonly reset: number; readonly stream?: number }
  | { readonly answer: number }
  | { readonly pingAck: string }
  | { readonly settingsAck: true };

interface Case {
  readonly section: string;
  readonly name: string;
  /** Sent after the preface and SETTINGS. */
  readonly send: readonly Buffer[];
  /** Instead of preface and SETTINGS. */
  readonly hello?: Buffer;
  readonly expect: Expected;
}

const window = (streamId: number, increment: number): Buffer => {
  const payload = Buffer.alloc(4);
  payload.writeUInt32BE(increment);
  return frame(8, 0, streamId, payload);
};
const setting = (id: number, value: number): Buffer => {
  const payload = Buffer.alloc(6);
  payload.writeUInt16BE(id);
  payload.writeUInt32BE(value, 2);
  return frame(4, 0, 0, payload);
};
const without = (
  name: string,
  fields: readonly (readonly [string, string])[] = GET,
): readonly (readonly [string, string])[] => fields.filter(([key]) => key !== name);
const data = (streamId: number, text: string, flags = 0): Buffer =>
  frame(0, flags, streamId, Buffer.from(text));
const large = (bytes: number): Buffer => Buffer.alloc(bytes, 0);
/** A request answered at once: stream 1 is closed on both sides by the time of the next frame. */
const REJECTED = { reset: PROTOCOL } as const;

const CASES: readonly Case[] = [
  // Starting
  {
    section: "3.4",
    name: "a wrong preface",
    hello: Buffer.from("PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n"),
    send: [SETTINGS],
    expect: { goaway: PROTOCOL },
  },
  {
    section: "3.4",
    name: "no SETTINGS first",
    hello: PREFACE,
    send: [frame(6, 0, 0, "0011223344556677")],
    expect: { goaway: PROTOCOL },
  },
  {
    section: "3.4",
    name: "an acknowledgement first",
    hello: PREFACE,
    send: [frame(4, 1, 0)],
    expect: { goaway: PROTOCOL },
  },
  {
    section: "3.4",
    name: "a request right after the preface",
    send: [headers(1, GET)],
    expect: { answer: 1 },
  },
  // Frames
  {
    section: "4.1",
    name: "an unknown frame type is ignored",
    send: [frame(0x16, 0xff, 0, "00000000"), headers(1, GET)],
    expect: { answer: 1 },
  },
  {
    section: "4.1",
    name: "undefined flags are ignored",
    send: [frame(6, 0x16, 0, "0000000000000001")],
    expect: { pingAck: "0000000000000001" },
  },
  {
    section: "4.1",
    name: "the reserved bit of the stream identifier is ignored",
    send: [frame(6, 0, 0x80000000, "0000000000000002")],
    expect: { pingAck: "0000000000000002" },
  },
  {
    section: "4.2",
    name: "DATA of 2^14 bytes",
    send: [headers(1, POST, "open"), frame(0, 1, 1, large(16_384))],
    expect: { answer: 1 },
  },
  {
    section: "4.2",
    name: "DATA above the announced frame size",
    send: [headers(1, POST, "open"), frame(0, 1, 1, large(16_385))],
    expect: { goaway: FRAME_SIZE },
  },
  {
    section: "4.2",
    name: "HEADERS above the announced frame size",
    send: [frame(1, 5, 1, large(16_385))],
    expect: { goaway: FRAME_SIZE },
  },
  {
    section: "4.3",
    name: "an invalid header block fragment",
    send: [frame(1, 5, 1, "00 85f2b24a84ff8449509ff")],
    expect: { goaway: COMPRESSION },
  },
  {
    section: "4.3",
    name: "PRIORITY inside a header block",
    send: [frame(1, 1, 1, block(...GET)), frame(2, 0, 1, "0000000000"), frame(9, 4, 1)],
    expect: { goaway: PROTOCOL },
  },
  {
    section: "4.3",
    name: "HEADERS of another stream inside a header block",
    send: [frame(1, 1, 1, block(...GET)), headers(3, GET)],
    expect: { goaway: PROTOCOL },
  },
  // Stream states
  {
    section: "5.1",
    name: "DATA on an idle stream",
    send: [data(1, "x", 1)],
    expect: { goaway: PROTOCOL },
  },
  {
    section: "5.1",
    name: "RST_STREAM on an idle stream",
    send: [frame(3, 0, 1, "00000008")],
    expect: { goaway: PROTOCOL },
  },
  {
    section: "5.1",
    name: "WINDOW_UPDATE on an idle stream",
    send: [window(1, 100)],
    expect: { goaway: PROTOCOL },
  },
  {
    section: "5.1",
    name: "CONTINUATION on an idle stream",
    send: [frame(9, 4, 1, block(...GET))],
    expect: { goaway: PROTOCOL },
  },
  {
    section: "5.1",
    name: "DATA after END_STREAM",
    send: [headers(1, [...without(":path"), [":path", "/wait"]]), data(1, "x", 1)],
    expect: { reset: STREAM_CLOSED },
  },
  {
    section: "5.1",
    name: "HEADERS after END_STREAM",
    send: [headers(1, [...without(":path"), [":path", "/wait"]]), headers(1, GET)],
    expect: { reset: STREAM_CLOSED },
  },
  {
    section: "5.1",
    name: "DATA after RST_STREAM",
    send: [headers(1, POST, "open"), frame(3, 0, 1, "00000008"), data(1, "x", 1)],
    expect: { reset: STREAM_CLOSED },
  },
  {
    section: "5.1",
    name: "HEADERS after RST_STREAM",
    send: [headers(1, POST, "open"), frame(3, 0, 1, "00000008"), headers(1, GET)],
    expect: { goaway: STREAM_CLOSED },
  },
  {
    section: "5.1",
    name: "CONTINUATION after RST_STREAM",
    send: [headers(1, POST, "open"), frame(3, 0, 1, "00000008"), frame(9, 4, 1, block(...GET))],
    expect: { goaway: PROTOCOL },
  },
  {
    section: "5.1",
    name: "WINDOW_UPDATE on a stream just closed is allowed",
    send: [headers(1, POST, "open"), frame(3, 0, 1, "00000008"), window(1, 1), headers(3, GET)],
    expect: { answer: 3 },
  },
  {
    section: "5.1",
    name: "RST_STREAM on a stream just closed is allowed",
    send: [
      headers(1, POST, "open"),
      frame(3, 0, 1, "00000008"),
      frame(3, 0, 1, "00000008"),
      headers(3, GET),
    ],
    expect: { answer: 3 },
  },
  {
    section: "5.1",
    name: "PRIORITY on a closed stream is allowed",
    send: [
      headers(1, POST, "open"),
      frame(3, 0, 1, "00000008"),
      frame(2, 0, 1, "0000000000"),
      headers(3, GET),
    ],
    expect: { answer: 3 },
  },
  {
    section: "5.1",
    name: "PRIORITY on an idle stream is allowed",
    send: [frame(2, 0, 1, "0000000010"), headers(1, GET)],
    expect: { answer: 1 },
  },
  {
    section: "5.1.1",
    name: "an even stream identifier",
    send: [headers(2, GET)],
    expect: { goaway: PROTOCOL },
  },
  {
    section: "5.1.1",
    name: "a stream identifier below the last",
    send: [headers(5, GET), headers(3, GET)],
    expect: { goaway: STREAM_CLOSED },
  },
  {
    section: "5.1.2",
    name: "more streams than announced",
    send: [...Array.from({ length: 5 }, (_, i) => headers(2 * i + 1, POST, "open"))],
    expect: { reset: 7, stream: 9 },
  },
  {
    section: "5.3.1",
    name: "HEADERS that depend on themselves",
    send: [frame(1, 0x25, 1, Buffer.concat([Buffer.from([0, 0, 0, 1, 255]), block(...GET)]))],
    expect: { goaway: PROTOCOL },
  },
  {
    section: "5.3.1",
    name: "PRIORITY that depends on itself, idle",
    send: [frame(2, 0, 1, "00000001ff")],
    expect: { goaway: PROTOCOL },
  },
  {
    section: "5.3.1",
    name: "PRIORITY that depends on itself, open",
    send: [headers(1, POST, "open"), frame(2, 0, 1, "00000001ff")],
    expect: REJECTED,
  },
  // DATA
  { section: "6.1", name: "DATA on stream 0", send: [data(0, "x")], expect: { goaway: PROTOCOL } },
  {
    section: "6.1",
    name: "DATA with padding as long as the payload",
    send: [headers(1, POST, "open"), frame(0, 9, 1, "05 00000000")],
    expect: { goaway: PROTOCOL },
  },
  {
    section: "6.1",
    name: "DATA with padding",
    send: [headers(1, POST, "open"), frame(0, 9, 1, "03 6162 000000")],
    expect: { answer: 1 },
  },
  {
    section: "6.1",
    name: "DATA that is padding only",
    send: [headers(1, POST, "open"), frame(0, 9, 1, "03 000000")],
    expect: { answer: 1 },
  },
  {
    section: "6.1",
    name: "padded DATA without a pad length",
    send: [headers(1, POST, "open"), frame(0, 9, 1)],
    expect: { goaway: FRAME_SIZE },
  },
  // HEADERS
  {
    section: "6.2",
    name: "HEADERS on stream 0",
    send: [headers(0, GET)],
    expect: { goaway: PROTOCOL },
  },
  {
    section: "6.2",
    name: "HEADERS with too much padding",
    send: [frame(1, 0xd, 1, Buffer.concat([Buffer.from([200]), block(...GET)]))],
    expect: { goaway: PROTOCOL },
  },
  {
    section: "6.2",
    name: "HEADERS with padding and priority",
    send: [
      frame(
        1,
        0x2d,
        1,
        Buffer.concat([Buffer.from([2, 0, 0, 0, 0, 15]), block(...GET), Buffer.alloc(2)]),
      ),
    ],
    expect: { answer: 1 },
  },
  {
    section: "6.2",
    name: "HEADERS with the priority flag and no priority",
    send: [frame(1, 0x25, 1, "0000")],
    expect: { goaway: FRAME_SIZE },
  },
  {
    section: "6.2",
    name: "padded HEADERS without a pad length",
    send: [frame(1, 0xd, 1)],
    expect: { goaway: FRAME_SIZE },
  },
  {
    section: "6.2",
    name: "a block in CONTINUATION frames",
    send: [
      frame(1, 1, 1, block(...GET).subarray(0, 9)),
      frame(9, 0, 1, block(...GET).subarray(9, 20)),
      frame(9, 4, 1, block(...GET).subarray(20)),
    ],
    expect: { answer: 1 },
  },
  // PRIORITY, RST_STREAM
  {
    section: "6.3",
    name: "PRIORITY on stream 0",
    send: [frame(2, 0, 0, "0000000000")],
    expect: { goaway: PROTOCOL },
  },
  {
    section: "6.3",
    name: "PRIORITY of a wrong size",
    send: [headers(1, POST, "open"), frame(2, 0, 1, "00000000")],
    expect: { reset: FRAME_SIZE },
  },
  {
    section: "6.4",
    name: "RST_STREAM on stream 0",
    send: [frame(3, 0, 0, "00000008")],
    expect: { goaway: PROTOCOL },
  },
  {
    section: "6.4",
    name: "RST_STREAM of a wrong size",
    send: [headers(1, POST, "open"), frame(3, 0, 1, "000008")],
    expect: { goaway: FRAME_SIZE },
  },
  // SETTINGS
  {
    section: "6.5",
    name: "SETTINGS are acknowledged",
    send: [setting(3, 10)],
    expect: { settingsAck: true },
  },
  {
    section: "6.5",
    name: "an acknowledgement with payload",
    send: [frame(4, 1, 0, "000300000064")],
    expect: { goaway: FRAME_SIZE },
  },
  {
    section: "6.5",
    name: "SETTINGS on a stream",
    send: [frame(4, 0, 1, "000300000064")],
    expect: { goaway: PROTOCOL },
  },
  {
    section: "6.5",
    name: "SETTINGS of a wrong size",
    send: [frame(4, 0, 0, "000300000")],
    expect: { goaway: FRAME_SIZE },
  },
  {
    section: "6.5.2",
    name: "ENABLE_PUSH other than 0 and 1",
    send: [setting(2, 2)],
    expect: { goaway: PROTOCOL },
  },
  {
    section: "6.5.2",
    name: "INITIAL_WINDOW_SIZE above 2^31-1",
    send: [setting(4, 0x80000000)],
    expect: { goaway: FLOW_CONTROL },
  },
  {
    section: "6.5.2",
    name: "MAX_FRAME_SIZE below 2^14",
    send: [setting(5, 16_383)],
    expect: { goaway: PROTOCOL },
  },
  {
    section: "6.5.2",
    name: "MAX_FRAME_SIZE above 2^24-1",
    send: [setting(5, 16_777_216)],
    expect: { goaway: PROTOCOL },
  },
  {
    section: "6.5.2",
    name: "an unknown setting is ignored",
    send: [setting(0xff, 1), headers(1, GET)],
    expect: { answer: 1 },
  },
  {
    section: "6.6",
    name: "PUSH_PROMISE from a client",
    send: [frame(5, 4, 1, Buffer.concat([Buffer.from([0, 0, 0, 2]), block(...GET)]))],
    expect: { goaway: PROTOCOL },
  },
  // PING, GOAWAY
  {
    section: "6.7",
    name: "PING is answered",
    send: [frame(6, 0, 0, "68326d657368ffff")],
    expect: { pingAck: "68326d657368ffff" },
  },
  {
    section: "6.7",
    name: "an acknowledged PING is not answered",
    send: [frame(6, 1, 0, "0000000000000009"), frame(6, 0, 0, "0000000000000003")],
    expect: { pingAck: "0000000000000003" },
  },
  {
    section: "6.7",
    name: "PING on a stream",
    send: [frame(6, 0, 1, "0000000000000000")],
    expect: { goaway: PROTOCOL },
  },
  {
    section: "6.7",
    name: "PING of a wrong size",
    send: [frame(6, 0, 0, "000000000000")],
    expect: { goaway: FRAME_SIZE },
  },
  {
    section: "6.8",
    name: "GOAWAY on a stream",
    send: [frame(7, 0, 1, "0000000000000000")],
    expect: { goaway: PROTOCOL },
  },
  {
    section: "6.8",
    name: "GOAWAY too short",
    send: [frame(7, 0, 0, "00000000")],
    expect: { goaway: FRAME_SIZE },
  },
  // Flow control
  {
    section: "6.9",
    name: "WINDOW_UPDATE by 0 on the connection",
    send: [window(0, 0)],
    expect: { goaway: PROTOCOL },
  },
  {
    section: "6.9",
    name: "WINDOW_UPDATE by 0 on a stream",
    send: [headers(1, POST, "open"), window(1, 0)],
    expect: REJECTED,
  },
  {
    section: "6.9",
    name: "WINDOW_UPDATE of a wrong size",
    send: [frame(8, 0, 0, "000001")],
    expect: { goaway: FRAME_SIZE },
  },
  {
    section: "6.9.1",
    name: "the connection window above 2^31-1",
    send: [window(0, 0x7fffffff), window(0, 0x7fffffff)],
    expect: { goaway: FLOW_CONTROL },
  },
  {
    section: "6.9.1",
    name: "a stream window above 2^31-1",
    send: [headers(1, POST, "open"), window(1, 0x7fffffff), window(1, 0x7fffffff)],
    expect: { reset: FLOW_CONTROL },
  },
  {
    section: "6.9.1",
    name: "a body larger than its window",
    send: [
      headers(1, [...without(":path", POST), [":path", "/wait"]], "open"),
      ...Array.from({ length: 1500 }, () => frame(0, 0, 1, large(16_384))),
    ],
    expect: { reset: FLOW_CONTROL },
  },
  {
    section: "6.9.2",
    name: "a negative window by SETTINGS, then enough of it",
    send: [setting(4, 0), headers(1, GET), setting(4, 1), setting(4, 65_535)],
    expect: { answer: 1 },
  },
  {
    section: "6.9.2",
    name: "a stream window above 2^31-1 by SETTINGS",
    send: [headers(1, POST, "open"), window(1, 0x7fff0000), setting(4, 0x7fffffff)],
    expect: { goaway: FLOW_CONTROL },
  },
  {
    section: "6.10",
    name: "CONTINUATION without a header block",
    send: [headers(1, POST, "open"), frame(9, 4, 1, block(["x", "y"]))],
    expect: { goaway: PROTOCOL },
  },
  {
    section: "6.10",
    name: "CONTINUATION on stream 0",
    send: [frame(1, 1, 1, block(...GET)), frame(9, 4, 0, block(["x", "y"]))],
    expect: { goaway: PROTOCOL },
  },
  {
    section: "6.10",
    name: "CONTINUATION after END_HEADERS",
    send: [frame(1, 5, 1, block(...GET)), frame(9, 4, 1, block(["x", "y"]))],
    expect: { goaway: PROTOCOL },
  },
  {
    section: "6.10",
    name: "DATA inside a header block",
    send: [frame(1, 0, 1, block(...POST)), data(1, "x", 1)],
    expect: { goaway: PROTOCOL },
  },
  {
    section: "6.10",
    name: "CONTINUATION of another stream",
    send: [frame(1, 1, 1, block(...GET)), frame(9, 4, 3, block(["x", "y"]))],
    expect: { goaway: PROTOCOL },
  },
  {
    section: "CVE-2024-27316",
    name: "CONTINUATION without end",
    send: [
      frame(1, 1, 1, block(...GET)),
      ...Array.from({ length: 100 }, () => frame(9, 0, 1, block(["x", "y"]))),
    ],
    expect: { goaway: CALM },
  },
  {
    section: "CVE-2024-27316",
    name: "CONTINUATION frames without bytes",
    send: [frame(1, 1, 1, block(...GET)), ...Array.from({ length: 100 }, () => frame(9, 0, 1))],
    expect: { goaway: CALM },
  },
  {
    section: "CVE-2019-9518",
    name: "empty DATA frames",
    send: [headers(1, POST, "open"), ...Array.from({ length: 50 }, () => frame(0, 0, 1))],
    expect: { goaway: CALM },
  },
  {
    section: "CVE-2019-9513",
    name: "PRIORITY frames",
    send: Array.from({ length: 500 }, () => frame(2, 0, 1, "0000000010")),
    expect: { goaway: CALM },
  },
  {
    section: "CVE-2023-44487",
    name: "streams opened and reset at once",
    send: Array.from({ length: 600 }, (_, i) =>
      Buffer.concat([headers(2 * i + 1, POST, "open"), frame(3, 0, 2 * i + 1, "00000008")]),
    ),
    expect: { goaway: CALM },
  },
  {
    section: "6.9",
    name: "WINDOW_UPDATE frames without reason",
    send: Array.from({ length: 3000 }, () => window(0, 1)),
    expect: { goaway: CALM },
  },
  // Messages
  {
    section: "8.1",
    name: "trailers without END_STREAM",
    send: [headers(1, POST, "open"), headers(1, [["x", "y"]], "open")],
    expect: REJECTED,
  },
  {
    section: "8.1",
    name: "trailers",
    send: [headers(1, POST, "open"), data(1, "x"), headers(1, [["x", "y"]])],
    expect: { answer: 1 },
  },
  {
    section: "8.1.1",
    name: "pseudo fields in trailers",
    send: [headers(1, POST, "open"), data(1, "x"), headers(1, [[":method", "GET"]])],
    expect: REJECTED,
  },
  {
    section: "8.1.1",
    name: "less DATA than content-length",
    send: [headers(1, [...POST, ["content-length", "5"]], "open"), data(1, "x", 1)],
    expect: REJECTED,
  },
  {
    section: "8.1.1",
    name: "more DATA than content-length",
    send: [headers(1, [...POST, ["content-length", "1"]], "open"), data(1, "xx", 1)],
    expect: REJECTED,
  },
  {
    section: "8.1.1",
    name: "less DATA than content-length, in two frames",
    send: [headers(1, [...POST, ["content-length", "5"]], "open"), data(1, "x"), data(1, "x", 1)],
    expect: REJECTED,
  },
  {
    section: "8.1.1",
    name: "a content-length and no body",
    send: [headers(1, [...POST, ["content-length", "5"]])],
    expect: REJECTED,
  },
  {
    section: "8.1.1",
    name: "less DATA than content-length, ended by trailers",
    send: [
      headers(1, [...POST, ["content-length", "5"]], "open"),
      data(1, "x"),
      headers(1, [["x", "y"]]),
    ],
    expect: REJECTED,
  },
  {
    section: "8.1.1",
    name: "two content-lengths",
    send: [
      headers(1, [...POST, ["content-length", "1"], ["content-length", "2"]], "open"),
      data(1, "x", 1),
    ],
    expect: REJECTED,
  },
  {
    section: "8.1.1",
    name: "a content-length that is no number",
    send: [headers(1, [...POST, ["content-length", "+1"]], "open"), data(1, "x", 1)],
    expect: REJECTED,
  },
  {
    section: "8.2",
    name: "an upper-case field name",
    send: [headers(1, [...GET, ["X-TEST", "ok"]])],
    expect: REJECTED,
  },
  {
    section: "8.2",
    name: "a field name with a space",
    send: [headers(1, [...GET, ["x test", "ok"]])],
    expect: REJECTED,
  },
  {
    section: "8.2",
    name: "an empty field name",
    send: [headers(1, [...GET, ["", "ok"]])],
    expect: REJECTED,
  },
  {
    section: "8.2",
    name: "a field name with a colon inside",
    send: [headers(1, [...GET, ["x:y", "ok"]])],
    expect: REJECTED,
  },
  {
    section: "8.2",
    name: "a line feed in a value",
    send: [headers(1, [...GET, ["x", "a\nb: c"]])],
    expect: REJECTED,
  },
  {
    section: "8.2",
    name: "a carriage return in a value",
    send: [headers(1, [...GET, ["x", "a\r"]])],
    expect: REJECTED,
  },
  {
    section: "8.2",
    name: "a NUL in a value",
    send: [headers(1, [...GET, ["x", "a\0b"]])],
    expect: REJECTED,
  },
  {
    section: "8.2",
    name: "a value that begins with a space",
    send: [headers(1, [...GET, ["x", " a"]])],
    expect: REJECTED,
  },
  {
    section: "8.2",
    name: "a value that ends in a tab",
    send: [headers(1, [...GET, ["x", "a\t"]])],
    expect: REJECTED,
  },
  {
    section: "8.2.2",
    name: "connection",
    send: [headers(1, [...GET, ["connection", "keep-alive"]])],
    expect: REJECTED,
  },
  {
    section: "8.2.2",
    name: "transfer-encoding",
    send: [headers(1, [...POST, ["transfer-encoding", "chunked"]], "open")],
    expect: REJECTED,
  },
  {
    section: "8.2.2",
    name: "upgrade",
    send: [headers(1, [...GET, ["upgrade", "websocket"]])],
    expect: REJECTED,
  },
  {
    section: "8.2.2",
    name: "keep-alive",
    send: [headers(1, [...GET, ["keep-alive", "1"]])],
    expect: REJECTED,
  },
  {
    section: "8.2.2",
    name: "proxy-connection",
    send: [headers(1, [...GET, ["proxy-connection", "close"]])],
    expect: REJECTED,
  },
  {
    section: "8.2.2",
    name: "te other than trailers",
    send: [headers(1, [...GET, ["te", "gzip"]])],
    expect: REJECTED,
  },
  {
    section: "8.2.2",
    name: "te: trailers",
    send: [headers(1, [...GET, ["te", "trailers"]])],
    expect: { answer: 1 },
  },
  {
    section: "8.3",
    name: "an unknown pseudo field",
    send: [headers(1, [...GET, [":test", "ok"]])],
    expect: REJECTED,
  },
  {
    section: "8.3",
    name: "a response's pseudo field",
    send: [headers(1, [...GET, [":status", "200"]])],
    expect: REJECTED,
  },
  {
    section: "8.3",
    name: "a pseudo field behind a regular one",
    send: [headers(1, [["x", "y"], ...GET])],
    expect: REJECTED,
  },
  {
    section: "8.3.1",
    name: "no :method",
    send: [headers(1, without(":method"))],
    expect: REJECTED,
  },
  {
    section: "8.3.1",
    name: "no :scheme",
    send: [headers(1, without(":scheme"))],
    expect: REJECTED,
  },
  { section: "8.3.1", name: "no :path", send: [headers(1, without(":path"))], expect: REJECTED },
  {
    section: "8.3.1",
    name: "an empty :path",
    send: [headers(1, [...without(":path"), [":path", ""]])],
    expect: REJECTED,
  },
  {
    section: "8.3.1",
    name: "a :path that is no path",
    send: [headers(1, [...without(":path"), [":path", "a/b"]])],
    expect: REJECTED,
  },
  {
    section: "8.3.1",
    name: "a :path with a space",
    send: [headers(1, [...without(":path"), [":path", "/a b"]])],
    expect: REJECTED,
  },
  {
    section: "8.3.1",
    name: "a :path with a fragment",
    send: [headers(1, [...without(":path"), [":path", "/a#b"]])],
    expect: REJECTED,
  },
  {
    section: "8.3.1",
    name: "two :method",
    send: [headers(1, [...GET, [":method", "GET"]])],
    expect: REJECTED,
  },
  {
    section: "8.3.1",
    name: "two :scheme",
    send: [headers(1, [[":scheme", "http"], ...GET])],
    expect: REJECTED,
  },
  {
    section: "8.3.1",
    name: "two :path",
    send: [headers(1, [...GET, [":path", "/"]])],
    expect: REJECTED,
  },
  {
    section: "8.3.1",
    name: "two :authority",
    send: [headers(1, [...GET, [":authority", "a"]])],
    expect: REJECTED,
  },
  {
    section: "8.3.1",
    name: "no authority at all",
    send: [headers(1, without(":authority"))],
    expect: REJECTED,
  },
  {
    section: "8.3.1",
    name: "Host instead of :authority",
    send: [headers(1, [...without(":authority"), ["host", "a"]])],
    expect: { answer: 1 },
  },
  {
    section: "8.3.1",
    name: "Host that differs from :authority",
    send: [headers(1, [...GET, ["host", "b"]])],
    expect: REJECTED,
  },
  {
    section: "8.3.1",
    name: "two Host fields",
    send: [headers(1, [...GET, ["host", "a"], ["host", "a"]])],
    expect: REJECTED,
  },
  {
    section: "8.3.1",
    name: "userinfo in :authority",
    send: [headers(1, [...without(":authority"), [":authority", "u@a"]])],
    expect: REJECTED,
  },
  {
    section: "8.3.1",
    name: "a method that is no token",
    send: [
      headers(
        1,
        [...without(":method"), [":method", "GE T"]].sort().reverse() as [string, string][],
      ),
    ],
    expect: REJECTED,
  },
  {
    section: "8.5",
    name: "CONNECT with :path",
    send: [headers(1, [...without(":method"), [":method", "CONNECT"]])],
    expect: REJECTED,
  },
  // HPACK (RFC 7541)
  {
    section: "RFC 7541 2.3.3",
    name: "an index beyond both tables",
    send: [frame(1, 5, 1, Buffer.concat([block(...GET), Buffer.from([0xff, 0x80, 0x01])]))],
    expect: { goaway: COMPRESSION },
  },
  {
    section: "RFC 7541 6.1",
    name: "index 0",
    send: [frame(1, 5, 1, Buffer.concat([block(...GET), Buffer.from([0x80])]))],
    expect: { goaway: COMPRESSION },
  },
  {
    section: "RFC 7541 4.2",
    name: "a table size update at the end of a block",
    send: [frame(1, 5, 1, Buffer.concat([block(...GET), Buffer.from([0x20])]))],
    expect: { goaway: COMPRESSION },
  },
  {
    section: "RFC 7541 6.3",
    name: "a table size above the limit",
    send: [frame(1, 5, 1, Buffer.concat([Buffer.from([0x3f, 0xe2, 0x1f]), block(...GET)]))],
    expect: { goaway: COMPRESSION },
  },
  {
    section: "RFC 7541 5.2",
    name: "Huffman padding of more than seven bits",
    send: [
      frame(
        1,
        5,
        1,
        Buffer.concat([
          block(...GET),
          Buffer.from([0x00, 0x85, 0xf2, 0xb2, 0x4a, 0x84, 0xff, 0x84, 0x49, 0x50, 0x9f, 0xff]),
        ]),
      ),
    ],
    expect: { goaway: COMPRESSION },
  },
  {
    section: "RFC 7541 5.2",
    name: "Huffman padding of zeros",
    send: [
      frame(
        1,
        5,
        1,
        Buffer.concat([
          block(...GET),
          Buffer.from([0x00, 0x85, 0xf2, 0xb2, 0x4a, 0x84, 0xff, 0x83, 0x49, 0x50, 0x90]),
        ]),
      ),
    ],
    expect: { goaway: COMPRESSION },
  },
  {
    section: "RFC 7541 5.2",
    name: "EOS inside a Huffman string",
    send: [
      frame(
        1,
        5,
        1,
        Buffer.concat([
          block(...GET),
          Buffer.from([
            0x00, 0x85, 0xf2, 0xb2, 0x4a, 0x84, 0xff, 0x87, 0x49, 0x51, 0xff, 0xff, 0xff, 0xfa,
            0x7f,
          ]),
        ]),
      ),
    ],
    expect: { goaway: COMPRESSION },
  },
  {
    section: "RFC 7541 5.1",
    name: "an integer without end",
    send: [frame(1, 5, 1, Buffer.from([0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]))],
    expect: { goaway: COMPRESSION },
  },
  {
    section: "RFC 7541 5.2",
    name: "a string longer than its block",
    send: [frame(1, 5, 1, Buffer.from([0x00, 0x7e, 0x61]))],
    expect: { goaway: COMPRESSION },
  },
];

async function start(t: TestContext): Promise<ProxyFixture> {
  const port = await startHttp(t, (request, response) => {
    if (request.url === "/wait") return;
    request.resume();
    request.on("end", () => response.end("ok"));
  });
  return startProxy(
    t,
    httpConfig([cluster("a", [endpoint(port)])], [route(forwardTo("a"))], {
      codec: "http2",
      http2: {
        maxConcurrentStreams: 4,
        initialStreamWindowBytes: 65_535,
        initialConnectionWindowBytes: 1_048_576,
      },
    }),
  );
}

test("RFC 9113 and RFC 7541: what a server must refuse, and what it must take", async (t) => {
  const proxy = await start(t);
  for (const one of CASES) {
    await t.test(`§${one.section} ${one.name}`, async (t) => {
      const client = await frameClient(t, proxy.port, one.hello);
      client.send(...one.send);
      const { expect } = one;
      if ("goaway" in expect) {
        await client.until(
          (c) => goawayCode(c) !== undefined && c.isClosed(),
          "GOAWAY and the end",
        );
        assert.equal(goawayCode(client), expect.goaway);
      } else if ("reset" in expect) {
        const stream = expect.stream ?? 1;
        await client.until((c) => resetCode(c, stream) !== undefined, "RST_STREAM");
        assert.equal(resetCode(client, stream), expect.reset);
        assert.equal(client.isClosed(), false, "the connection must live on");
      } else if ("answer" in expect) {
        await client.until(
          (c) => c.frames.some((f) => f.streamId === expect.answer && (f.flags & 1) === 1),
          "an answer",
        );
        const head = client.frames.find((f) => f.type === 1 && f.streamId === expect.answer);
        // Index 8 of the static table: `:status: 200`.
        assert.equal(head?.payload[0], 0x88);
      } else if ("pingAck" in expect) {
        await client.until((c) => c.frames.some((f) => f.type === 6), "an answer to PING");
        const [ack, ...more] = client.frames.filter((f) => f.type === 6);
        assert.deepEqual(
          [ack?.flags, ack?.payload.toString("hex"), more.length],
          [1, expect.pingAck, 0],
        );
      } else {
        await client.until(
          (c) => c.frames.filter((f) => f.type === 4 && f.flags === 1).length === 2,
          "two acknowledgements",
        );
      }
    });
  }
  const health = await frameClient(t, proxy.port);
  health.send(headers(1, GET));
  await health.until((c) => c.frames.some((f) => f.streamId === 1), "an answer after all that");
});

test("a head above the limit is answered with 431 and the connection lives on", async (t) => {
  const proxy = await start(t);
  const client = await frameClient(t, proxy.port);
  const big = Array.from({ length: 70 }, (_, i) => [`x-${i}`, "v".repeat(1000)] as const);
  const whole = block(...GET, ...big);
  const parts: Buffer[] = [];
  for (let at = 0; at < whole.length; at += 16_000) {
    const isLast = at + 16_000 >= whole.length;
    const piece = whole.subarray(at, at + 16_000);
    parts.push(at === 0 ? frame(1, 1, 1, piece) : frame(9, isLast ? 4 : 0, 1, piece));
  }
  client.send(...parts);
  await client.until((c) => c.frames.some((f) => f.type === 1 && f.streamId === 1), "an answer");
  const head = client.frames.find((f) => f.type === 1);
  assert.match(head?.payload.toString("latin1") ?? "", /431/);
  client.send(headers(3, GET));
  await client.until((c) => c.frames.some((f) => f.type === 1 && f.streamId === 3), "an answer");
});

test("a client that never reads its PING answers is cut off", async (t) => {
  const proxy = await start(t);
  const client = await frameClient(t, proxy.port);
  client.socket.pause();
  const flood = Buffer.concat(
    Array.from({ length: 4000 }, () => frame(6, 0, 0, "0000000000000000")),
  );
  for (let round = 0; round < 400 && !client.isClosed(); round += 1) {
    const isRoom = client.socket.write(flood);
    if (!isRoom) await new Promise((resolve) => setImmediate(resolve));
  }
  client.socket.resume();
  await client.until((c) => c.isClosed(), "the end");
});

test("bytes one at a time are read as well as at once", async (t) => {
  const proxy = await start(t);
  const client = await frameClient(t, proxy.port, Buffer.alloc(0));
  client.socket.setNoDelay(true);
  const all = Buffer.concat([
    PREFACE,
    SETTINGS,
    headers(1, POST, "open"),
    frame(0, 9, 1, "03 6162 000000"),
  ]);
  for (const byte of all) {
    client.send(Buffer.from([byte]));
    await new Promise((resolve) => setImmediate(resolve));
  }
  await client.until((c) => c.frames.some((f) => f.type === 0 && f.streamId === 1), "an answer");
});
