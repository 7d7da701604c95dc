import type { CommandIo, CommandSpec } from "../command.ts";
import { bashCompletion } from "../completion/bash.ts";
import { commandShape } from "../completion/command-shape.ts";
import { fishCompletion } from "../completion/fish.ts";
import { zshCompletion } from "../completion/zsh.ts";
import { parseFlags, usageError } from "../usage.ts";

const help = `Prints a script that completes serin's commands, flags and their values.

Usage:
  serin completion bash|zsh|fish

  bash   source <(serin completion bash)
  zsh    source <(serin completion zsh)       after compinit
  fish   serin completion fish | source

Flags:
  -h, --help   this text

Exit codes: 0 printed; 2 wrong usage.
`;

const SHELLS = { bash: bashCompletion, zsh: zshCompletion, fish: fishCompletion } as const;

/** The command, which has to know all of them, itself included. */
export function createCommand(
  loadAll: () => Promise<readonly CommandSpec[]>,
  aliases: Readonly<Record<string, string>>,
): CommandSpec {
  async function run(args: string[], io: CommandIo): Promise<number> {
    const { positionals } = parseFlags(args, {}, { maxPositionals: 1 });
    const [shell = ""] = positionals;
    if (shell !== "bash" && shell !== "zsh" && shell !== "fish") {
      const found = shell === "" ? "" : ` (found ${shell})`;
      throw usageError(`say which shell: bash, zsh or fish${found}`);
    }
    const shapes = (await loadAll()).map(commandShape);
    io.stdout.write(SHELLS[shell](shapes, aliases));
    return 0;
  }
  return { name: "completion", summary: "print a shell's completion script", help, run };
}
