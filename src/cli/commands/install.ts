import type { CommandIo, CommandSpec } from "../command.ts";
import { SETTABLE } from "../install/install-plan.ts";
import { runInstallation } from "../install/run-installation.ts";
import { parseFlags } from "../usage.ts";

const help = `Installs the mesh's gateways and settings into a cluster that runs Serin's control plane
(\`serin up\`). Doing it again changes what differs and nothing else.

Usage:
  serin install [flags]

Profiles: minimal (settings only), default (an ingress gateway), demo (ingress and egress gateways).

Flags:
      --set PATH=VALUE     what to install; may be given several times (below)
  -y, --skip-confirmation  do not ask
      --dry-run            only say what would be done
  -o, --output FORMAT      yaml | json: print the objects instead of installing them
      --readiness-timeout S  how long to wait for the gateways, in seconds (default 300)
      --kubeconfig FILE    default: the environment's KUBECONFIG, else ~/.kube/config
  -h, --help               this text

Settings:
${SETTABLE.replaceAll(/^/gm, "  ")}

Exit codes: 0 installed; 1 not installed, or not ready in time; 2 wrong usage.
`;

async function run(args: string[], io: CommandIo): Promise<number> {
  const { values } = parseFlags(args, {
    set: { type: "string", multiple: true, default: [] },
    "skip-confirmation": { type: "boolean", short: "y", default: false },
    "dry-run": { type: "boolean", default: false },
    output: { type: "string", short: "o" },
    "readiness-timeout": { type: "string", default: "300" },
    kubeconfig: { type: "string" },
  });
  return runInstallation(values, io);
}

export const command: CommandSpec = {
  name: "install",
  summary: "install gateways and settings of the mesh",
  help,
  run,
};
