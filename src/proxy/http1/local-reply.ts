import { encodeGrpcMessage } from "../core/grpc.ts";
import { reasonPhrase } from "../core/http1/encode.ts";
import type { ResponseHead } from "../core/http1/head-parser.ts";
import { HeaderBlock } from "../core/http1/header-block.ts";

export interface LocalReplyOptions {
  readonly status: number;
  readonly bodyBytes: number;
  /** "" = no `server` field. */
  readonly server: string;
  readonly date: string;
  /** The answer is for a gRPC client: it travels in the head alone. */
  readonly grpc?: { readonly status: number; readonly message: string } | undefined;
  readonly extra: readonly (readonly [name: string, value: string])[];
  /** What the configuration does to the head; `date` and `server` are written afterwards. */
  edit?(head: ResponseHead): void;
}

/** The head of an answer that the proxy gives itself. */
export function localReplyHead(options: LocalReplyOptions): ResponseHead {
  const headers = new HeaderBlock();
  if (options.grpc !== undefined) {
    headers.add("content-type", "application/grpc");
    headers.add("grpc-status", String(options.grpc.status));
    const message = encodeGrpcMessage(options.grpc.message);
    if (message !== "") headers.add("grpc-message", message);
  } else if (options.bodyBytes > 0) {
    headers.add("content-length", String(options.bodyBytes));
    headers.add("content-type", "text/plain");
  }
  for (const [name, value] of options.extra) headers.set(name, value);
  const head: ResponseHead = {
    status: options.status,
    reason: ` ${reasonPhrase(options.status)}`,
    headers,
    framing: { kind: "none" },
    close: false,
    keepAliveSeconds: undefined,
  };
  options.edit?.(head);
  headers.add("date", options.date);
  if (options.server !== "") headers.add("server", options.server);
  return head;
}
