import { connect, type IncomingHttpHeaders } from "node:http2";
import type { RawResponse } from "./raw-http.ts";
import type { Row } from "./table.ts";

/** A row's request as HTTP/2 can say it; undefined for what only HTTP/1 bytes can. */
export function asHttp2(
  row: Pick<Row, "request" | "refusal">,
): { readonly headers: Record<string, string | string[]>; readonly body: string } | undefined {
  if (row.refusal === true) return undefined;
  const [head = "", body = ""] = row.request.split("\r\n\r\n", 2);
  const [line = "", ...fields] = head.split("\r\n");
  const match = /^(\S+) (\/\S*|\*) HTTP\/1\.1$/.exec(line);
  if (match === null) return undefined;
  const headers: Record<string, string | string[]> = {
    ":method": match[1] ?? "",
    ":path": match[2] ?? "",
    ":scheme": "http",
  };
  for (const text of fields) {
    const at = text.indexOf(":");
    const name = text.slice(0, at).toLowerCase();
    const value = text.slice(at + 1).trim();
    if (HTTP1_ONLY.has(name) || at < 1 || !/^[a-z0-9-]+$/.test(name)) return undefined;
    if (name === "host") headers[":authority"] = value;
    else if (headers[name] === undefined) headers[name] = value;
    else headers[name] = [headers[name], value].flat();
  }
  return { headers, body };
}

const HTTP1_ONLY: ReadonlySet<string> = new Set([
  "connection",
  "transfer-encoding",
  "upgrade",
  "expect",
  "te",
  "keep-alive",
  "proxy-connection",
  "http2-settings",
]);

/** Sends one request on a connection of its own. */
export async function exchangeHttp2(
  port: number,
  request: NonNullable<ReturnType<typeof asHttp2>>,
): Promise<RawResponse> {
  const session = connect(`http://127.0.0.1:${port}`);
  try {
    return await new Promise<RawResponse>((resolve, reject) => {
      session.on("error", reject);
      const stream = session.request(request.headers, { endStream: request.body === "" });
      if (request.body !== "") stream.end(request.body);
      let answered: IncomingHttpHeaders = {};
      let body = "";
      stream.setEncoding("utf8");
      stream.setTimeout(20_000, () => reject(new Error("no answer in 20 s")));
      stream.on("response", (headers) => {
        answered = headers;
      });
      stream.on("data", (chunk: string) => {
        body += chunk;
      });
      stream.on("error", reject);
      stream.on("end", () => {
        const headers: Record<string, string> = {};
        for (const [name, value] of Object.entries(answered)) {
          if (value !== undefined) headers[name] = String(value);
        }
        const status = Number(answered[":status"]);
        const fields = Object.entries(headers);
        resolve({ status, headers, fields, body, interim: [], rest: "" });
      });
    });
  } finally {
    session.destroy();
  }
}
