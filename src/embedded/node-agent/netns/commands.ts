import { spawn } from "node:child_process";
import { once } from "node:events";
import { SerinError } from "../../../base/index.ts";

/**
 * Runs a program of the system to its end and answers what it printed. Throws SERIN_PERMISSION with the
 * command and its own words when it fails or is not there.
 */
export async function run(program: string, args: readonly string[], input = ""): Promise<string> {
  const child = spawn(program, args, { stdio: ["pipe", "pipe", "pipe"] });
  let stdout = "";
  let stderr = "";
  child.stdout.setEncoding("utf8").on("data", (text: string) => {
    stdout += text;
  });
  child.stderr.setEncoding("utf8").on("data", (text: string) => {
    stderr += text;
  });
  // A program that does not read its input is told by its exit code.
  child.stdin.on("error", () => {});
  child.stdin.end(input);
  const command = [program, ...args].join(" ");
  let code: unknown;
  try {
    [code] = await once(child, "close");
  } catch (error) {
    throw new SerinError("SERIN_PERMISSION", `cannot run ${command}`, { cause: error });
  }
  if (code === 0) return stdout;
  throw new SerinError("SERIN_PERMISSION", `${command}: ${stderr.trim() || `ended with ${code}`}`);
}

/** As `run`, where it does not matter whether there was anything to do. */
export async function attempt(program: string, args: readonly string[]): Promise<void> {
  await run(program, args).catch(() => "");
}

/** Runs `ip` commands, all or none of them counted: the first that fails is thrown. */
export async function ip(commands: readonly string[], namespace?: string): Promise<void> {
  const where = namespace === undefined ? [] : ["-n", namespace];
  await run("ip", [...where, "-batch", "-"], `${commands.join("\n")}\n`);
}

/** Runs a program in a network namespace, with the machine's own files. */
export function runInside(
  namespace: string,
  program: string,
  args: readonly string[],
  input?: string,
): Promise<string> {
  return run("nsenter", [`--net=/run/netns/${namespace}`, program, ...args], input);
}
