import { once } from "node:events";
import { connect, type Socket } from "node:net";
import type { TestContext } from "node:test";
import { waitFor } from "../../support/proxy-fixture.ts";

export const PREFACE: Buffer = Buffer.from("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");

/** One frame; `payload` as bytes or hexadecimal text. */
export function frame(
  type: number,
  flags: number,
  streamId: number,
  payload: Buffer | string = "",
): Buffer {
  const body =
    typeof payload === "string" ? Buffer.from(payload.replaceAll(" ", ""), "hex") : payload;
  const head = Buffer.alloc(9);
  head.writeUIntBE(body.length, 0, 3);
  head[3] = type;
  head[4] = flags;
  head.writeUInt32BE(streamId >>> 0, 5);
  return Buffer.concat([head, body]);
}

/** A literal field without indexing, plain strings (RFC 7541 §6.2.2). */
export function field(name: string, value: string): Buffer {
  const text = (s: string): Buffer => {
    const bytes = Buffer.from(s, "latin1");
    const length =
      bytes.length < 127
        ? Buffer.from([bytes.length])
        : Buffer.from([127, ((bytes.length - 127) & 127) | 128, (bytes.length - 127) >> 7]);
    return Buffer.concat([length, bytes]);
  };
  return Buffer.concat([Buffer.from([0]), text(name), text(value)]);
}

/** A header block of these fields. */
export function block(...fields: readonly (readonly [name: string, value: string])[]): Buffer {
  return Buffer.concat(fields.map(([name, value]) => field(name, value)));
}

export const GET = [
  [":method", "GET"],
  [":scheme", "http"],
  [":path", "/"],
  [":authority", "a"],
] as const;

export const POST = [[":method", "POST"], ...GET.slice(1)] as const;

export const SETTINGS: Buffer = frame(4, 0, 0);

/** HEADERS with END_HEADERS, and END_STREAM unless `open`. */
export function headers(
  streamId: number,
  fields: readonly (readonly [name: string, value: string])[],
  open: "open" | "end" = "end",
): Buffer {
  return frame(1, open === "open" ? 4 : 5, streamId, block(...fields));
}

export interface Frame {
  readonly type: number;
  readonly flags: number;
  readonly streamId: number;
  readonly payload: Buffer;
}

/** A client that speaks frames. */
export interface FrameClient {
  readonly socket: Socket;
  readonly frames: Frame[];
  readonly isClosed: () => boolean;
  send(...parts: readonly Buffer[]): void;
  until(condition: (client: FrameClient) => boolean, what: string): Promise<void>;
}

/** Connects and says the preface with empty SETTINGS, unless told not to. */
export async function frameClient(
  t: TestContext,
  port: number,
  hello: Buffer = Buffer.concat([PREFACE, SETTINGS]),
): Promise<FrameClient> {
  const socket = connect({ port, host: "127.0.0.1" });
  await once(socket, "connect");
  t.after(() => socket.destroy());
  const frames: Frame[] = [];
  let pending: Buffer = Buffer.alloc(0);
  let isClosed = false;
  socket.on("data", (bytes: Buffer) => {
    pending = Buffer.concat([pending, bytes]);
    while (pending.length >= 9) {
      const length = pending.readUIntBE(0, 3);
      if (pending.length < 9 + length) return;
      frames.push({
        type: pending[3] ?? 0,
        flags: pending[4] ?? 0,
        streamId: pending.readUInt32BE(5),
        payload: pending.subarray(9, 9 + length),
      });
      pending = pending.subarray(9 + length);
    }
  });
  socket.on("error", () => {});
  socket.on("close", () => {
    isClosed = true;
  });
  if (hello.length > 0) socket.write(hello);
  const client: FrameClient = {
    socket,
    frames,
    isClosed: () => isClosed,
    send: (...parts) => {
      socket.write(Buffer.concat(parts));
    },
    until: (condition, what) =>
      waitFor(
        () => condition(client),
        () =>
          `waiting for ${what}; closed: ${isClosed}; frames: ${frames
            .map(
              (f) => `${f.type}/${f.flags}/${f.streamId}/${f.payload.toString("hex").slice(0, 80)}`,
            )
            .join(" ")}`,
      ),
  };
  return client;
}

/** What a peer said to end something: the code of GOAWAY, or of RST_STREAM on a stream. */
export function goawayCode(client: FrameClient): number | undefined {
  return client.frames.find((f) => f.type === 7)?.payload.readUInt32BE(4);
}

export function resetCode(client: FrameClient, streamId: number): number | undefined {
  return client.frames
    .find((f) => f.type === 3 && f.streamId === streamId)
    ?.payload.readUInt32BE(0);
}
