import { connect } from "node:net";

/** What came back for bytes that were sent as they are. */
export interface RawResponse {
  /** Informational status lines before the final one, e.g. 100. */
  readonly interim: readonly number[];
  readonly status: number;
  /** Names in lower case. */
  readonly headers: Readonly<Record<string, string>>;
  /** Every field of the head, with its repetitions, in order. */
  readonly fields?: readonly (readonly [name: string, value: string])[];
  readonly body: string;
  /** Bytes after the first response: the start of another answer, or "". */
  readonly rest: string;
}

/**
 * Sends raw bytes and reads until the peer closes or the first response is complete. A closed
 * connection without an answer has status 0.
 */
export function exchange(port: number, request: string, isHead = false): Promise<RawResponse> {
  return new Promise((resolve, reject) => {
    const socket = connect(port, "127.0.0.1");
    let received = Buffer.alloc(0);
    const deadline = setTimeout(() => {
      socket.destroy();
      reject(new Error(`no complete response to ${JSON.stringify(request.slice(0, 60))}`));
    }, 30_000);
    const finish = (response: RawResponse): void => {
      clearTimeout(deadline);
      socket.destroy();
      resolve(response);
    };
    socket.on("connect", () => socket.write(request, "latin1"));
    socket.on("data", (chunk: Buffer) => {
      received = Buffer.concat([received, chunk]);
      const response = parse(received.toString("latin1"), isHead, false);
      if (response !== undefined) finish(response);
    });
    socket.on("close", () => {
      finish(
        parse(received.toString("latin1"), isHead, true) ?? {
          interim: [],
          status: 0,
          headers: {},
          body: "",
          rest: "",
        },
      );
    });
    socket.on("error", () => {
      // A reset after or instead of an answer; `close` follows and settles.
    });
  });
}

function parse(text: string, isHead: boolean, isClosed: boolean): RawResponse | undefined {
  const interim: number[] = [];
  let rest = text;
  for (;;) {
    const end = rest.indexOf("\r\n\r\n");
    if (end === -1) return undefined;
    const [statusLine = "", ...lines] = rest.slice(0, end).split("\r\n");
    const status = Number(statusLine.split(" ")[1]);
    rest = rest.slice(end + 4);
    if (status >= 100 && status < 200) {
      interim.push(status);
      continue;
    }
    const fields = lines.map((line) => {
      const colon = line.indexOf(":");
      return [line.slice(0, colon).toLowerCase(), line.slice(colon + 1).trim()] as const;
    });
    const headers: Record<string, string> = Object.fromEntries(fields);
    const body = bodyOf(rest, headers, isHead || status === 204 || status === 304, isClosed);
    return body && { interim, status, headers, fields, ...body };
  }
}

function bodyOf(
  rest: string,
  headers: Readonly<Record<string, string>>,
  isEmpty: boolean,
  isClosed: boolean,
): { readonly body: string; readonly rest: string } | undefined {
  if (isEmpty) return { body: "", rest };
  if (headers["transfer-encoding"]?.toLowerCase() === "chunked") return dechunk(rest);
  if (headers["content-length"] !== undefined) {
    const length = Number(headers["content-length"]);
    if (rest.length < length && !isClosed) return undefined;
    return { body: rest.slice(0, length), rest: rest.slice(length) };
  }
  return isClosed ? { body: rest, rest: "" } : undefined;
}

function dechunk(text: string): { readonly body: string; readonly rest: string } | undefined {
  let body = "";
  let rest = text;
  for (;;) {
    const end = rest.indexOf("\r\n");
    if (end === -1) return undefined;
    const size = Number.parseInt(rest.slice(0, end), 16);
    if (rest.length < end + 2 + size + 2) return undefined;
    if (size === 0) return { body, rest: rest.slice(end + 4) };
    body += rest.slice(end + 2, end + 2 + size);
    rest = rest.slice(end + 2 + size + 2);
  }
}
