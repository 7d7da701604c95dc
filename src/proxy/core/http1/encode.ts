import type { HeaderBlock } from "./header-block.ts";

/** The last chunk of a chunked body, its trailers and the empty line (RFC 9112 §7.1). */
export function encodeLastChunk(trailers: HeaderBlock | undefined): string {
  return trailers === undefined ? "0\r\n\r\n" : `0\r\n${trailers.encode()}\r\n`;
}

/** The line before a chunk of `sizeBytes` > 0; CRLF follows the chunk's data. */
export function encodeChunkSize(sizeBytes: number): string {
  return `${sizeBytes.toString(16)}\r\n`;
}

const REASONS: Readonly<Record<number, string>> = {
  200: "OK",
  201: "Created",
  204: "No Content",
  301: "Moved Permanently",
  302: "Found",
  303: "See Other",
  304: "Not Modified",
  307: "Temporary Redirect",
  308: "Permanent Redirect",
  400: "Bad Request",
  401: "Unauthorized",
  403: "Forbidden",
  404: "Not Found",
  408: "Request Timeout",
  413: "Payload Too Large",
  426: "Upgrade Required",
  429: "Too Many Requests",
  431: "Request Header Fields Too Large",
  500: "Internal Server Error",
  502: "Bad Gateway",
  503: "Service Unavailable",
  504: "Gateway Timeout",
};

/** The reason phrase of a status that the proxy itself answers with. */
export function reasonPhrase(status: number): string {
  return REASONS[status] ?? "Unknown";
}
