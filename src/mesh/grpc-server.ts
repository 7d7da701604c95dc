import {
  type handleBidiStreamingCall,
  type handleClientStreamingCall,
  Server,
  ServerCredentials,
} from "@grpc/grpc-js";
import { SerinError } from "../base/index.ts";

/** How long calls may take to end when the server stops; then they are cut. */
const DRAIN_MS = 1000;

/** One method: bytes in, bytes out; who handles it encodes and decodes. */
export type GrpcMethod =
  | {
      readonly path: string;
      readonly kind: "bidi";
      readonly handle: handleBidiStreamingCall<Buffer, Buffer>;
    }
  | {
      readonly path: string;
      readonly kind: "client-stream";
      readonly handle: handleClientStreamingCall<Buffer, Buffer>;
    };

export interface GrpcServer {
  readonly port: number;
  stop(): Promise<void>;
}

/**
 * Serves gRPC in plaintext, on loopback only. Dead peers are noticed by keep-alive pings within
 * 30 s. Throws SERIN_PORT_IN_USE, SERIN_PERMISSION, SERIN_USAGE.
 */
export async function startGrpcServer(options: {
  readonly host: string;
  readonly port: number;
  readonly methods: readonly GrpcMethod[];
}): Promise<GrpcServer> {
  const { host, port, methods } = options;
  if (!/^127\./.test(host) && host !== "::1" && host !== "localhost") {
    throw new SerinError("SERIN_USAGE", `plaintext xDS listens on loopback only (found ${host})`);
  }
  const server = new Server({
    "grpc.keepalive_time_ms": 20_000,
    "grpc.keepalive_timeout_ms": 10_000,
    "grpc.max_receive_message_length": 16 * 1_048_576,
    "grpc.max_send_message_length": -1,
  });
  for (const method of methods) {
    const definition = {
      path: method.path,
      requestStream: true,
      responseStream: method.kind === "bidi",
      requestSerialize: (bytes: Buffer) => bytes,
      requestDeserialize: (bytes: Buffer) => bytes,
      responseSerialize: (bytes: Buffer) => bytes,
      responseDeserialize: (bytes: Buffer) => bytes,
    };
    server.addService({ call: definition }, { call: method.handle });
  }
  const bound = await new Promise<number>((resolve, reject) => {
    const address = `${host.includes(":") ? `[${host}]` : host}:${port}`;
    server.bindAsync(address, ServerCredentials.createInsecure(), (error, actual) => {
      if (error === null) resolve(actual);
      else reject(listenError(error, address));
    });
  });
  return {
    port: bound,
    stop: () =>
      new Promise((resolve) => {
        const cut = setTimeout(() => {
          server.forceShutdown();
          resolve();
        }, DRAIN_MS);
        server.tryShutdown(() => {
          clearTimeout(cut);
          resolve();
        });
      }),
  };
}

/** What a failed listen means, as a SerinError. */
export function listenError(error: Error, address: string): SerinError {
  const code = /EACCES|EPERM/.test(error.message) ? "SERIN_PERMISSION" : "SERIN_PORT_IN_USE";
  return new SerinError(code, `cannot listen on ${address}: ${error.message}`, { cause: error });
}
