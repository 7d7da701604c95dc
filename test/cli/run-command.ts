import { PassThrough } from "node:stream";
import { run } from "../../src/cli/main.ts";

export interface CommandResult {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** `serin ARGS` in this process: what it printed and the code it would exit with. */
export async function runCommand(
  args: readonly string[],
  env: NodeJS.ProcessEnv = {},
): Promise<CommandResult> {
  const [stdout, stderr] = [new PassThrough(), new PassThrough()];
  const texts = [stdout, stderr].map((stream) => {
    const chunks: string[] = [];
    stream.setEncoding("utf8").on("data", (text: string) => chunks.push(text));
    return chunks;
  });
  const io = { stdout, stderr, env, signal: new AbortController().signal };
  const code = await run([...args], io);
  const [out = [], err = []] = texts;
  return { code, stdout: out.join(""), stderr: err.join("") };
}
