import {
  experimental,
  type handleBidiStreamingCall,
  type handleClientStreamingCall,
  type handleUnaryCall,
  Server,
  ServerCredentials,
  type ServerUnaryCall,
} from "@grpc/grpc-js";
import { messageOf, SerinError } from "../base/index.ts";
import type { ServerCertificate } from "./server-certificate.ts";

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
    }
  | {
      readonly path: string;
      readonly kind: "unary";
      /** Rejects with gRPC's `code` and `details`; anything else is INTERNAL. */
      readonly handle: (call: ServerUnaryCall<Buffer, Buffer>) => Promise<Uint8Array>;
    };

export interface GrpcServer {
  readonly port: number;
  stop(): Promise<void>;
}

/**
 * Serves gRPC: with a certificate over TLS, without one in plaintext and then on loopback only. Dead peers are noticed by keep-alive pings within
 * 30 s. Throws SERIN_PORT_IN_USE, SERIN_PERMISSION, SERIN_USAGE.
 */
export async function startGrpcServer(options: {
  readonly host: string;
  readonly port: number;
  readonly methods: readonly GrpcMethod[];
  readonly certificate?: ServerCertificate;
}): Promise<GrpcServer> {
  const { host, port, methods, certificate } = options;
  if (certificate === undefined && !/^127\./.test(host) && host !== "::1" && host !== "localhost") {
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
      requestStream: method.kind !== "unary",
      responseStream: method.kind === "bidi",
      requestSerialize: (bytes: Buffer) => bytes,
      requestDeserialize: (bytes: Buffer) => bytes,
      responseSerialize: (bytes: Buffer) => bytes,
      responseDeserialize: (bytes: Buffer) => bytes,
    };
    server.addService(
      { call: definition },
      { call: method.kind === "unary" ? unary(method.handle) : method.handle },
    );
  }
  const bound = await new Promise<number>((resolve, reject) => {
    const address = `${host.includes(":") ? `[${host}]` : host}:${port}`;
    server.bindAsync(address, credentialsOf(certificate), (error, actual) => {
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

type UnaryMethod = Extract<GrpcMethod, { kind: "unary" }>;

function unary(handle: UnaryMethod["handle"]): handleUnaryCall<Buffer, Buffer> {
  return (call, reply) => {
    handle(call).then(
      (bytes) => reply(null, Buffer.from(bytes)),
      (error: unknown) => reply(error instanceof Error ? error : new Error(messageOf(error))),
    );
  };
}

/** TLS 1.2 and later with a certificate that may be renewed while the server runs. */
function credentialsOf(certificate: ServerCertificate | undefined): ServerCredentials {
  if (certificate === undefined) return ServerCredentials.createInsecure();
  type Listener = Parameters<experimental.CertificateProvider["addIdentityCertificateListener"]>[0];
  const listeners = new Set<Listener>();
  const update = () => ({
    certificate: Buffer.from(certificate.current.certificateChainPem),
    privateKey: Buffer.from(certificate.current.privateKeyPem),
  });
  certificate.onRenewed(() => {
    for (const listener of listeners) listener(update());
  });
  const provider: experimental.CertificateProvider = {
    addCaCertificateListener() {},
    removeCaCertificateListener() {},
    addIdentityCertificateListener(listener) {
      listeners.add(listener);
      // The server itself listens only once this has returned.
      queueMicrotask(() => listener(update()));
    },
    removeIdentityCertificateListener: (listener) => void listeners.delete(listener),
  };
  // The library calls its first two parameters the other way round than it uses them (1.14).
  return experimental.createCertificateProviderServerCredentials(provider, null, false);
}

/** What a failed listen means, as a SerinError. */
export function listenError(error: Error, address: string): SerinError {
  const code = /EACCES|EPERM/.test(error.message) ? "SERIN_PERMISSION" : "SERIN_PORT_IN_USE";
  return new SerinError(code, `cannot listen on ${address}: ${error.message}`, { cause: error });
}
