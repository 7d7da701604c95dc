import type { HeaderMutation } from "../config/runtime-config.ts";
import { encodeGrpcMessage } from "../core/grpc.ts";
import { reasonPhrase } from "../core/http1/encode.ts";
import type { ResponseHead } from "../core/http1/head-parser.ts";
import { HeaderBlock } from "../core/http1/header-block.ts";
import { mutateHeaders } from "./header-mutation.ts";

export interface LocalReplyOptions {
  readonly status: number;
  readonly bodyBytes: number;
  /** "" = no `server` field. */
  readonly server: string;
  readonly date: string;
  /** The answer is for a gRPC client: it travels in the head alone. */
  readonly grpc?: { readonly status: number; readonly message: string } | undefined;
  readonly extra: readonly (readonly [name: string, value: string])[];
  readonly mutations: readonly (HeaderMutation | undefined)[];
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
  } else {
    headers.add("content-length", "0");
  }
  for (const [name, value] of options.extra) headers.set(name, value);
  for (const mutation of options.mutations) {
    if (mutation !== undefined) mutateHeaders(headers, mutation);
  }
  headers.add("date", options.date);
  if (options.server !== "") headers.add("server", options.server);
  return {
    status: options.status,
    reason: ` ${reasonPhrase(options.status)}`,
    headers,
    framing: { kind: "none" },
    close: false,
    keepAliveSeconds: undefined,
  };
}
