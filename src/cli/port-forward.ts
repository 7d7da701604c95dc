import { type ChildProcess, spawn } from "node:child_process";
import { messageOf, SerinError } from "../base/index.ts";

const DEADLINE_MS = 20_000;

/** A port of a pod's own loopback, on this machine's. */
export interface Forward extends AsyncDisposable {
  /** `127.0.0.1:PORT` */
  readonly address: string;
}

export interface ForwardOptions {
  readonly namespace: string;
  readonly pod: string;
  readonly port: number;
  /** On this machine; 0, the default, = any free one. */
  readonly localPort?: number;
  /** undefined: the environment's. */
  readonly kubeconfig: string | undefined;
  readonly env: NodeJS.ProcessEnv;
}

/**
 * Opens a way to a port of a pod with `kubectl port-forward`, until it is disposed of. Throws
 * SERIN_UNAVAILABLE with kubectl's own words, after 20 seconds at the latest.
 */
export async function forwardPort(options: ForwardOptions): Promise<Forward> {
  const { namespace, pod, port, localPort: wanted = 0, kubeconfig, env } = options;
  const config = kubeconfig === undefined ? [] : ["--kubeconfig", kubeconfig];
  const target = ["-n", namespace, `pod/${pod}`, `${wanted === 0 ? "" : wanted}:${port}`];
  const args = ["port-forward", ...config, "--address", "127.0.0.1", ...target];
  const child = spawn("kubectl", args, { env, stdio: ["ignore", "pipe", "pipe"] });
  try {
    const local = await localPort(child);
    return {
      address: `127.0.0.1:${local}`,
      [Symbol.asyncDispose]: () => ended(child),
    };
  } catch (error) {
    await ended(child);
    throw new SerinError(
      "SERIN_UNAVAILABLE",
      `port ${port} of pod ${namespace}/${pod} is not reached: kubectl port-forward: ${messageOf(error)}`,
      { source: "remote", retry: "yes", cause: error },
    );
  }
}

/** kubectl says which port it chose: `Forwarding from 127.0.0.1:41233 -> 15014`. */
function localPort(child: ChildProcess): Promise<number> {
  return new Promise((resolve, reject) => {
    let out = "";
    let err = "";
    const timer = setTimeout(() => reject(new Error("it does not answer")), DEADLINE_MS);
    const settle = (done: () => void): void => {
      clearTimeout(timer);
      done();
    };
    child.stdout?.setEncoding("utf8").on("data", (text: string) => {
      out += text;
      const found = /Forwarding from 127\.0\.0\.1:(\d+)/.exec(out)?.[1];
      if (found !== undefined) settle(() => resolve(Number(found)));
    });
    child.stderr?.setEncoding("utf8").on("data", (text: string) => {
      err += text;
    });
    child.on("error", (error) => settle(() => reject(error)));
    child.on("close", (code) =>
      settle(() => reject(new Error(err.trim() || `it ended with ${code}`))),
    );
  });
}

async function ended(child: ChildProcess): Promise<void> {
  if (child.pid === undefined || child.exitCode !== null || child.signalCode !== null) return;
  const closed = new Promise<void>((resolve) => child.once("close", () => resolve()));
  child.kill("SIGTERM");
  await closed;
}
