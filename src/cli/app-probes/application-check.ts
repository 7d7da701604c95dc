import { request as httpRequest } from "node:http";
import { connect as connectHttp2 } from "node:http2";
import { request as httpsRequest } from "node:https";
import { connect } from "node:net";
import { z } from "zod";
import { messageOf } from "../../base/index.ts";

const port = z.int().min(1).max(65_535);
const proberSchema = z.object({
  httpGet: z
    .object({
      path: z.string().default("/"),
      port,
      scheme: z.string().default("HTTP"),
      httpHeaders: z.array(z.object({ name: z.string(), value: z.string() })).default([]),
    })
    .optional(),
  tcpSocket: z.object({ port }).optional(),
  grpc: z.object({ port, service: z.string().nullish() }).optional(),
  timeoutSeconds: z.number().positive().default(1),
});

/** By path of the sidecar's: what to ask of the application. */
export const probersSchema = z.record(z.string(), proberSchema);
export type Prober = z.infer<typeof proberSchema>;

/** Where the application is, as its sidecar sees it. */
export interface Application {
  readonly host: string;
  /** Whence to ask, where the pod's traffic is redirected and this address' is not. */
  readonly localAddress: string | undefined;
}

const BAD_GATEWAY = 502;
const SERVING = 1;

/** Asks the application as the kubelet would; answers the HTTP status for the kubelet. Never throws. */
export async function checkApplication(prober: Prober, at: Application): Promise<number> {
  const signal = AbortSignal.timeout(prober.timeoutSeconds * 1000);
  try {
    if (prober.httpGet !== undefined) return await httpStatus(prober.httpGet, at, signal);
    if (prober.tcpSocket !== undefined) return await tcpStatus(prober.tcpSocket.port, at, signal);
    if (prober.grpc !== undefined) return await grpcStatus(prober.grpc, at, signal);
    return BAD_GATEWAY;
  } catch {
    // Not reached, or too late: the kubelet only wants to know that.
    return BAD_GATEWAY;
  }
}

function httpStatus(
  action: NonNullable<Prober["httpGet"]>,
  { host, localAddress }: Application,
  signal: AbortSignal,
): Promise<number> {
  const isTls = action.scheme.toUpperCase() === "HTTPS";
  const { promise, resolve, reject } = Promise.withResolvers<number>();
  const own = Object.fromEntries(action.httpHeaders.map(({ name, value }) => [name, value]));
  const headers = { "user-agent": "kube-probe/serin", connection: "close", ...own };
  const path = action.path.startsWith("/") ? action.path : `/${action.path}`;
  const source = localAddress === undefined ? {} : { localAddress };
  const options = { host, port: action.port, path, headers, signal, agent: false, ...source };
  // As the kubelet: whether it answers counts, not who signed its certificate.
  const outgoing = isTls
    ? httpsRequest({ ...options, rejectUnauthorized: false })
    : httpRequest(options);
  outgoing.on("error", reject);
  outgoing.on("response", (response) => {
    response.resume();
    resolve(response.statusCode ?? BAD_GATEWAY);
  });
  outgoing.end();
  return promise;
}

function tcpStatus(
  number: number,
  { host, localAddress }: Application,
  signal: AbortSignal,
): Promise<number> {
  const { promise, resolve, reject } = Promise.withResolvers<number>();
  const source = localAddress === undefined ? {} : { localAddress };
  const socket = connect({ host, port: number, signal, ...source });
  socket.on("error", reject);
  socket.on("connect", () => {
    socket.destroy();
    resolve(200);
  });
  return promise;
}

/** grpc.health.v1.Health/Check, whose two messages are small enough to write by hand. */
function grpcStatus(
  { port: number, service }: NonNullable<Prober["grpc"]>,
  { host, localAddress }: Application,
  signal: AbortSignal,
): Promise<number> {
  const { promise, resolve, reject } = Promise.withResolvers<number>();
  const source = localAddress === undefined ? {} : { localAddress };
  const session = connectHttp2(`http://${host}:${number}`, {
    createConnection: () => connect({ host, port: number, ...source }),
  });
  const fail = (error: unknown): void => reject(new Error(messageOf(error)));
  signal.addEventListener("abort", () => {
    session.destroy();
    reject(new Error("timed out"));
  });
  session.on("error", fail);
  const stream = session.request({
    ":method": "POST",
    ":path": "/grpc.health.v1.Health/Check",
    "content-type": "application/grpc",
    te: "trailers",
  });
  const chunks: Buffer[] = [];
  stream.on("error", fail);
  stream.on("data", (chunk: Buffer) => chunks.push(chunk));
  stream.on("close", () => {
    session.close();
    resolve(isServing(Buffer.concat(chunks)) ? 200 : 503);
  });
  const name = Buffer.from(service ?? "");
  // HealthCheckRequest.service is field 1, text of fewer than 128 bytes.
  const message =
    name.length === 0 ? name : Buffer.concat([Buffer.from([0x0a, name.length]), name]);
  const head = Buffer.alloc(5);
  head.writeUInt32BE(message.length, 1);
  stream.end(Buffer.concat([head, message]));
  return promise;
}

/** HealthCheckResponse.status is field 1, an enumeration: `08 01` = SERVING, after 5 bytes of gRPC. */
function isServing(answer: Buffer): boolean {
  return answer.length >= 7 && answer[5] === 0x08 && answer[6] === SERVING;
}
