import { SerinError } from "../../base/index.ts";
import type { CommandIo, CommandSpec } from "../command.ts";
import { serinVersion } from "../serin-version.ts";
import { parseFlags } from "../usage.ts";

const help = `Prints the version of Serin and of the Node that runs it.

Usage:
  serin version [flags]

Flags:
  -o, --output FORMAT   json
  -h, --help            this text

Exit codes: 0 done; 2 wrong usage.
`;

async function run(args: string[], io: CommandIo): Promise<number> {
  const { values } = parseFlags(args, { output: { type: "string", short: "o" } });
  const { output } = values;
  if (output !== undefined && output !== "json") {
    throw new SerinError("SERIN_USAGE", `--output must be json (found ${output})`, {
      source: "caller",
    });
  }
  const version = serinVersion();
  const { node } = process.versions;
  const { platform, arch } = process;
  io.stdout.write(
    output === "json"
      ? `${JSON.stringify({ version, node, platform: `${platform}/${arch}` })}\n`
      : `serin ${version} (Node ${node}, ${platform}/${arch})\n`,
  );
  return 0;
}

export const command: CommandSpec = {
  name: "version",
  summary: "print the version",
  help,
  run,
};
