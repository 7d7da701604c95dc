import { request as httpRequest } from "node:http";
import { request as httpsRequest } from "node:https";
import { connect } from "node:net";
import { messageOf } from "../../base/index.ts";
import type { Clock } from "../../runtime/index.ts";
import type { ContainerSpec, HttpGetAction } from "../core/node-agent/pod.ts";
import { schedule } from "./delay.ts";
import { startProcess } from "./process.ts";

/** What a probe or hook does: the fields a Probe and a LifecycleHandler share. */
export interface Action {
  readonly httpGet?: HttpGetAction | undefined;
  readonly tcpSocket?:
    | { readonly host?: string | undefined; readonly port: number | string }
    | undefined;
  readonly exec?: { readonly command: readonly string[] } | undefined;
}

/** The container an action is done to. */
export interface ActionTarget {
  readonly container: ContainerSpec;
  /** Where it listens. */
  readonly address: string;
  readonly env: Readonly<Record<string, string>>;
  readonly cwd: string;
  /** How a program gets where the container's programs run. */
  readonly enter: readonly string[];
  /** The address that its probes come from; undefined = any. */
  readonly probeSource: string | undefined;
  /** Turns a path inside the container into the real one. */
  readonly realPath: (text: string) => string;
  readonly clock: Clock;
}

export interface ActionResult {
  readonly isOk: boolean;
  /** What `kubectl describe` shows of a failure. */
  readonly output: string;
}

const MAX_OUTPUT_BYTES = 10 * 1024;

/** Does an action within `timeoutMs`. Failures are results, never thrown. */
export async function doAction(
  action: Action,
  target: ActionTarget,
  timeoutMs: number,
  signal: AbortSignal,
): Promise<ActionResult> {
  const timeout = new AbortController();
  const cancel = schedule(target.clock, timeoutMs, () => timeout.abort());
  const either = AbortSignal.any([signal, timeout.signal]);
  try {
    if (action.httpGet !== undefined) return await httpGet(action.httpGet, target, either);
    if (action.tcpSocket !== undefined) return await tcpConnect(action.tcpSocket, target, either);
    if (action.exec !== undefined) return await execute(action.exec.command, target, either);
    return { isOk: false, output: "this kind of probe is not supported here" };
  } catch (error) {
    const output = timeout.signal.aborted
      ? `timed out after ${timeoutMs / 1000}s`
      : messageOf(error);
    return { isOk: false, output };
  } finally {
    cancel();
  }
}

function httpGet(
  action: HttpGetAction,
  target: ActionTarget,
  signal: AbortSignal,
): Promise<ActionResult> {
  const host = action.host ?? target.address;
  const port = portOf(action.port, target.container);
  const path = action.path.startsWith("/") ? action.path : `/${action.path}`;
  const isTls = action.scheme.toUpperCase() === "HTTPS";
  const headers: Record<string, string | string[]> = {
    "user-agent": "kube-probe/1.32",
    accept: "*/*",
    connection: "close",
  };
  for (const { name, value } of action.httpHeaders) {
    const key = name.toLowerCase();
    const before = headers[key];
    const isOurs = ["user-agent", "accept", "connection", "host"].includes(key);
    headers[key] = before === undefined || isOurs ? value : [before, value].flat();
  }
  const { promise, resolve, reject } = Promise.withResolvers<ActionResult>();
  const localAddress = target.probeSource;
  const options = { host, port, path, headers, signal, agent: false, localAddress };
  // As the kubelet: a probe checks that the container answers, not who signed its certificate.
  const outgoing = isTls
    ? httpsRequest({ ...options, rejectUnauthorized: false })
    : httpRequest(options);
  outgoing.on("error", reject);
  outgoing.on("response", (response) => {
    const status = response.statusCode ?? 0;
    const isOk = status >= 200 && status < 400;
    // The body is read, up to a limit: a server whose answer is cut off would log an error.
    let sizeBytes = 0;
    response.on("data", (chunk: Buffer) => {
      sizeBytes += chunk.length;
      if (sizeBytes > MAX_OUTPUT_BYTES) response.destroy();
    });
    response.on("error", reject);
    response.on("close", () =>
      resolve({ isOk, output: `HTTP probe failed with statuscode: ${status}` }),
    );
  });
  outgoing.end();
  return promise;
}

function tcpConnect(
  action: { readonly host?: string | undefined; readonly port: number | string },
  target: ActionTarget,
  signal: AbortSignal,
): Promise<ActionResult> {
  const { promise, resolve, reject } = Promise.withResolvers<ActionResult>();
  const port = portOf(action.port, target.container);
  const socket = connect({
    host: action.host ?? target.address,
    port,
    signal,
    ...(target.probeSource === undefined ? {} : { localAddress: target.probeSource }),
  });
  socket.on("error", reject);
  socket.on("connect", () => {
    socket.destroy();
    resolve({ isOk: true, output: "" });
  });
  return promise;
}

/** Runs a command as the container itself would be run. */
async function execute(
  command: readonly string[],
  target: ActionTarget,
  signal: AbortSignal,
): Promise<ActionResult> {
  let output = "";
  const running = await startProcess(
    {
      argv: command.map(target.realPath),
      env: target.env,
      cwd: target.cwd,
      enter: target.enter,
      onOutput: (_stream, chunk) => {
        if (output.length < MAX_OUTPUT_BYTES) output += chunk.toString();
      },
    },
    target.clock,
  );
  const kill = (): void => running.signal("SIGKILL");
  if (signal.aborted) kill();
  signal.addEventListener("abort", kill, { once: true });
  const { exitCode } = await running.ended;
  signal.removeEventListener("abort", kill);
  signal.throwIfAborted();
  return { isOk: exitCode === 0, output: output.slice(0, MAX_OUTPUT_BYTES) };
}

/** A port by number, or by its name in the container. Throws when there is none of that name. */
function portOf(port: number | string, container: ContainerSpec): number {
  const named = container.ports.find((each) => each.name === port)?.containerPort;
  const number = named ?? Number(port);
  if (Number.isInteger(number) && number > 0 && number < 65_536) return number;
  throw new Error(`couldn't find port: ${JSON.stringify(port)} in container ${container.name}`);
}
