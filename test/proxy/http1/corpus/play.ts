import { once } from "node:events";
import { connect } from "node:net";
import type { TestContext } from "node:test";
import { waitFor } from "../../../support/proxy-fixture.ts";
import type { HttpCase } from "./case.ts";
import { bytesOf } from "./corpus.ts";

/** What a client saw of one case. */
export interface Played {
  /** Statuses in order, interim ones apart. */
  readonly answers: readonly number[];
  readonly isClosed: boolean;
}

/** A third request behind the case, which shows that the connection is still in step. */
export function lastTarget(index: number): string {
  return `/l${String(index).padStart(4, "0")}`;
}

/** Sends a case to a proxy and waits for what it must answer, or for the connection's end. */
export async function play(
  t: TestContext,
  port: number,
  subject: HttpCase,
  index: number,
): Promise<Played> {
  const socket = connect({ port, host: "127.0.0.1" });
  t.after(() => socket.destroy());
  let text = "";
  let isClosed = false;
  socket.setEncoding("latin1");
  socket.on("data", (chunk: string) => {
    text += chunk;
  });
  // A reset is a close; what was answered before it counts.
  socket.on("error", () => {});
  socket.on("close", () => {
    isClosed = true;
  });
  await once(socket, "connect");
  const bytes = bytesOf(subject, index);
  if (subject.isTruncated) {
    socket.end(bytes);
  } else if (subject.staysOpen) {
    socket.write(bytes);
    socket.write(`GET ${lastTarget(index)} HTTP/1.1\r\nHost: x\r\n\r\n`);
  } else {
    socket.write(bytes);
  }
  const answers = (): readonly number[] =>
    [...text.matchAll(/HTTP\/1\.[01] (\d{3}) /g)].map((m) => Number(m[1])).filter((s) => s >= 200);
  const expected = subject.answers.length + (subject.staysOpen ? 1 : 0);
  await waitFor(
    () => isClosed || (subject.staysOpen && answers().length >= expected),
    () =>
      `${subject.name}: neither answered nor closed, received ${JSON.stringify(text.slice(-500))}`,
  );
  const played = { answers: answers(), isClosed };
  socket.destroy();
  return played;
}
