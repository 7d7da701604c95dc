import { spawn } from "node:child_process";
import { once } from "node:events";
import { constants } from "node:os";
import { messageOf, SerinError } from "../../base/index.ts";
import type { ExecProcess, ExecRequest } from "../local-api.ts";
import type { ActionTarget } from "./action.ts";
import { isProgram, signalGroup } from "./process.ts";
import { openTerminal, type Terminal } from "./terminal.ts";

/** A command that runs in a container, beside its main program. */
export interface RunningExec extends ExecProcess {
  readonly pid: number;
}

/** Starts a command where the container's programs run. Throws SERIN_EXEC. */
export async function startExec(request: ExecRequest, target: ActionTarget): Promise<RunningExec> {
  const [file = "", ...args] = request.command.map(target.realPath);
  const program = file === "node" ? process.execPath : file;
  if (!isProgram(program, target)) {
    throw failure(`exec: ${JSON.stringify(file)}: executable file not found in $PATH`);
  }
  const argv = [...target.enter, program, ...args];
  try {
    return request.isTty
      ? await inTerminal(argv, target, openTerminal())
      : await withPipes(argv, target, request.hasStdin);
  } catch (error) {
    throw error instanceof SerinError ? error : failure(`exec: ${messageOf(error)}`);
  }
}

async function withPipes(
  [file = "", ...args]: readonly string[],
  { env, cwd }: ActionTarget,
  hasStdin: boolean,
): Promise<RunningExec> {
  const child = spawn(file, args, {
    cwd,
    env,
    detached: true,
    stdio: ["pipe", "pipe", "pipe"],
  });
  const exited = exitOf(child);
  await once(child, "spawn");
  const pid = child.pid ?? 0;
  // Who leaves input unread has broken no pipe of ours.
  child.stdin.on("error", () => undefined);
  if (!hasStdin) child.stdin.end();
  const kill = (): void => signalGroup(pid, "SIGKILL");
  return {
    pid,
    stdin: child.stdin,
    stdout: child.stdout,
    stderr: child.stderr,
    ended: exited.finally(kill),
    endInput: () => child.stdin.end(),
    resize: () => undefined,
    kill,
  };
}

/** `setsid --ctty` makes the terminal the one that Ctrl-C and job control work with. */
async function inTerminal(
  argv: readonly string[],
  { env, cwd }: ActionTarget,
  terminal: Terminal,
): Promise<RunningExec> {
  const { slave } = terminal;
  const child = spawn("setsid", ["--ctty", ...argv], {
    cwd,
    env: { TERM: "xterm", ...env },
    stdio: [slave, slave, slave],
  });
  const exited = exitOf(child);
  try {
    await once(child, "spawn");
  } catch (error) {
    terminal.close();
    throw error;
  } finally {
    terminal.closeSlave();
  }
  const pid = child.pid ?? 0;
  const kill = (): void => signalGroup(pid, "SIGKILL");
  return {
    pid,
    stdin: terminal.stream,
    stdout: terminal.stream,
    stderr: undefined,
    ended: exited.finally(kill),
    // A terminal has no end; this is how one types it (termios(3): VEOF).
    endInput: () => terminal.stream.write("\x04"),
    resize: terminal.resize,
    kill,
  };
}

/** The exit code, as a shell says it. */
async function exitOf(child: ReturnType<typeof spawn>): Promise<number> {
  const exited = once(child, "exit");
  // A failed start is told by whoever waits for "spawn".
  exited.catch(() => undefined);
  const [code, signal]: unknown[] = await exited.catch(() => [START_FAILED]);
  if (typeof code === "number") return code;
  return 128 + (constants.signals[signal as NodeJS.Signals] ?? 0);
}

const START_FAILED = 128;

function failure(message: string): SerinError {
  return new SerinError("SERIN_EXEC", message, { source: "caller" });
}
