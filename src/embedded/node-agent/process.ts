import { spawn } from "node:child_process";
import { once } from "node:events";
import { statSync } from "node:fs";
import { constants } from "node:os";
import { delimiter, resolve } from "node:path";
import { messageOf } from "../../base/index.ts";
import type { Clock } from "../../runtime/index.ts";

export interface ProcessRequest {
  readonly argv: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  readonly cwd: string;
  /** The command that the program is given to, which puts it where it is to run; empty = none. */
  readonly enter?: readonly string[];
  readonly onOutput: (stream: "stdout" | "stderr", chunk: Buffer) => void;
}

export interface ProcessEnd {
  /** As a shell says it: 128 + n after signal n. */
  readonly exitCode: number;
  readonly signal?: number;
}

/** A process in a group of its own. */
export interface RunningProcess {
  readonly pid: number;
  /** Resolves when the process has ended, the rest of its group is killed and its output is read. */
  readonly ended: Promise<ProcessEnd>;
  /** Signals the whole group. */
  signal(name: NodeJS.Signals): void;
}

/** How long output may still come from somebody who left the group. */
const OUTPUT_WAIT_MS = 1000;

/** Starts a process; rejects with one sentence when the operating system refuses. */
export async function startProcess(request: ProcessRequest, clock: Clock): Promise<RunningProcess> {
  const [file = "", ...args] = request.argv;
  const program = file === "node" ? process.execPath : file;
  const { enter = [] } = request;
  if (enter.length > 0 && !isProgram(program, request)) {
    // Whoever enters first would only say so in the log, when the start has succeeded.
    throw new Error(`cannot start ${JSON.stringify(file)}: spawn ${program} ENOENT`);
  }
  const [first = program, ...rest] = [...enter, program, ...args];
  const child = spawn(first, rest, {
    cwd: request.cwd,
    env: request.env,
    detached: true,
    stdio: ["ignore", "pipe", "pipe"],
  });
  child.stdout.on("data", (chunk: Buffer) => request.onOutput("stdout", chunk));
  child.stderr.on("data", (chunk: Buffer) => request.onOutput("stderr", chunk));
  const exited = once(child, "exit");
  const closed = once(child, "close");
  // A failed start is told by the await below; these two never settle otherwise.
  exited.catch(() => undefined);
  closed.catch(() => undefined);
  try {
    await once(child, "spawn");
  } catch (error) {
    throw new Error(`cannot start ${JSON.stringify(file)}: ${messageOf(error)}`, { cause: error });
  }
  const pid = child.pid ?? 0;
  const ended = exited.then(async ([code, signal]: unknown[]): Promise<ProcessEnd> => {
    signalGroup(pid, "SIGKILL");
    const cancel = clock.schedule(OUTPUT_WAIT_MS, () => {
      child.stdout.destroy();
      child.stderr.destroy();
    });
    await closed.finally(cancel);
    if (typeof code === "number") return { exitCode: code };
    const number = constants.signals[signal as NodeJS.Signals] ?? 0;
    return { exitCode: 128 + number, signal: number };
  });
  return { pid, ended, signal: (name) => signalGroup(pid, name) };
}

/** Whether the file is there, and may be run by whoever may run anything. */
export function isProgram(
  program: string,
  { env, cwd }: Pick<ProcessRequest, "env" | "cwd">,
): boolean {
  const dirs = program.includes("/") ? [""] : (env["PATH"] ?? "/usr/bin:/bin").split(delimiter);
  return dirs.some((dir) => {
    try {
      const { mode } = statSync(resolve(cwd, dir, program));
      return (mode & 0o111) !== 0;
    } catch {
      return false;
    }
  });
}

/** A group that is gone needs no signal. */
export function signalGroup(pid: number, name: NodeJS.Signals): void {
  try {
    process.kill(-pid, name);
  } catch (error) {
    const isGone = error instanceof Error && "code" in error && error.code === "ESRCH";
    // EPERM: a member changed its user; nothing we may do about it.
    if (!isGone && !(error instanceof Error && "code" in error && error.code === "EPERM")) {
      throw error;
    }
  }
}
