import type { Readable, Writable } from "node:stream";
import { type WebSocket, WebSocketServer } from "ws";
import { messageOf, SerinError } from "../../base/index.ts";
import type { JsonObject } from "../core/api/json.ts";
import { badRequest, internalError, notFound, StatusError } from "../core/api/status-error.ts";
import type { ExecProcess } from "../local-api.ts";
import { containerOf } from "./pod-log.ts";
import type { ResourceRequest, Upgrade } from "./resource-handler.ts";
import type { Target } from "./write-request.ts";

/** The first byte of each message (Kubernetes' remotecommand protocol, versions 4 and 5). */
const CHANNEL = { stdin: 0, stdout: 1, stderr: 2, error: 3, resize: 4, close: 255 } as const;
/** In order of preference; only version 5 can say that the input is over. */
const PROTOCOLS = ["v5.channel.k8s.io", "v4.channel.k8s.io"];
const MAX_MESSAGE_BYTES = 16 * 1024 * 1024;
const NORMAL_CLOSURE = 1000;
const OUTPUT_WAIT_MS = 1000;

const webSockets = new WebSocketServer({
  noServer: true,
  perMessageDeflate: false,
  maxPayload: MAX_MESSAGE_BYTES,
  handleProtocols: (offered) => PROTOCOLS.find((each) => offered.has(each)) ?? false,
});

/** Runs a command in a container, its streams on one WebSocket. Throws StatusError before it begins. */
export async function execInPod(
  call: ResourceRequest,
  target: Target,
  name: string,
): Promise<void> {
  const { cluster, query, upgrade } = call;
  const pod = cluster.storage.get(target.resource, target.namespace, name);
  if (pod === undefined) throw notFound(target.resource, name);
  const container = containerOf(pod, query.get("container") ?? "", name);
  const command = query.getAll("command");
  const isAsked = (stream: string): boolean => ["true", "1"].includes(query.get(stream) ?? "");
  if (command.length === 0) throw badRequest("you must specify at least 1 command");
  if (!["stdin", "stdout", "stderr"].some(isAsked)) {
    throw badRequest("you must specify at least 1 of stdin, stdout, stderr");
  }
  if (cluster.podExec === undefined) {
    const message = "no node agent is running: there is nothing to run a command in";
    throw new StatusError(503, "ServiceUnavailable", message);
  }
  if (upgrade === undefined) throw noWebSocket(call);
  const offered = call.request.headers["sec-websocket-protocol"] ?? "";
  if (!PROTOCOLS.some((each) => offered.split(/\s*,\s*/).includes(each))) {
    throw badRequest(
      `unable to upgrade: offer one of ${PROTOCOLS.join(", ")} (found "${offered}")`,
    );
  }
  const request = { command, hasStdin: isAsked("stdin"), isTty: isAsked("tty") };
  const socket = await accepted(call, upgrade);
  if (socket === undefined) return;
  const leave = (): void => socket.terminate();
  call.signal.addEventListener("abort", leave, { once: true });
  let result: JsonObject;
  try {
    const place = { namespace: target.namespace, name, container };
    const running = await cluster.podExec.start(place, request);
    result = resultOf(await relay(socket, running));
  } catch (error) {
    result = failureOf(error);
  } finally {
    call.signal.removeEventListener("abort", leave);
  }
  await send(socket, CHANNEL.error, Buffer.from(JSON.stringify(result)));
  socket.close(NORMAL_CLOSURE);
}

function noWebSocket({ request }: ResourceRequest): StatusError {
  const asked = request.headers.upgrade;
  if (asked === undefined) return badRequest("Upgrade request required");
  const need = "kubectl 1.31 or newer speaks it; unset KUBECTL_REMOTE_COMMAND_WEBSOCKETS";
  return badRequest(`unable to upgrade to ${asked}: this server speaks WebSocket (${need})`);
}

/** The WebSocket, or undefined when the client's request for it was refused as malformed. */
async function accepted(
  { request, response, signal }: ResourceRequest,
  { socket, head }: Upgrade,
): Promise<WebSocket | undefined> {
  response.detachSocket(socket);
  const { promise, resolve } = Promise.withResolvers<WebSocket | undefined>();
  socket.once("close", () => resolve(undefined));
  webSockets.handleUpgrade(request, socket, head, resolve);
  const opened = await promise;
  // The message says more than a connection that breaks; both end the command.
  opened?.on("error", () => opened.terminate());
  if (signal.aborted) opened?.terminate();
  return opened;
}

/** Connects a command with its client until it ends; the exit code. */
async function relay(socket: WebSocket, running: ExecProcess): Promise<number> {
  socket.on("message", (data) => take(socket, running, data));
  // Whoever leaves takes the command with him.
  socket.on("close", () => running.kill());
  if (socket.readyState > 1) running.kill();
  const { stdout, stderr } = running;
  const streams = stderr === undefined ? [stdout] : [stdout, stderr];
  let sentBytes = 0;
  const onSent = (bytes: number): void => {
    sentBytes += bytes;
  };
  const outputs = Promise.all([
    pump(socket, CHANNEL.stdout, stdout, onSent),
    stderr && pump(socket, CHANNEL.stderr, stderr, onSent),
  ]);
  const exitCode = await running.ended;
  // Somebody who left the process's group may keep its output open for ever.
  let before = sentBytes;
  const timer = setInterval(() => {
    const isQuiet = sentBytes === before && streams.every((each) => each.readableLength === 0);
    before = sentBytes;
    if (isQuiet) for (const each of streams) each.destroy();
  }, OUTPUT_WAIT_MS);
  await outputs;
  clearInterval(timer);
  return exitCode;
}

/** What the client sends: input, its end, the size of its terminal. */
function take(socket: WebSocket, running: ExecProcess, data: Buffer): void {
  const { stdin } = running;
  const rest = data.subarray(1);
  switch (data[0]) {
    case CHANNEL.stdin:
      if (stdin.destroyed || stdin.writableEnded) return;
      if (!stdin.write(rest) && !socket.isPaused) pauseUntilDrained(socket, stdin);
      return;
    case CHANNEL.close:
      if (rest[0] === CHANNEL.stdin) running.endInput();
      return;
    case CHANNEL.resize: {
      const { Width: columns, Height: rows } = sizeIn(rest);
      if (isSize(columns) && isSize(rows)) running.resize(columns, rows);
      return;
    }
  }
}

function pauseUntilDrained(socket: WebSocket, stdin: Writable): void {
  const resume = (): void => {
    stdin.off("drain", resume).off("close", resume);
    socket.resume();
  };
  socket.pause();
  stdin.on("drain", resume).on("close", resume);
}

function sizeIn(bytes: Buffer): { readonly Width?: unknown; readonly Height?: unknown } {
  try {
    return Object(JSON.parse(bytes.toString()));
  } catch {
    return {};
  }
}

function isSize(value: unknown): value is number {
  return Number.isInteger(value) && Number(value) > 0 && Number(value) < 65_536;
}

/** Sends a stream's bytes, as fast as the client takes them. */
async function pump(
  socket: WebSocket,
  channel: number,
  stream: Readable,
  onSent: (bytes: number) => void,
): Promise<void> {
  try {
    for await (const chunk of stream) {
      await send(socket, channel, chunk);
      onSent(chunk.length);
    }
  } catch {
    // A terminal ends so, and a stream whose client is gone.
  }
}

function send(socket: WebSocket, channel: number, bytes: Buffer): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  // An error means that the client is gone, which ends everything by itself.
  if (bytes.length === 0) resolve();
  else socket.send(Buffer.concat([Buffer.of(channel), bytes]), () => resolve());
  return promise;
}

function resultOf(exitCode: number): JsonObject {
  if (exitCode === 0) return { kind: "Status", apiVersion: "v1", metadata: {}, status: "Success" };
  return {
    kind: "Status",
    apiVersion: "v1",
    metadata: {},
    status: "Failure",
    message: `command terminated with non-zero exit code: exit status ${exitCode}`,
    reason: "NonZeroExitCode",
    details: { causes: [{ reason: "ExitCode", message: String(exitCode) }] },
  };
}

function failureOf(error: unknown): JsonObject {
  if (error instanceof SerinError && error.code === "SERIN_EXEC") {
    return internalError(`error executing command in container: ${error.message}`).toStatus();
  }
  return internalError(messageOf(error)).toStatus();
}
