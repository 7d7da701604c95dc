import type { Socket } from "node:net";

/**
 * An upstream that believes anything: lines may end in LF, fields may have spaces anywhere, a coding
 * that contains "chunked" is chunked, a length is whatever parseInt finds. Whatever could be read as a
 * request, it reads as one, and notes its target; with `!` while its body has not ended.
 */
export class GullibleServer {
  readonly seen: string[] = [];
  /** Connections open now. */
  connections = 0;

  readonly serve = (socket: Socket): void => {
    let input = "";
    this.connections += 1;
    socket.on("close", () => {
      this.connections -= 1;
    });
    socket.setEncoding("latin1");
    socket.on("data", (chunk: string) => {
      input += chunk;
      for (;;) {
        const rest = this.#takeRequest(input, socket);
        if (rest === undefined) return;
        input = rest;
      }
    });
    socket.on("end", () => socket.end());
  };

  /** What follows the first whole request of `input`, or undefined when it is not whole yet. */
  #takeRequest(input: string, socket: Socket): string | undefined {
    const headEnd = /\r?\n\r?\n/.exec(input);
    if (headEnd === null) return undefined;
    const head = input.slice(0, headEnd.index);
    const [method = "", target = ""] = head.trimStart().split(/\s+/);
    const body = input.slice(headEnd.index + headEnd[0].length);
    const length = bodyLength(head, body);
    const broken = `${target}!`;
    if (length === undefined) {
      if (!this.seen.includes(broken)) this.seen.push(broken);
      return undefined;
    }
    const index = this.seen.indexOf(broken);
    if (index >= 0) this.seen[index] = target;
    else this.seen.push(target);
    const content = method === "HEAD" ? "" : "ok";
    socket.write(`HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n${content}`);
    return body.slice(length);
  }
}

function bodyLength(head: string, body: string): number | undefined {
  if (/^[^\n]*\btransfer-encoding\s*:[^\n]*chunked/im.test(head)) return chunkedLength(body);
  const length = Number.parseInt(/^\s*content-length\s*:\D*(\d+)/im.exec(head)?.[1] ?? "0", 10);
  return body.length >= length ? length : undefined;
}

function chunkedLength(body: string): number | undefined {
  let position = 0;
  for (;;) {
    const line = /\r?\n/.exec(body.slice(position));
    if (line === null) return undefined;
    const size = Number.parseInt(body.slice(position, position + line.index), 16) || 0;
    position += line.index + line[0].length;
    if (size === 0) {
      const end = /^(?:[^\r\n]+\r?\n)*\r?\n/.exec(body.slice(position));
      return end === null ? undefined : position + end[0].length;
    }
    position += size + 2;
    if (position > body.length) return undefined;
  }
}
