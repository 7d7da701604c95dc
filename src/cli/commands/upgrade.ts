import { parse } from "yaml";
import { RESOURCES } from "../../api/index.ts";
import { SerinError } from "../../base/index.ts";
import type { CommandIo, CommandSpec } from "../command.ts";
import { STATE_KEY } from "../install/install-plan.ts";
import { runInstallation } from "../install/run-installation.ts";
import { clusterStore } from "../kubeconfig.ts";
import { parseFlags } from "../usage.ts";

const help = `Brings an installation to this version of Serin, with the profile and settings it was installed with.

Usage:
  serin upgrade [flags]

Flags:
      --set PATH=VALUE     further settings, as of \`serin install\`
  -y, --skip-confirmation  do not ask
      --dry-run            only say what would be done
      --readiness-timeout S  how long to wait for the gateways, in seconds (default 300)
      --kubeconfig FILE    default: the environment's KUBECONFIG, else ~/.kube/config
  -h, --help               this text

Exit codes: 0 upgraded; 1 nothing is installed, or not ready in time; 2 wrong usage.
`;

async function run(args: string[], io: CommandIo): Promise<number> {
  const { values } = parseFlags(args, {
    set: { type: "string", multiple: true, default: [] },
    "skip-confirmation": { type: "boolean", short: "y", default: false },
    "dry-run": { type: "boolean", default: false },
    "readiness-timeout": { type: "string", default: "300" },
    kubeconfig: { type: "string" },
  });
  const store = clusterStore(values.kubeconfig, io.env);
  const state = await store.get(RESOURCES.configMap, STATE_KEY);
  const data = state?.["data"] as Readonly<Record<string, string>> | undefined;
  if (data === undefined) {
    throw new SerinError("SERIN_NOT_FOUND", "nothing is installed: use `serin install`", {
      source: "caller",
    });
  }
  io.stdout.write(`installed: version ${data["version"]}, profile ${data["profile"]}\n`);
  const before = (parse(data["settings"] ?? "[]") ?? []) as readonly string[];
  const set = [`profile=${data["profile"]}`, ...before, ...values.set];
  return runInstallation({ ...values, set, output: undefined }, io);
}

export const command: CommandSpec = {
  name: "upgrade",
  summary: "bring an installation to this version",
  help,
  run,
};
